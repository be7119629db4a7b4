"""How well a mask agrees with the truth, case by case: overlap, and distance of surfaces in mm."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Int

from rubik_jax.metrics.cases import mean_over_cases
from rubik_jax.metrics.sums import overlap_scores


def segmentation(
    truth: Int[np.ndarray, "x y z"],
    guess: Int[np.ndarray, "x y z"],
    *,
    values: tuple[int, ...],
    spacing: tuple[float, float, float],
    regions: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> dict[str, float]:
    """Dice, IoU, 95 % Hausdorff distance and average surface distance of one case.

    A class or region that's absent from truth and guess has no measures (NaN) and counts in no
    mean. One that's absent from either alone has Dice and IoU 0, and for both distances the
    diagonal of the volume. So a case without foreground has NaN for all of its means where nothing
    was answered, and Dice 0 where anything was.

    Args:
        truth: label of each voxel; where it's -1, neither mask has a voxel.
        guess: label that was answered.
        values: labels to score, the background first.
        spacing: mm between voxels along x, y, z.
        regions: labels of which a region is made, by its name.

    Returns:
        `foreground_dice`, `foreground_miou`, `miou`, `foreground_hd95`, `foreground_assd`: means
        over the classes but the background, for `miou` with it (the paper's mIoU doesn't say
        which); then `dice_1`, `iou_1`, `hd95_1`, `assd_1` and so on for regions, foreground
        classes and the background, this one without distances. Distances are in mm.
    """
    seen = truth >= 0
    background, *foreground = values
    wanted = {
        **regions,
        **{str(value): (value,) for value in foreground},
        str(background): (background,),
    }
    measures = {}
    for name, labels in wanted.items():
        masks = np.isin(truth, labels) & seen, np.isin(guess, labels) & seen
        measures[name] = _overlap(*masks)
        if name != str(background):
            measures[name] |= surface_distances(*masks, spacing=spacing)
    classes = mean_over_cases([measures[str(value)] for value in foreground])
    every = mean_over_cases([measures[str(value)] for value in values])
    return {
        "foreground_dice": classes["dice"],
        "foreground_miou": classes["iou"],
        "miou": every["iou"],
        "foreground_hd95": classes["hd95"],
        "foreground_assd": classes["assd"],
        **{f"{kind}_{name}": x for name, of in measures.items() for kind, x in of.items()},
    }


def surface_distances(
    truth: Bool[np.ndarray, "x y z"],
    guess: Bool[np.ndarray, "x y z"],
    *,
    spacing: tuple[float, float, float],
) -> dict[str, float]:
    """How far apart the surfaces of two masks lie, in mm.

    The surface is the voxels of a mask with a face neighbour outside it or outside the volume;
    each has a distance to the nearest voxel of the other surface.

    Args:
        truth: one mask.
        guess: the other.
        spacing: mm between voxels along x, y, z.

    Returns:
        "hd95", the larger of the two directed 95th percentiles, as in MONAI and Metrics Reloaded
        (Maier-Hein et al., 2024); MedPy takes one percentile of both directions together. "assd",
        the mean over the voxels of both surfaces, as in all three. Both are NaN where both masks
        are empty, and the diagonal of the volume where one is.
    """
    if not (truth.any() and guess.any()):
        diagonal = math.hypot(*(n * mm for n, mm in zip(truth.shape, spacing, strict=True)))
        distance = diagonal if truth.any() or guess.any() else math.nan
        return {"hd95": distance, "assd": distance}
    from scipy.spatial import KDTree  # here, as `ndimage`: overlaps don't need them

    # Between points: a map of distances would grow to the whole scan with one stray voxel.
    points = [_surface(mask) * np.asarray(spacing) for mask in (truth, guess)]
    trees = [KDTree(of) for of in points]
    (there, _), (back, _) = trees[1].query(points[0]), trees[0].query(points[1])
    return {
        "hd95": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "assd": float(np.concatenate([there, back]).mean()),
    }


def _overlap(
    truth: Bool[np.ndarray, "x y z"], guess: Bool[np.ndarray, "x y z"]
) -> dict[str, float]:
    sizes = (np.array([np.count_nonzero(mask)]) for mask in (truth & guess, truth, guess))
    return {name: score.item() for name, score in overlap_scores(*sizes).items()}


def _surface(mask: Bool[np.ndarray, "x y z"]) -> Int[np.ndarray, "n 3"]:
    from scipy import ndimage

    # Outside its box a mask is as empty as outside the volume.
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    surface = mask[box] & ~ndimage.binary_erosion(mask[box])
    return np.argwhere(surface) + [side.start for side in box]
