"""What is noted of a case as it was read, before anything is done to it."""

import hashlib
from collections.abc import Sequence
from typing import Any

import nibabel as nib
import numpy as np
from isal import isal_zlib

from rubik_jax.data import foreground, statistics
from rubik_jax.data.statistics import Statistics
from rubik_jax.data.volumes import Volume

_CHUNK = 2**20


def describe(
    volume: Volume,
    labels: np.ndarray | None,
    *,
    measured: Sequence[Statistics] | None = None,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """The facts of a case, as JSON.

    Args:
        volume: [x, y, z, c], as read.
        labels: int16 [x, y, z], none below 0.
        measured: `statistics.measure` of the volume, where it is known already.
        names: what the source calls the channels; none where it doesn't say.

    Returns:
        "format", "dtype" and "orientation" of the first image's file; "shape" and "spacing" (mm)
        of the volume; "channels": of each its "name" where it has one, "min", "max", "mean" and
        "sd" of all voxels, and of its foreground (the voxels above its background) the share as
        "foreground", the percentiles 0.5 and 99.5 as "low" and "high", and a "histogram" of 64 bins
        between them; "labels": value → voxels, None without labels; "digest", which is the same for
        the same voxels of one type in one order in memory; "passed_over" and "doubts" of all scans.
    """
    scans = [scan for scan in volume.scans if scan is not None]
    scan = scans[0]
    channels = [_channel(known) for known in measured or statistics.measure(volume.array)]
    for channel, name in zip(channels, names, strict=False):
        channel["name"] = name
    return {
        "format": scan.kind,
        "dtype": str(scan.dtype),
        "shape": list(volume.array.shape[:3]),
        "spacing": nib.affines.voxel_sizes(volume.affine).tolist(),
        "orientation": "".join(nib.aff2axcodes(scan.affine)),
        "channels": channels,
        "labels": None if labels is None else foreground.count(labels),
        "digest": _digest(volume.array),
        "passed_over": sorted({name for each in scans for name in each.passed_over}),
        "doubts": list(dict.fromkeys(doubt for each in scans for doubt in each.doubts)),
    }


def _channel(known: Statistics) -> dict[str, Any]:
    mean, sd = known.whole
    return {
        "min": known.least,
        "max": known.most,
        "mean": mean,
        "sd": sd,
        "low": known.low,
        "high": known.high,
        "foreground": known.above / known.voxels,
        "histogram": known.histogram.tolist(),
    }


def _digest(array: np.ndarray) -> str:
    """A hash of checksums, which are taken at several times the speed of a hash."""
    voxels = statistics.flat(array)
    checksums = [isal_zlib.crc32(chunk) for chunk in statistics.slabs(voxels, _CHUNK)]
    return hashlib.blake2b(np.array(checksums, "<u4"), digest_size=8).hexdigest()
