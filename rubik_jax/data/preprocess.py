"""Crops, scales and resamples a volume as read into what is trained on, and brings answers back."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rubik_jax.data import resampling, scaling, statistics
from rubik_jax.data.resampling import Box
from rubik_jax.data.statistics import Statistics
from rubik_jax.data.volumes import Volume
from rubik_jax.errors import ArgumentError, UserError, members_of

KINDS = ("percentile", "window", "zscore")
_EDGES = (1e-3, 100.0)


class Intensity(NamedTuple):
    """What becomes 0 and what becomes 1, channel by channel; what lies beyond is clipped.

    kind: "percentile": `low` and `high` are percentiles; "window": they are values, in Hounsfield
        units for CT, say; "zscore": they are standard deviations from the mean.
    over: which voxels percentiles, mean and deviation are taken over: "foreground", those above
        the channel's background (see `Statistics`), or "whole", all that the crop leaves.
    """

    kind: str
    low: float
    high: float
    over: str

    def __str__(self) -> str:
        over = "" if self.kind == "window" else f" over the {self.over}"
        return f"{self.kind} {self.low:g} to {self.high:g}{over}"


class Preprocessing(NamedTuple):
    """What is done to every case.

    orientation: the axes' codes, which the reader sees to.
    crop: "none", or "foreground": the bounding box of the voxels that are above the background of
        their channel (see `Statistics`), in any channel.
    spacing: the voxel edges, in mm, to resample to; None leaves them.
    geometry: whose spacing the reader takes of a NIfTI that contradicts itself: that of the
        "affine", or "pixdim".
    """

    orientation: str
    crop: str
    spacing: tuple[float, float, float] | None
    intensity: Intensity
    geometry: str = "affine"


class Prepared(NamedTuple):
    """A case as it is trained on.

    array: float16 [x, y, z, c], C-contiguous, in [0, 1].
    labels: int16 [x, y, z], if there are any.
    affine: float64 [4, 4], from the indices of these voxels to millimetres.
    box: what the crop left of the volume as read: (start, stop) per axis.
    """

    array: np.ndarray
    labels: np.ndarray | None
    affine: np.ndarray
    box: Box


def make_preprocessing(
    *,
    orientation: str,
    crop: str,
    spacing: Sequence[float] | None,
    intensity: dict,
    geometry: str = "affine",
) -> Preprocessing:
    """What is done to a volume, checked.

    Raises:
        ArgumentError: a value that can't be used.
    """
    if len(orientation) != 3 or any(
        len({*orientation} & {*pair}) != 1 for pair in ("LR", "PA", "IS")
    ):
        raise ArgumentError(
            "orientation",
            f"is {orientation!r}: expected one letter of each pair LR, PA and IS, as in 'RAS'",
        )
    if crop not in ("none", "foreground"):
        raise ArgumentError("crop", f"is {crop!r}: expected 'none' or 'foreground'")
    if geometry not in ("affine", "pixdim"):
        raise ArgumentError("geometry", f"is {geometry!r}: expected 'affine' or 'pixdim'")
    if spacing is not None:
        spacing = tuple(float(edge) for edge in spacing)
        if len(spacing) != 3 or not all(_EDGES[0] <= edge <= _EDGES[1] for edge in spacing):
            raise ArgumentError(
                "spacing",
                f"is {spacing}: expected three voxel edges from {_EDGES[0]:g} to {_EDGES[1]:g} mm",
            )
    with members_of("intensity"):
        return Preprocessing(orientation, crop, spacing, _make_intensity(**intensity), geometry)


def to_json(how: Preprocessing) -> dict[str, Any]:
    """What `make_preprocessing` takes, as a run and a store keep it."""
    said = how._asdict() | {"intensity": how.intensity._asdict()}
    if how.geometry == "affine":  # as it was before there was a choice, so that stores stay valid
        del said["geometry"]
    return json.loads(json.dumps(said))


def prepare(
    volume: Volume,
    labels: np.ndarray | None,
    how: Preprocessing,
    *,
    measured: Sequence[Statistics] | None = None,
) -> Prepared:
    """Crops to the foreground, scales intensities, resamples (labels to the nearest voxel).

    Args:
        volume: finite numbers [x, y, z, c], as read. The result does not depend on their type.
        labels: int16 [x, y, z].
        how: what to do.
        measured: `statistics.measure` of the volume, where it is known already.

    Raises:
        UserError: a channel becomes constant, or the spacing gives too many voxels.
    """
    measured = measured or statistics.measure(volume.array)
    voxels = statistics.narrow(volume.array)
    box = tuple((0, length) for length in voxels.shape[:3])
    if how.crop == "foreground":
        box = _foreground(voxels, measured)
    region = tuple(slice(*ends) for ends in box)
    size = tuple(stop - start for start, stop in box)
    if how.spacing is not None:
        size = resampling.shape_at(how.spacing, size, volume.affine)

    # One file may hold all channels.
    scans = volume.scans if len(volume.scans) > 1 else volume.scans * len(measured)
    ends = [
        (0.0, 1.0) if scan is None else _ends(voxels[(*region, channel)], known, how.intensity)
        for channel, (scan, known) in enumerate(zip(scans, measured, strict=True))
    ]
    array = np.zeros((*size, len(measured)), np.float16)
    inner = (slice(None),) * 3
    if how.crop == "none" and all(
        least >= known.background for (least, _), known in zip(ends, measured, strict=True)
    ):  # what surrounds the foreground is 0 already
        inner = tuple(slice(*ends) for ends in _foreground(voxels, measured))
    _fill(array, voxels[region], ends, inner)
    for channel, scan in enumerate(scans):
        if scan is not None and _is_constant(array[..., channel]):
            one = len(volume.scans) == len(measured)
            raise UserError.of(
                "nothing is left of {} by {data.intensity} ({}): it becomes {:g} everywhere",
                scan.path if one else f"channel {channel} of {scan.path}",
                how.intensity,
                array[0, 0, 0, channel],
            )
    prepared_labels = None
    if labels is not None:
        nearest = resampling.resample(labels[region], size, order=0)
        prepared_labels = np.empty(size, np.int16)
        scaling.copy(nearest, prepared_labels)
    return Prepared(array, prepared_labels, resampling.affine_of(box, size, volume.affine), box)


def restore(
    answer: np.ndarray,
    shape: tuple[int, int, int],
    prepared_box: Box,
    *,
    order: int,
    fill: float,
) -> np.ndarray:
    """Brings an answer back to the grid of the volume as read.

    Args:
        answer: [x, y, z], on the grid of `Prepared.array`.
        shape: of the volume as read.
        prepared_box: `Prepared.box`.
        order: 0 takes the nearest voxel, as labels need it; 1 interpolates.
        fill: what stands beyond the box.

    Returns:
        [*shape], of the answer's type.
    """
    whole = np.full(shape, fill, answer.dtype)
    region = tuple(slice(*ends) for ends in prepared_box)
    whole[region] = resampling.resample(answer, whole[region].shape, order=order)
    return whole


def _make_intensity(kind: str, low: float, high: float, over: str) -> Intensity:
    if kind not in KINDS:
        raise ArgumentError("kind", f"is {kind!r}: expected one of {KINDS}")
    if over not in ("foreground", "whole"):
        raise ArgumentError("over", f"is {over!r}: expected 'foreground' or 'whole'")
    if not -1e30 < low < high < 1e30:  # neither NaN nor what float32 has no room for
        raise ArgumentError("low", f"is {low}: expected less than high, {high}")
    if kind != "percentile" and (low, high) == statistics.PERCENTILES:
        what = {"window": "values, such as -160 and 240 for CT", "zscore": "such as -3 and 3"}[kind]
        raise ArgumentError.of(
            "{low} and {high} are {:g} and {:g}, the percentiles of the shipped config: expected "
            "them to be set for kind {!r}, {}",
            *(low, high, kind, what),
        )
    if kind == "percentile" and not 0 <= low < high <= 100:
        raise ArgumentError.of(
            "{low} and {high} are the percentiles {} and {}: expected 0 to 100", low, high
        )
    return Intensity(kind, float(low), float(high), over)


def _foreground(array: np.ndarray, measured: Sequence[Statistics]) -> Box:
    """The bounding box of what is above its channel's background; all, where nothing is."""
    occupied = [np.zeros(length, bool) for length in array.shape[:3]]
    for channel, known in enumerate(measured):
        voxels = array[..., channel]
        axes, steps = statistics.memory_order(voxels)  # in any other it takes several times as long
        above = voxels.transpose(axes)[steps] > array.dtype.type(known.background)
        rows = above.any(axis=2)
        found = rows.any(axis=1), rows.any(axis=0), above.any(axis=0).any(axis=0)
        for axis, along, step in zip(axes, found, steps, strict=True):
            occupied[axis] |= along[step]
    return tuple(_span(along) for along in occupied)


def _span(occupied: np.ndarray) -> tuple[int, int]:
    """From the first to behind the last; two voxels at least, or it is no volume."""
    places = np.flatnonzero(occupied)
    if not places.size:
        return 0, occupied.size
    start, stop = int(places[0]), int(places[-1]) + 1
    if stop - start < 2:
        start, stop = (start, stop + 1) if stop < occupied.size else (start - 1, stop)
    return start, stop


def _fill(
    target: np.ndarray,
    source: np.ndarray,
    ends: Sequence[tuple[float, float]],
    inner: tuple[slice, ...],
) -> None:
    """Scales all channels into the target, which is zero and whose grid may be another.

    Only what is `inner` needs to be looked at, where the grid is the same.
    """
    if source.shape == target.shape:
        scaling.scale(source[inner], target[inner], ends)
        return
    scaled = np.empty((*source.shape[:3], 1), np.float32)
    for channel, pair in enumerate(ends):
        one = slice(channel, channel + 1)
        scaling.scale(source[..., one], scaled, [pair])
        resampled = resampling.resample(scaled[..., 0], target.shape[:3], order=1)
        scaling.scale(resampled[..., None], target[..., one], [(0.0, 1.0)])


def _is_constant(array: np.ndarray) -> bool:
    bits = array.view(np.uint16)  # compared far faster than float16
    return all((plane == bits[0, 0, 0]).all() for plane in bits)


def _ends(source: np.ndarray, known: Statistics, how: Intensity) -> tuple[float, float]:
    """The values that become 0 and 1."""
    if how.kind == "window":
        return how.low, how.high
    if how.over == "whole" and source.size < known.voxels:
        (known,) = statistics.measure(source[..., None])
    above = known.background if how.over == "foreground" and known.above else None
    if how.kind == "zscore":
        mean, sd = known.whole if above is None else (known.mean, known.sd)
        ends = mean + how.low * sd, mean + how.high * sd
    elif above is not None and (how.low, how.high) == statistics.PERCENTILES:
        ends = known.low, known.high
    else:
        ends = statistics.percentiles(source, (how.low, how.high), above=above)
    # Rounded before they are compared, so that their difference does not vanish later.
    least, most = (float(np.float32(end)) for end in ends)
    if least < most:
        return least, most
    return known.background, known.most if known.least < known.most else known.least + 1
