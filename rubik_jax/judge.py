"""How good a network's answers are, case by case: whole volumes by sliding windows, on the host."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation

from rubik_jax import inference, metrics
from rubik_jax.data.regions import Regions, paint
from rubik_jax.data.store import Store

Progress = Callable[[Iterable, int], Iterable]


class Sliding(NamedTuple):
    """How a volume is worked off, window by window.

    Attributes:
        window: voxels along x, y, z.
        overlap: the least share of a window that it has in common with the next.
        batch_size: windows at a time.
        mirror: axes over whose flips answers are averaged.
    """

    window: tuple[int, int, int]
    overlap: float
    batch_size: int
    mirror: tuple[int, ...]


class Judged(NamedTuple):
    """What was found.

    Attributes:
        numbers: over all cases.
        cases: a row of measures for each case, by their names.
        pictures: what `report` draws: "slices", one for each case, or "answers".
    """

    numbers: dict[str, Any]
    cases: list[dict[str, Any]]
    pictures: dict[str, Any]


def judge_masks(
    forward: inference.Forward,
    store: Store,
    sliding: Sliding,
    *,
    values: tuple[int, ...],
    ignore: int,
    regions: Regions,
    progress: Progress,
) -> Judged:
    """Segments each case of a store and measures it against its mask.

    Beside the means over the cases that have a measure there are numbers of such cases, as
    `cases_with_dice_1`, and the shares of all voxels that a label has, as `truth_share_1` in the
    masks and `answered_share_1` in the answers.

    Args:
        forward: windows -> probabilities of every voxel.
        store: the cases, with masks.
        sliding: how a volume is worked off.
        values: the label of each class.
        ignore: a label that counts nowhere; -1 for none.
        regions: what is scored beside the labels, and how the network's answers become labels.
        progress: wraps the finished cases, given their number.
    """
    voxels = np.zeros((2, len(values)), np.int64)

    def one(i: int) -> tuple[dict[str, Any], dict[str, Any]]:
        volume, spacing = store.volume(i), _spacing(store, i)
        truth = np.array(store.label(i))
        if ignore >= 0:
            truth[truth == ignore] = -1
        guess = label(forward, volume, sliding, values, order=regions.order)
        for counts, mask in zip(voxels, (truth, guess), strict=True):
            known = mask[truth >= 0]
            counts += [np.count_nonzero(known == value) for value in values]
        measures = metrics.segmentation.segmentation(
            truth, guess, values=values, spacing=spacing, regions=regions.labels
        )
        row = {"case": store.names[i], **measures}
        turn = nib.io_orientation(store.affine(i))  # pictures are of RAS, whatever was asked for
        shown = planes(*(apply_orientation(array, turn) for array in (volume, truth, guess)))
        edges = np.take(spacing, np.argsort(turn[:, 0])).tolist()
        return row, row | {"planes": shown, "spacing": edges}

    judged = list(progress(map(one, range(len(store))), len(store)))
    rows = [row for row, _ in judged]
    measures = [{name: v for name, v in row.items() if name != "case"} for row in rows]
    numbers = metrics.mean_over_cases(measures) | {"cases": len(rows)}
    numbers |= metrics.case_counts(measures, "dice") | metrics.voxel_shares(values, *voxels)
    return Judged(numbers, rows, {"slices": [picture for _, picture in judged]})


def judge_classes(
    forward: inference.Forward,
    store: Store,
    sliding: Sliding,
    *,
    classes: Sequence[str],
    targets: Mapping[str, int],
    progress: Progress,
) -> Judged:
    """Classifies each case of a store and measures all of them against their classes.

    Args:
        forward: windows -> probabilities of the classes.
        store: the cases.
        sliding: how a volume is worked off; the answer is the mean over its windows.
        classes: their names.
        targets: the number of each case's class.
        progress: wraps the finished cases, given their number.
    """
    options = sliding._asdict()
    found = np.stack(
        list(progress((inference.classify(forward, v, **options) for v in store), len(store)))
    )
    truth = np.array([targets[name] for name in store.names])
    rows = [
        {"case": name, "class": classes[true], "answer": classes[int(shares.argmax())]}
        | {f"p_{one}": float(share) for one, share in zip(classes, shares, strict=True)}
        for name, true, shares in zip(store.names, truth, found, strict=True)
    ]
    numbers = metrics.classification.classification(truth, found) | {"cases": len(rows)}
    said = np.bincount(found.argmax(axis=1), minlength=len(classes)) / len(rows)
    absent = [name for k, name in enumerate(classes) if k not in truth]
    answers = {"truth": truth, "probabilities": found, "classes": tuple(classes)}
    numbers |= {"top": float(said.max()), "absent": absent}
    return Judged(numbers, rows, {"answers": answers})


def label(
    forward: inference.Forward,
    volume: np.ndarray,
    sliding: Sliding,
    values: tuple[int, ...],
    *,
    order: tuple[int, ...] = (),
) -> np.ndarray:
    """The most probable label of every voxel, int16 [x, y, z].

    Args:
        forward: windows -> probabilities of every voxel.
        volume: [x, y, z, c].
        sliding: how it is worked off.
        values: the label of each class.
        order: where the network answers regions, the label to paint for each.
    """
    options = sliding._asdict()
    if order:
        slabs = inference.sliding(forward, volume, classes=len(order), **options)
        return np.concatenate([paint(slab, order) for _, slab in slabs])
    slabs = inference.sliding(forward, volume, classes=len(values), labels=True, **options)
    table = np.array(values, np.int16)
    return np.concatenate([table[slab] for _, slab in slabs])


def planes(volume: np.ndarray, truth: np.ndarray, guess: np.ndarray) -> list[dict[str, np.ndarray]]:
    """The planes along x, y, z in which the truth has most labelled voxels, first channel."""
    drawn = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        sizes = np.count_nonzero(truth > 0, axis=others)
        where = int(sizes.argmax()) if sizes.any() else truth.shape[axis] // 2
        cut = {"image": volume[..., 0], "truth": truth, "guess": guess}
        drawn.append({name: np.take(array, where, axis) for name, array in cut.items()})
    return drawn


def _spacing(store: Store, i: int) -> tuple[float, float, float]:
    return tuple(nib.affines.voxel_sizes(store.affine(i)).tolist())
