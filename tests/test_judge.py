"""Cases are judged whole: a network that is right scores 1, whatever windows it saw."""

import json

import jax
import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest

from rubik_jax.data.cases import Case
from rubik_jax.data.entries import build
from rubik_jax.data.regions import NONE, Regions
from rubik_jax.judge import Sliding, judge_classes, judge_masks, label, planes
from tests.forwards import mapped
from tests.preprocessing import scaled

SLIDING = Sliding(window=(4, 5, 3), overlap=0.5, batch_size=2, mirror=())
VALUES = (0, 3, 7)


def plainly(items, total):
    return items


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Three volumes whose thirds of intensity are the labels, of unequal voxels."""
    folder = tmp_path_factory.mktemp("judge")
    cases = []
    for number, name in enumerate("abc"):
        rng = np.random.default_rng(number)
        mask = rng.choice(VALUES, (7 + number, 6, 4)).astype(np.uint8)
        image = np.searchsorted(VALUES, mask) + rng.uniform(0, 0.1, mask.shape)
        paths = [folder / f"{name}_{what}.nii.gz" for what in ("image", "mask")]
        for path, array in zip(paths, (image.astype(np.float32), mask), strict=True):
            nib.save(nib.Nifti1Image(array, np.diag([1, 2, 3, 1.0])), path)
        cases.append(Case(name, (paths[0],), paths[1]))
    return build(cases, folder / "store", how=scaled(0, 3)).store


def right(windows):
    """Class 0 below a third, class 2 above two thirds."""
    return jax.nn.one_hot(jnp.clip((windows[..., 0] * 3).astype(int), 0, 2), 3)


def judge(store, forward, **changes):
    options = {
        "values": VALUES,
        "ignore": -1,
        "regions": Regions({"both": (3, 7)}),
        "progress": plainly,
    }
    return judge_masks(mapped(forward), store, SLIDING, **options | changes)


def test_right_answers_score_1_in_every_case(store):
    judged = judge(store, right)
    assert [row["case"] for row in judged.cases] == ["a", "b", "c"]
    for name in ("dice_3", "iou_7", "dice_both", "miou", "foreground_dice"):
        assert judged.numbers[name] == 1
        assert all(row[name] == 1 for row in judged.cases)
    assert judged.numbers["hd95_3"] == 0 and judged.numbers["cases"] == 3
    assert judged.numbers["cases_with_dice_7"] == judged.numbers["cases_with_foreground_dice"] == 3
    masks = np.concatenate([store.label(i).ravel() for i in range(3)])
    for who in ("truth", "answered"):
        assert judged.numbers[f"{who}_share_7"] == pytest.approx(np.mean(masks == 7))
    json.dumps(judged.numbers)


def test_an_ignored_label_counts_nowhere(store):
    def two(windows):
        """Takes every 7 for a 3."""
        shares = right(windows)
        return jnp.stack([shares[..., 0], shares[..., 1] + shares[..., 2]], axis=-1)

    options = {"values": (0, 3), "regions": NONE}
    assert judge(store, two, **options).numbers["dice_3"] < 1
    assert judge(store, two, ignore=7, **options).numbers["dice_3"] == 1


def test_labels_are_those_of_the_largest_probability(store):
    for i in range(3):
        np.testing.assert_array_equal(
            label(mapped(right), store.volume(i), SLIDING, VALUES), store.label(i)
        )


def test_planes_are_cut_where_most_is_labelled():
    truth = np.zeros((4, 5, 6), int)
    truth[2, 1:4, 3] = 1
    truth[1, 3, 3] = 2
    image = np.random.default_rng(0).random((4, 5, 6, 1))
    x, y, z = planes(image, truth, truth)
    np.testing.assert_array_equal(x["truth"], truth[2])
    np.testing.assert_array_equal(y["image"], image[:, 3, :, 0])
    np.testing.assert_array_equal(z["guess"], truth[:, :, 3])


def test_classes_are_judged_over_all_cases(store):
    targets = {"a": 0, "b": 1, "c": 1}

    def by_size(windows):
        return jnp.tile(jnp.array([[0.2, 0.8]]), (len(windows), 1))

    judged = judge_classes(
        mapped(by_size), store, SLIDING, classes=("x", "y"), targets=targets, progress=plainly
    )
    assert judged.numbers["accuracy"] == pytest.approx(2 / 3)
    assert judged.numbers["confusion"] == [[0, 1], [0, 2]]
    assert judged.numbers["top"] == 1 and judged.numbers["absent"] == []
    assert [row["answer"] for row in judged.cases] == ["y"] * 3
    assert [row["class"] for row in judged.cases] == ["x", "y", "y"]
    assert judged.cases[0]["p_x"] == pytest.approx(0.2)


def test_a_class_without_a_case_is_named_and_is_in_no_chance(store):
    def second(windows):
        return jnp.tile(jnp.array([[0.2, 0.7, 0.1]]), (len(windows), 1))

    options = {"classes": ("x", "y", "z"), "progress": plainly}
    for targets, absent, chance in (((0, 1, 1), ["z"], 0.5), ((1, 1, 1), ["x", "z"], 1.0)):
        named = dict(zip("abc", targets, strict=True))
        numbers = judge_classes(mapped(second), store, SLIDING, targets=named, **options).numbers
        assert numbers["absent"] == absent and numbers["chance"] == chance
        assert numbers["balanced_accuracy"] == chance  # as always answering one class is worth


def test_regions_are_painted_in_their_order(store):
    """A network that knows what is labelled at all, and where 7 is."""

    def of_regions(windows):
        shares = right(windows)
        return jnp.stack([1 - shares[..., 0], shares[..., 2]], axis=-1) * 0.9

    nested = Regions({"both": (3, 7), "inner": (7,)}, order=(3, 7))
    numbers = judge(store, of_regions, regions=nested).numbers
    assert numbers["dice_both"] == numbers["dice_inner"] == numbers["dice_3"] == 1
    swapped = judge(store, of_regions, regions=nested._replace(order=(7, 3))).numbers
    assert swapped["dice_both"] == 1 and swapped["dice_7"] == 0


def test_a_class_that_a_case_lacks_is_empty_in_its_row_and_in_no_mean(store):
    """Of values (0, 3, 7, 9) none is 9 in masks or answers; then all answers are 9."""
    values = (0, 3, 7, 9)

    def nine(windows):
        return jax.nn.one_hot(jnp.full(windows.shape[:-1], 3), 4)

    def padded(windows):
        return jnp.pad(right(windows), [(0, 0)] * 4 + [(0, 1)])

    lacking = judge(store, padded, values=values)
    assert all(np.isnan(row["dice_9"]) and np.isnan(row["hd95_9"]) for row in lacking.cases)
    assert np.isnan(lacking.numbers["dice_9"]) and lacking.numbers["cases_with_dice_9"] == 0
    assert lacking.numbers["foreground_dice"] == 1
    made_up = judge(store, nine, values=values).numbers
    assert made_up["dice_9"] == 0 and made_up["cases_with_dice_9"] == 3
    assert made_up["foreground_dice"] == 0 and made_up["answered_share_9"] == 1
