"""Metrics as sums and counts, which add up over batches, devices and hosts without bias."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from rubik_jax.types import Mean, Metrics

OVERLAPS = ("intersection", "truth_voxels", "guess_voxels")


def weighted(values: Shaped[Array, "b *rest"], weight: Float[Array, "b"]) -> Mean:
    """The weighted mean over examples of numbers or truths, after a mean over their other axes."""
    per_example = values.astype(jnp.float32).reshape(values.shape[0], -1).mean(axis=1)
    return Mean(jnp.sum(per_example * weight), jnp.sum(weight))


def histogram(labels: Int[Array, "b *rest"], classes: int, weight: Float[Array, "b"]) -> Mean:
    """How often each class occurs, as a mean of shape [classes] that sums to 1.

    Its count is the number of labels, of which an example may have several.
    """
    occurs = jax.nn.one_hot(labels, classes).reshape(labels.shape[0], -1, classes)
    total = jnp.sum(occurs * weight[:, None, None], axis=(0, 1))
    return Mean(total, jnp.sum(weight) * occurs.shape[1])


def add(first: Metrics, second: Metrics) -> Metrics:
    """The metrics of both sets of examples together."""
    return jax.tree.map(lambda a, b: a + b, first, second)


def means(totals: Metrics) -> dict[str, float]:
    """The means of metrics that are scalars, as plain numbers."""
    return {name: float(mean.value) for name, mean in totals.items()}


def overlaps(
    truth: Int[Array, "b x y z"],
    guess: Int[Array, "b x y z"],
    classes: int,
    weight: Float[Array, "b"],
) -> Metrics:
    """What `dice_iou` needs: the voxels of each class in truth, in guess, and in both.

    Args:
        truth: class of each voxel; one with -1 counts nowhere.
        guess: class that was answered.
        classes: how many there are.
        weight: of each example.

    Returns:
        Means by the names in `OVERLAPS`, whose totals are voxels of shape [classes] and whose
        count is the sum of weights. A batch's totals are exact below 2^24 voxels of a class.
    """
    true = jax.nn.one_hot(truth, classes)
    guessed = jax.nn.one_hot(jnp.where(truth < 0, -1, guess), classes)
    return mask_overlaps(true, guessed, weight)


def mask_overlaps(
    true: Float[Array, "b x y z k"], guessed: Float[Array, "b x y z k"], weight: Float[Array, "b"]
) -> Metrics:
    """As `overlaps`, of masks of 0 and 1 that may lie on each other."""

    def total(voxels: Float[Array, "b x y z k"]) -> Mean:
        # Not a dot product, which accelerators would round to fewer digits.
        return Mean(jnp.sum(voxels.sum(axis=(1, 2, 3)) * weight[:, None], axis=0), weight.sum())

    return dict(zip(OVERLAPS, map(total, (true * guessed, true, guessed)), strict=True))


def dice_iou(totals: Metrics) -> dict[str, Float[np.ndarray, "k"]]:
    """Dice and IoU of each class over all voxels together, from the totals of `overlaps`.

    This is the "pseudo" Dice of nnU-Net's log: one number for all windows, not a mean over cases.

    Returns:
        "dice" and "iou"; see `overlap_scores` for classes that are absent.
    """
    return overlap_scores(*(np.asarray(totals[name].total, np.float64) for name in OVERLAPS))


def overlap_scores(
    intersection: Shaped[np.ndarray, "k"],
    truth: Shaped[np.ndarray, "k"],
    guess: Shaped[np.ndarray, "k"],
) -> dict[str, Float[np.ndarray, "k"]]:
    """Dice 2|A∩B| / (|A|+|B|) and IoU |A∩B| / |A∪B| from sizes.

    A class that's absent from truth and guess has neither (NaN); in one of them alone, both are 0.
    """
    with np.errstate(invalid="ignore"):
        return {
            "dice": 2 * intersection / (truth + guess),
            "iou": intersection / (truth + guess - intersection),
        }


def voxel_shares(
    names: Sequence[object], truth: Shaped[np.ndarray, "k"], guess: Shaped[np.ndarray, "k"]
) -> dict[str, float]:
    """Which share of the voxels each class has in the truth, and which in the answers.

    Args:
        names: of the classes, the background included.
        truth: voxels of each class.
        guess: voxels that were answered with it.

    Returns:
        `truth_share_<name>` and `answered_share_<name>`.
    """
    return {
        f"{who}_share_{name}": float(voxels / max(1.0, counts.sum()))
        for who, counts in (("truth", truth), ("answered", guess))
        for name, voxels in zip(names, counts, strict=True)
    }


def confusion(
    truth: Int[Array, "b *rest"],
    guess: Int[Array, "b *rest"],
    classes: int,
    weight: Float[Array, "b"],
) -> Mean:
    """How often each class (row) was answered with each class (column), shape [classes, classes].

    As a mean it sums to 1; its total counts answers, of which an example may have several.
    """
    pairs = histogram(truth * classes + guess, classes * classes, weight)
    return Mean(pairs.total.reshape(classes, classes), pairs.count)


def balanced_chance(counts: Shaped[np.ndarray, "k k"]) -> float:
    """What `balanced_accuracy` is by chance: of m classes that occur 1/m, whatever is guessed.

    That is by giving one answer always or by guessing evenly among them. Where one class alone
    occurs it's 1, and no accuracy tells anything.

    Args:
        counts: the total of `confusion`, rows of the truth, columns of the answers.

    Returns:
        NaN where there's no example at all.
    """
    there = np.count_nonzero(counts.sum(axis=1))
    return 1 / there if there else np.nan


def balanced_accuracy(counts: Shaped[np.ndarray, "k k"]) -> float:
    """The mean over the classes that occur of the share that was answered rightly.

    Args:
        counts: the total of `confusion`, rows of the truth, columns of the answers.

    Returns:
        NaN where there's no example at all.
    """
    examples = counts.sum(axis=1)
    there = examples > 0
    return float(np.mean(np.diag(counts)[there] / examples[there])) if there.any() else np.nan
