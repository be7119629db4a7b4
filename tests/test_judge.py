"""Cases are judged whole: a network that is right scores 1, whatever windows it saw."""

import json

import jax
import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest

from rubik_jax.data.cases import Case
from rubik_jax.data.entries import build
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
    options = {"values": VALUES, "ignore": -1, "regions": {"both": (3, 7)}, "progress": plainly}
    return judge_masks(mapped(forward), store, SLIDING, **options | changes)


def test_right_answers_score_1_in_every_case(store):
    judged = judge(store, right)
    assert [row["case"] for row in judged.cases] == ["a", "b", "c"]
    for name in ("dice_3", "iou_7", "dice_both", "miou", "foreground_dice"):
        assert judged.numbers[name] == 1
        assert all(row[name] == 1 for row in judged.cases)
    assert judged.numbers["hd95_3"] == 0 and judged.numbers["cases"] == 3
    json.dumps(judged.numbers)


def test_an_ignored_label_counts_nowhere(store):
    def two(windows):
        """Takes every 7 for a 3."""
        shares = right(windows)
        return jnp.stack([shares[..., 0], shares[..., 1] + shares[..., 2]], axis=-1)

    options = {"values": (0, 3), "regions": {}}
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
