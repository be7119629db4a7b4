"""Facts against numpy, and that they are JSON."""

import json
from pathlib import Path

import numpy as np
import pytest

from rubik_jax.data import facts, formats, statistics, volumes

AFFINE = np.diag([-1.0, 2.0, 3.0, 1.0])
SCAN = formats.Scan(Path("a.nii"), "NIfTI", (12, 13, 14), np.dtype(np.int16), AFFINE, np.array)


def volume_of(array, scans=(SCAN,)):
    return volumes.Volume(array, np.diag([1.0, 2.0, 3.0, 1.0]), scans)


def test_facts_are_what_numpy_finds_in_each_of_four_channels():
    array = np.random.default_rng(0).integers(-1000, 3000, (12, 13, 14, 4)).astype(np.int16)
    array[:6] = -1000
    labels = np.zeros((12, 13, 14), np.int16)
    labels[3:5] = 2
    noted = json.loads(json.dumps(facts.describe(volume_of(array), labels), allow_nan=False))
    assert (noted["format"], noted["dtype"], noted["orientation"]) == ("NIfTI", "int16", "LAS")
    assert (noted["shape"], noted["spacing"]) == ([12, 13, 14], [1, 2, 3])
    assert noted["labels"] == {"0": 10 * 13 * 14, "2": 2 * 13 * 14}
    assert len(noted["channels"]) == 4
    for channel, said in enumerate(noted["channels"]):
        voxels = array[..., channel].astype(np.float64)
        above = voxels[voxels > voxels.min()]
        low, high = np.percentile(above, (0.5, 99.5))
        assert (said["min"], said["max"]) == (voxels.min(), voxels.max())
        assert (said["low"], said["high"]) == (low, high)
        assert said["foreground"] == pytest.approx(above.size / voxels.size)
        assert said["mean"] == pytest.approx(voxels.mean(), rel=1e-5)
        assert said["sd"] == pytest.approx(voxels.std(), rel=1e-5)
        counts = np.histogram(np.clip(above, low, high), 64, (low, high))[0]
        assert said["histogram"] == counts.tolist()


def test_a_missing_modality_is_noted_as_empty():
    array = np.random.default_rng(0).random((4, 5, 6, 2)).astype(np.float32)
    array[..., 0] = 0
    noted = facts.describe(volume_of(array, (None, SCAN)), None)
    assert noted["format"] == "NIfTI" and noted["labels"] is None
    empty = noted["channels"][0]
    assert not any(empty.pop("histogram")) and set(empty.values()) == {0}
    json.dumps(noted, allow_nan=False)


def test_the_digest_tells_voxels_apart_and_not_copies():
    array = np.random.default_rng(0).integers(0, 99, (80, 90, 200, 1)).astype(np.int16)

    def digest(array):
        return facts.describe(volume_of(array), None)["digest"]

    first = digest(array)
    assert first == digest(array.copy()) and len(first) == 16
    for place in (0, -1):  # in the first chunk and in the last
        other = array.copy()
        other.flat[place] += 1
        assert digest(other) != first


def test_a_known_measurement_changes_nothing():
    volume = volume_of(np.random.default_rng(0).random((4, 5, 6, 1)))
    measured = statistics.measure(volume.array)
    assert facts.describe(volume, None, measured=measured) == facts.describe(volume, None)
