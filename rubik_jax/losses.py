"""The terms of the objective, one number per example each."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from rubik_jax.errors import ArgumentError

REDUCTIONS = {"mean": jnp.mean, "sum": jnp.sum}


def check_reduction(reduction: str) -> None:
    """Raises ArgumentError for a reduction there isn't."""
    if reduction not in REDUCTIONS:
        raise ArgumentError("reduction", f"is {reduction!r}; expected one of {sorted(REDUCTIONS)}")


def permutation_loss(logits: Float[Array, "b k"], order: Int[Array, "b"]) -> Float[Array, "b"]:
    """Cross-entropy over the K orders (paper, equation 1)."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, order)


def multilabel_loss(
    logits: Float[Array, "b m a"], labels: Bool[Array, "b m a"], reduction: str
) -> Float[Array, "b"]:
    """Binary cross-entropy over a vector of labels of the cubes in their places.

    For half turns that's the rotation loss (paper, equation 2) over the horizontal and the
    vertical vector. As printed, the equation has positive terms only and would be least for
    answering "turned" always; this is the full binary cross-entropy.

    Args:
        logits: one per cube and label.
        labels: whether cube m was turned (horizontally, vertically), or masked.
        reduction: "mean" over the labels, or "sum" as equation 2 is printed; with the sum this
            term outweighs the permutation loss by the number of labels.
    """
    terms = optax.sigmoid_binary_cross_entropy(logits, labels)
    return REDUCTIONS[reduction](terms, axis=(1, 2))


def turn_loss(
    logits: Float[Array, "b m a"], turns: Int[Array, "b m"], reduction: str
) -> Float[Array, "b"]:
    """Cross-entropy over the 24 rotations of each cube, reduced over the cubes."""
    terms = optax.softmax_cross_entropy_with_integer_labels(logits, turns)
    return REDUCTIONS[reduction](terms, axis=1)


def soft_dice_loss(
    logits: Float[Array, "b x y z k"], labels: Int[Array, "b x y z"], *, smooth: float = 1.0
) -> Float[Array, "b"]:
    """One minus the soft Dice of each example, a mean over the classes but the first.

    Per class (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth), as nnU-Net's `SoftDiceLoss`
    without the background. Its sums go over one example, not over the batch, so that an example's
    loss doesn't hang on who shares its batch or its device.

    Args:
        logits: two classes at least, the background first.
        labels: class of each voxel; one with -1 counts nowhere.
        smooth: in voxels. Every class counts, present or not: an absent one costs
            sum(p) / (sum(p) + smooth), which pulls on it only once few voxels are left; the
            smaller `smooth`, the later.
    """
    # An ignored voxel is surely background, which is left out.
    nowhere = jnp.full(logits.shape[-1], -jnp.inf).at[0].set(0).astype(logits.dtype)
    counted = jnp.where((labels >= 0)[..., None], logits, nowhere[None, None, None, None])
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    # optax has (sum(p t) + s) / (sum(p) / 2 + sum(t) / 2 + s).
    return optax.losses.dice_loss(counted, targets, smooth=smooth / 2, ignore_background=True)


def voxel_cross_entropy(
    logits: Float[Array, "b x y z k"],
    labels: Int[Array, "b x y z"],
    class_weights: Float[Array, "k"],
) -> Float[Array, "b"]:
    """Cross-entropy of each example, a mean over its voxels weighted by their true class.

    As PyTorch's `CrossEntropyLoss(weight, ignore_index=-1)` of each example alone: divided by the
    sum of its voxels' weights.

    Args:
        logits: of each voxel and class.
        labels: class of each voxel; one with -1 counts nowhere. An example without others costs 0.
        class_weights: of each class; only their ratios matter.
    """
    known = jnp.maximum(labels, 0)
    terms = optax.softmax_cross_entropy_with_integer_labels(logits, known)
    weights = jnp.where(labels >= 0, class_weights[known], 0)
    total, weight = (jnp.sum(x, axis=(1, 2, 3)) for x in (terms * weights, weights))
    return total / jnp.where(weight > 0, weight, 1)


def region_dice_loss(
    logits: Float[Array, "b x y z r"],
    inside: Bool[Array, "b x y z r"],
    known: Bool[Array, "b x y z"],
    *,
    smooth: float = 1.0,
) -> Float[Array, "b"]:
    """One minus the soft Dice of each example, a mean over regions that may overlap.

    As `soft_dice_loss`, of a sigmoid for each region, as nnU-Net's `DC_and_BCE_loss`.

    Args:
        logits: of each voxel and region.
        inside: whether the voxel is in the region.
        known: where this is known; other voxels count nowhere.
        smooth: in voxels, as in `soft_dice_loss`.
    """
    shares = jnp.where(known[..., None], jax.nn.sigmoid(logits), 0)
    truth = (inside & known[..., None]).astype(shares.dtype)
    both, of_shares, of_truth = (
        jnp.sum(x, axis=(1, 2, 3)) for x in (shares * truth, shares, truth)
    )
    return 1 - jnp.mean((2 * both + smooth) / (of_shares + of_truth + smooth), axis=-1)


def region_cross_entropy(
    logits: Float[Array, "b x y z r"],
    inside: Bool[Array, "b x y z r"],
    known: Bool[Array, "b x y z"],
) -> Float[Array, "b"]:
    """Binary cross-entropy of each example, a mean over its known voxels and the regions.

    Args:
        logits: of each voxel and region.
        inside: whether the voxel is in the region.
        known: where this is known. An example that is known nowhere costs 0.
    """
    terms = jnp.mean(optax.sigmoid_binary_cross_entropy(logits, inside), axis=-1)
    voxels = jnp.sum(known, axis=(1, 2, 3))
    return jnp.sum(jnp.where(known, terms, 0), axis=(1, 2, 3)) / jnp.maximum(voxels, 1)


def class_loss(
    logits: Float[Array, "b k"],
    target: Int[Array, "b"],
    class_weights: Float[Array, "k"],
    smoothing: float,
) -> Float[Array, "b"]:
    """Cross-entropy of a class with label smoothing: -sum_c w_c q_c log p_c.

    As PyTorch's `CrossEntropyLoss(weight, label_smoothing, reduction="none")`.

    Args:
        logits: of each example and class.
        target: the true class.
        class_weights: w; with a mean of 1 over the training cases the loss keeps its size.
        smoothing: how much of the truth q is spread evenly over all classes, in [0, 1].
    """
    truth = optax.smooth_labels(jax.nn.one_hot(target, logits.shape[-1]), smoothing)
    return optax.softmax_cross_entropy(logits, truth * class_weights[None])


def squared_error(
    answer: Float[Array, "b x y z c"],
    wanted: Float[Array, "b x y z c"],
    counted: Bool[Array, "b x y z"],
) -> Float[Array, "b"]:
    """The squared error of each example, a mean over the voxels that count, of which it has one."""
    errors = jnp.mean(jnp.square(answer - wanted), axis=-1)
    voxels = jnp.sum(counted, axis=(1, 2, 3))
    return jnp.sum(jnp.where(counted, errors, 0), axis=(1, 2, 3)) / voxels


def pairing_logits(
    anchors: Float[Array, "a f"],
    candidates: Float[Array, "n f"],
    own: Int[Array, "a"],
    partner: Int[Array, "a"],
    weight: Float[Array, "n"],
    temperature: float,
) -> Float[Array, "a n"]:
    """Similarities, among which each anchor's partner is to be found; the loss is their NT-Xent.

    Chen et al., SimCLR, 2020, equation 1: -log softmax at the partner, over all candidates but
    the anchor itself.

    Args:
        anchors: unit vectors.
        candidates: unit vectors, the anchors among them.
        own: where each anchor stands among the candidates, and can't be answered with.
        partner: where the other view of the same volume stands, which is the right answer.
        weight: of the candidates; one without weight is answered with by nobody but its partner.
        temperature: what similarities are divided by.
    """
    numbers = jnp.arange(len(candidates))[None]
    shut = (weight == 0)[None] & (numbers != partner[:, None])
    shut = shut | (numbers == own[:, None])
    similar = jnp.einsum("af,nf->an", anchors, candidates, precision="highest")
    return jnp.where(shut, -jnp.inf, similar / temperature)
