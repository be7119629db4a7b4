"""Overlap and distances of masks against SimpleITK, closed forms, and the rule for empty ones."""

import math

import numpy as np
import pytest
import SimpleITK
from scipy.ndimage import gaussian_filter

from rubik_jax.data.editions import regions_of
from rubik_jax.metrics.segmentation import segmentation, surface_distances

SPACINGS = ((1.0, 1.0, 1.0), (0.7, 1.3, 4.0), (5.0, 0.4, 0.9))
KINDS = ("dice", "iou", "hd95", "assd")


def drawn(seed: int, values=(0, 1, 2), shape=(14, 11, 9)):
    """Two masks of smooth blobs that reach the border, the second a disturbed copy of the first."""
    rng = np.random.default_rng(seed)
    fields = gaussian_filter(rng.normal(size=(len(values), *shape)), (0, 2, 2, 1))
    other = fields + 0.6 * gaussian_filter(rng.normal(size=fields.shape), (0, 1, 1, 1)) / 3
    return tuple(np.array(values)[f.argmax(axis=0)] for f in (fields, other))


def image(mask: np.ndarray, spacing) -> SimpleITK.Image:
    """The mask with an empty border; SimpleITK names the axes of an array in reverse."""
    out = SimpleITK.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
    out.SetSpacing(spacing[::-1])
    return out


def by_simpleitk(truth: np.ndarray, guess: np.ndarray, spacing) -> dict[str, float]:
    masks = [image(mask, spacing) for mask in (truth, guess)]
    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*masks)
    surfaces = [SimpleITK.LabelContour(mask, fullyConnected=False) for mask in masks]
    away = [
        np.abs(
            SimpleITK.GetArrayFromImage(SimpleITK.SignedMaurerDistanceMap(s, False, False, True))
        )
        for s in surfaces
    ]
    on = [SimpleITK.GetArrayFromImage(surface) == 1 for surface in surfaces]
    there, back = away[1][on[0]], away[0][on[1]]
    return {
        "dice": overlap.GetDiceCoefficient(1),
        "iou": overlap.GetJaccardCoefficient(1),
        "hd95": max(np.percentile(there, 95), np.percentile(back, 95)),
        "assd": (there.sum() + back.sum()) / (there.size + back.size),
    }


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(3))
def test_classes_and_regions_agree_with_simpleitk(seed, spacing):
    values = (0, 1, 2, 4)
    truth, guess = drawn(seed, values)
    measures = segmentation(
        truth, guess, values=values, spacing=spacing, regions=regions_of("brats_2018")
    )
    parts = {"whole": (1, 2, 4), "core": (1, 4), "enhancing": (4,), "1": (1,), "2": (2,), "4": (4,)}
    for name, labels in parts.items():
        expected = by_simpleitk(np.isin(truth, labels), np.isin(guess, labels), spacing)
        assert 0 < expected["dice"] < 1
        for kind in KINDS:
            assert measures[f"{kind}_{name}"] == pytest.approx(expected[kind], rel=1e-5), kind
    background = by_simpleitk(truth == 0, guess == 0, spacing)
    ious = [measures[f"iou_{v}"] for v in values]
    assert measures["iou_0"] == pytest.approx(background["iou"])
    assert "hd95_0" not in measures
    assert measures["miou"] == pytest.approx(np.mean(ious))
    assert measures["foreground_miou"] == pytest.approx(np.mean(ious[1:]))
    for kind in ("dice", "hd95", "assd"):
        expected = np.mean([measures[f"{kind}_{v}"] for v in values[1:]])
        assert measures[f"foreground_{kind}"] == pytest.approx(expected)
    assert next(iter(measures)) == "foreground_dice"


def test_noise_agrees_with_simpleitk():
    """Sparse against dense: lone voxels, holes, and distances of many voxels."""
    rng = np.random.default_rng(0)
    truth, guess = (rng.random((7, 8, 6)) < share for share in (0.6, 0.02))
    expected = by_simpleitk(truth, guess, SPACINGS[1])
    for kind, found in surface_distances(truth, guess, spacing=SPACINGS[1]).items():
        assert found == pytest.approx(expected[kind], rel=1e-5)


@pytest.mark.parametrize("axis", range(3))
def test_planes_are_as_far_apart_as_their_voxels_and_spacing_say(axis):
    truth, guess = np.zeros((2, 6, 7, 8), bool)
    np.moveaxis(truth, axis, 0)[1] = True
    np.moveaxis(guess, axis, 0)[4] = True
    distances = surface_distances(truth, guess, spacing=(0.5, 1.5, 4.0))
    expected = 3 * (0.5, 1.5, 4.0)[axis]
    assert distances == pytest.approx({"hd95": expected, "assd": expected})


def test_hd95_is_of_the_worse_direction():
    """A missed plane is 7 % of the truth's surface, but under 4 % of both surfaces together."""
    truth, guess = np.zeros((2, 30, 5, 5), bool)
    truth[:20], truth[29], guess[:20] = True, True, True
    for masks in ((truth, guess), (guess, truth)):
        assert surface_distances(*masks, spacing=(2, 1, 1))["hd95"] == pytest.approx(20)


def test_a_perfect_answer_and_room_around_it():
    truth, guess = drawn(5)
    same = segmentation(truth, truth, values=(0, 1, 2), spacing=SPACINGS[1])
    assert {name: same[name] for name in same if "dice" in name or "iou" in name} == {
        name: 1.0 for name in same if "dice" in name or "iou" in name
    }
    assert same["foreground_hd95"] == same["foreground_assd"] == 0
    tight, roomy = (
        segmentation(*masks, values=(0, 1, 2), spacing=SPACINGS[1])
        for masks in ((truth, guess), (np.pad(truth, 3), np.pad(guess, 3)))
    )
    for name in ("dice_1", "iou_2", "hd95_1", "assd_2"):
        assert tight[name] == pytest.approx(roomy[name])


def test_ignored_voxels_belong_to_no_mask():
    truth, guess = drawn(7)
    ignored = np.random.default_rng(0).random(truth.shape) < 0.3
    wrong = np.where(ignored, (guess + 1) % 3, guess)
    with_hole = np.where(ignored, -1, truth)
    first, second = (
        segmentation(with_hole, x, values=(0, 1, 2), spacing=SPACINGS[2]) for x in (guess, wrong)
    )
    assert first == second
    for v in (0, 1, 2):
        expected = by_simpleitk((truth == v) & ~ignored, (guess == v) & ~ignored, SPACINGS[2])
        for kind in KINDS if v else KINDS[:2]:
            assert first[f"{kind}_{v}"] == pytest.approx(expected[kind], rel=1e-5)


def test_empty_classes_follow_the_stated_rule():
    truth, guess = np.zeros((2, 6, 5, 4), int)
    truth[0], truth[1], guess[0], guess[2] = 1, 2, 1, 3  # 2 is missed, 3 made up, 4 nowhere
    spacing = (1.0, 2.0, 3.0)
    found = segmentation(
        truth, guess, values=(0, 1, 2, 3, 4), spacing=spacing, regions={"nowhere": (4, 5)}
    )
    diagonal = math.sqrt(6**2 + 10**2 + 12**2)
    for v in (2, 3):
        assert found[f"dice_{v}"] == found[f"iou_{v}"] == 0
        assert found[f"hd95_{v}"] == found[f"assd_{v}"] == pytest.approx(diagonal)
    for name in ("4", "nowhere"):
        assert all(math.isnan(found[f"{kind}_{name}"]) for kind in KINDS)
    assert found["foreground_dice"] == pytest.approx(1 / 3)
    assert found["foreground_hd95"] == pytest.approx(2 / 3 * diagonal)
    assert found["miou"] == pytest.approx((1 + 0 + 0 + 60 / 100) / 4)
    nothing = segmentation(guess * 0, guess * 0, values=(0, 1), spacing=spacing)
    assert nothing["miou"] == nothing["iou_0"] == 1
    assert math.isnan(nothing["foreground_dice"])
    made_up = segmentation(guess * 0, guess, values=(0, 1, 3), spacing=spacing)
    assert made_up["foreground_dice"] == 0 and made_up["foreground_hd95"] == pytest.approx(diagonal)


def test_brats_regions_are_the_same_by_any_numbering():
    """The tissues of one case, numbered as two editions do."""
    truth, guess = drawn(3, (0, 1, 2, 4))
    renumbered = {"brats_2018": (0, 1, 2, 4), "brats_2023": (0, 1, 2, 3), "decathlon": (0, 2, 1, 3)}
    found = {
        edition: segmentation(
            *(np.select([x == v for v in (1, 2, 4)], numbers[1:]) for x in (truth, guess)),
            values=tuple(sorted(numbers)),
            spacing=SPACINGS[0],
            regions=regions_of(edition),
        )
        for edition, numbers in renumbered.items()
    }
    for region in ("whole", "core", "enhancing"):
        for kind in KINDS:
            assert len({each[f"{kind}_{region}"] for each in found.values()}) == 1
