"""What is wrong in one case is named, with what the others have; sound cohorts name none."""

import copy
import json
import re

import nibabel as nib
import numpy as np
import pytest

from rubik_jax.data import outliers


def channel(voxels: np.ndarray) -> dict:
    above = voxels[voxels > voxels.min()]
    low, high = np.percentile(above, (0.5, 99.5)).tolist() if above.size else (0.0, 0.0)
    return {
        "min": float(voxels.min()),
        "max": float(voxels.max()),
        "low": low,
        "high": high,
        "foreground": above.size / voxels.size,
        "histogram": np.histogram(np.clip(above, low, high), 64, (low, high or 1))[0].tolist(),
    }


def facts(
    seed, *, modalities=1, shape=(40, 50, 30), spacing=(1.0, 1.0, 1.0), change=lambda v: v
) -> dict:
    """A case of a cohort with intensities from about 0 to 1000 and two labels."""
    rng = np.random.default_rng(seed)
    voxels = [change(np.clip(rng.normal(400, 150, 4000), 0, 1000)) for _ in range(modalities)]
    return {
        "format": "NIfTI",
        "dtype": "int16",
        "shape": list(shape),
        "spacing": list(spacing),
        "orientation": "RAS",
        "channels": [channel(of) for of in voxels],
        "labels": {"0": 50000, "1": int(rng.integers(800, 1600)), "2": int(rng.integers(90, 200))},
        "digest": str(seed),
    }


def found(cases) -> dict[str, list[str]]:
    return outliers.find([str(i) for i in range(len(cases))], cases)


def cohort(count=20, **options) -> list[dict]:
    return [facts(seed, **options) for seed in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 20, 100])
def test_sound_cohorts_have_none(count):
    assert found(cohort(count)) == {}
    assert found([facts(0) | {"digest": str(i)} for i in range(count)]) == {}


SPOILED = {
    "spacing": (
        {"spacing": [1.0, 1.0, 5.0]},
        ["voxels of 1x1x5 mm; the others 1x1x1", "extent of 40x50x150 mm; the others 40x50x30"],
    ),
    "orientation": ({"orientation": "LAS"}, ["orientation LAS; the others RAS (19)"]),
    "format": ({"format": "NRRD"}, ["format NRRD; the others NIfTI (19)"]),
    "dtype": ({"dtype": "float64"}, ["type float64; the others int16 (19)"]),
    "shape": ({"shape": [40, 50, 29]}, ["shape 40x50x29; the others 40x50x30 (19)"]),
    "unmasked": ({"labels": None}, ["mask: none; the others one (19)"]),
    "blank": ({"labels": {"0": 60000}}, ["the mask is 0 everywhere"]),
    "lacking": ({"labels": {"0": 1, "2": 150}}, ["no label 1, which 19 of 20 have"]),
    "strange": ({"labels": {"1": 1200, "2": 150, "255": 9}}, ["label 255, which 1 of 20 has"]),
    "small": ({"labels": {"1": 12, "2": 150}}, ["label 1 of 12 mm³; the others 8"]),
}


@pytest.mark.parametrize("what", SPOILED)
def test_what_one_case_has_alone_is_said_with_what_the_others_have(what):
    change, sentences = SPOILED[what]
    cases = cohort()
    cases[7] |= change
    said = found(cases)
    assert list(said) == ["7"]
    for sentence in sentences:
        assert any(sentence in one for one in said["7"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda v: v / 1000, "intensities from 0.0"),
        (lambda v: v - 1024, "intensities from -"),
        (lambda v: 1000 * (v / 1000) ** 8, "the mean at "),
        (lambda v: 1000.0 * (v > 400), "a deviation of "),
        (lambda v: np.maximum(v, 500), "a foreground of "),
    ],
)
def test_other_intensities_are_seen_in_the_channel_that_has_them(change, sentence):
    cases = cohort(modalities=2)
    cases[3]["channels"][1] = facts(3, change=change)["channels"][0]
    said = found(cases)
    assert list(said) == ["3"]
    assert any(one.startswith(sentence) and "in channel 1" in one for one in said["3"])
    assert not any("in channel 0" in one for one in said["3"])


def test_equal_voxels_and_missing_channels_are_seen_among_two_cases():
    cases = [facts(i, modalities=2) | {"digest": "same"} for i in range(2)]
    cases[0]["channels"][1] = channel(np.zeros(9))
    assert found(cases) == {
        "0": ["the same voxels as 1", "channel 1 is missing: it is 0 everywhere"],
        "1": ["the same voxels as 0"],
    }


def test_a_change_of_unit_that_differs_by_case_says_nothing():
    scales = 10 ** np.random.default_rng(0).uniform(0, 5, 60)
    cases = [facts(i, change=lambda v, s=s: v * s) for i, s in enumerate(scales)]
    assert found(cases) == {}


def test_two_scanners_are_no_outliers_but_a_third_is():
    one, two = {"spacing": [0.5, 0.5, 3.0], "dtype": "int16"}, {"dtype": "float32"}
    cases = [of | (one if i % 3 else two) for i, of in enumerate(cohort(40))]
    assert found(cases) == {}
    cases[11] |= {"dtype": "uint8"}
    assert found(cases) == {"11": ["type uint8; the others int16 (25), float32 (14)"]}


@pytest.mark.parametrize("count", [4, 8, 20, 60, 200])
@pytest.mark.parametrize("seed", range(3))
def test_slices_that_differ_in_number_are_no_outliers(count, seed):
    rng = np.random.default_rng(seed)
    slices = [int(n) for n in rng.integers(20, 40, count)]
    assert found([facts(i, shape=(128, 128, n)) for i, n in enumerate(slices)]) == {}
    usual = [30] * (count // 2) + slices[: count - count // 2]  # half of them alike
    assert found([facts(i, shape=(128, 128, n)) for i, n in enumerate(usual)]) == {}


def test_another_size_in_plane_or_a_fraction_of_the_slices_is_said():
    rng = np.random.default_rng(0)
    cases = [facts(i, shape=(512, 512, int(n))) for i, n in enumerate(rng.integers(20, 40, 40))]
    cases[3] |= {"shape": [256, 512, 30]}
    cases[5] |= {"shape": [512, 512, 4]}
    said = found(cases)
    assert list(said) == ["5", "3"] or list(said) == ["3", "5"]
    assert "shape 256x512x30; the others have 512 along x, 512 along y" in said["3"]
    assert any(sentence.startswith("an extent of 512x512x4 mm") for sentence in said["5"])


def test_a_hospitals_scans_of_many_kinds_have_few_outliers():
    rng = np.random.default_rng(0)
    cases = []
    for i in range(120):
        side, edge = int(rng.choice([256, 320, 512])), float(rng.choice([1, 2, 3, 5, 7]))
        of = facts(i, shape=(side, side, int(rng.normal(150, 15) / edge)), spacing=(0.5, 0.5, edge))
        of["orientation"] = str(rng.choice(["RAS", "LPS", "ASR", "LIP"], p=[0.5, 0.42, 0.05, 0.03]))
        of["dtype"] = str(rng.choice(["int16", "uint16", "float64"], p=[0.85, 0.1, 0.05]))
        cases.append(of)
    assert len(found(cases)) <= 6


def test_what_many_have_stands_behind_what_few_have():
    cases = cohort(40)
    for of in cases[:20]:
        of["labels"] = {"0": 60000}
    cases[30] |= {"spacing": [9.0, 1.0, 1.0]}
    said = found(cases)
    assert len(said) == 21
    assert next(iter(said)) == "30"


@pytest.mark.parametrize("seed", range(3))
def test_few_are_named_in_cohorts_with_heavy_tails(seed):
    rng = np.random.default_rng(seed)
    cases = cohort(200, modalities=4)
    for of in cases:
        of["spacing"] = np.exp(rng.standard_t(3, 3)).tolist()
        of["labels"] = {str(k): int(np.exp(rng.standard_t(3) + 9)) + 1 for k in range(30)}
    assert len(found(cases)) < 20


def test_facts_are_left_as_they_are_and_may_come_from_json():
    cases = cohort()
    before = copy.deepcopy(cases)
    assert found(json.loads(json.dumps(cases))) == found(cases)
    assert cases == before


@pytest.mark.parametrize(
    ("value", "said"),
    [
        *((-0.0, "0"), (0.6484375, "0.648"), (1.0000001, "1"), (-1024, "-1024")),
        *((999.6, "1000"), (1.7e6, "1.7e6"), (-3e-5, "-3e-5"), (99999, "99999")),
    ],
)
def test_numbers_are_written_as_people_write_them(value, said):
    assert outliers.amount(value) == said


def test_real_scans_of_many_intensity_scales_are_no_outliers_but_a_spoiled_one_is(hippocampus):
    cases = []
    for path in sorted((hippocampus / "imagesTr").glob("hippocampus_*.nii.gz"))[::4]:
        voxels = nib.load(path).get_fdata()
        labels = np.asarray(nib.load(hippocampus / "labelsTr" / path.name).dataobj).astype(int)
        counts = {str(value): int((labels == value).sum()) for value in np.unique(labels)}
        shape, of = list(voxels.shape), facts(len(cases))
        cases.append(of | {"shape": shape, "labels": counts, "channels": [channel(voxels)]})
    assert len(cases) == 50
    assert len(found(cases)) < 2
    cases[30]["spacing"] = [1.0, 1.0, 3.0]
    assert "30" in found(cases)


def test_missing_channels_are_no_measure_for_those_that_are_there():
    cases = cohort(20, modalities=2)
    for of in cases[:12]:
        of["channels"][1] = channel(np.zeros(9))
    cases[15]["channels"][1] = facts(15, change=lambda v: v / 1000)["channels"][0]
    said = found(cases)
    (sentence,) = said.pop("15")
    assert re.search(r"in channel 1; the others typically [1-9][\d.]+ to \d{3}", sentence)
    assert set(said) == {str(i) for i in range(12)}


def test_masks_among_the_scans_are_named_unless_all_are_such(tmp_path):
    def mask(voxels):
        return np.digitize(voxels, (300, 500)) * 1.0

    cases = cohort(6) + [facts(seed, change=mask) for seed in range(6, 12)]
    for case, sentences in found(cases).items():
        assert ("config.data.masks" in " ".join(sentences)) == (int(case) >= 6)
    assert set(map(str, range(6, 12))) <= found(cases).keys()
    assert "config.data.masks" not in str(found(cases[6:]))
