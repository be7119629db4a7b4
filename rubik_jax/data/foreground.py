"""What the store notes of a mask: how often each label occurs, and where labelled voxels lie."""

import numpy as np

from rubik_jax.data import statistics

PLACES = 256


def note(labels: np.ndarray, name: str) -> dict[str, dict[str, int] | list[list[int]]]:
    """The JSON that an entry holds of its mask.

    Args:
        labels: int16 [x, y, z], none below 0.
        name: of the case, which the draw of the places depends on.

    Returns:
        "labels": label value → voxels; "places": see `places`.
    """
    return {"labels": count(labels), "places": places(labels, name).tolist()}


def count(labels: np.ndarray) -> dict[str, int]:
    """Label value → voxels, of the labels that occur, in any order of axes in memory."""
    voxels = statistics.flat(labels)
    labelled = voxels[voxels != 0]  # few, as a rule, so that counting them is cheap
    counts = np.bincount(labelled, minlength=1)
    counts[0] = voxels.size - labelled.size
    return {str(value): int(counts[value]) for value in np.flatnonzero(counts)}


def places(labels: np.ndarray, name: str, most: int = PLACES) -> np.ndarray:
    """Voxels to draw windows around, so that small structures are seen often enough.

    The labels take turns, each with its voxels in a random order, until one has no more (then the
    others go on without it) or there are enough.

    Args:
        labels: int16 [x, y, z].
        name: of the case; the same name and labels give the same places.
        most: how many at most.

    Returns:
        int32 [n, 3], the x, y, z of voxels that are not background, no voxel twice.
    """
    rng = np.random.default_rng(list(name.encode()))
    labelled = np.flatnonzero(labels != 0)  # far faster than of the labels themselves
    values = labels.ravel()[labelled]
    drawn, turns = [], []
    for value in np.unique(values):
        voxels = labelled[values == value]
        chosen = rng.choice(voxels, min(most, len(voxels)), replace=False)
        drawn.append(chosen)
        turns.append(np.arange(len(chosen)))
    if not drawn:
        return np.zeros((0, 3), np.int32)
    order = np.argsort(np.concatenate(turns), kind="stable")[:most]
    return np.stack(
        np.unravel_index(np.concatenate(drawn)[order], labels.shape), axis=-1, dtype=np.int32
    )
