"""Batches depend on seed and step alone, and every window is a part of its volume."""

import itertools
from functools import partial

import numpy as np
import pytest

from rubik_jax.data import loader
from rubik_jax.errors import ArgumentError

WINDOW = (3, 4, 2)
SHAPES = [(3, 4, 2, 1), (5, 6, 4, 1), (4, 4, 7, 1), (9, 5, 3, 1), (6, 6, 6, 1)]


@pytest.fixture
def cohort():
    """Volumes whose voxels say where they come from: 1000 x case + place."""
    return [
        {"window": (1000 * i + np.arange(np.prod(shape)).reshape(shape)).astype(np.int32)}
        for i, shape in enumerate(SHAPES)
    ]


@pytest.fixture
def labelled(cohort):
    """The same with masks that repeat the voxels, the last of which is the only labelled one."""
    return [
        example
        | {
            "label": example["window"][..., 0].astype(np.int16),
            "places": np.array([example["window"].shape[:3]], np.int32) - 1,
            "target": np.int32(i),
        }
        for i, example in enumerate(cohort)
    ]


def batches(cohort, count, **options):
    options = {"window": WINDOW, "batch_size": 3, "seed": 7, "start": 0, "threads": 2} | options
    iterator = loader.training_batches(cohort, **options)
    taken = list(itertools.islice(iterator, count))
    iterator.close()
    return taken


def same(one, other):
    return all(np.array_equal(one[k], other[k]) for k in one.keys() | other.keys())


def test_a_batch_is_a_function_of_seed_and_step(cohort):
    whole = batches(cohort, 12)
    for start, threads in ((5, 2), (11, 0), (0, 4)):
        again = batches(cohort, 12 - start, start=start, threads=threads)
        assert all(map(same, whole[start:], again))
    assert not all(map(same, whole, batches(cohort, 12, seed=8)))


@pytest.mark.parametrize("together", [1, 2, 3])
def test_steps_that_come_together_are_those_that_come_alone(labelled, together):
    alone = batches(labelled, 12, start=6)
    joined = batches(labelled, 12 // together, start=6, together=together)
    for i, call in enumerate(joined):
        steps = alone[i * together : (i + 1) * together]
        assert same(call, {name: np.stack([step[name] for step in steps]) for name in steps[0]})
        assert all(call[name].dtype == steps[0][name].dtype for name in call)


def test_each_epoch_sees_every_case_once_in_another_order_and_place(cohort):
    windows = np.concatenate([batch["window"] for batch in batches(cohort, 25)])
    epochs = (windows[:, 0, 0, 0, 0] // 1000).reshape(-1, len(cohort))
    assert (np.sort(epochs) == np.arange(len(cohort))).all()
    assert len(np.unique(epochs, axis=0)) > 5
    corners = windows[:, 0, 0, 0, 0]
    assert len(np.unique(corners[corners // 1000 == 4])) > 5


def test_windows_are_parts_of_their_volumes(cohort):
    for batch in batches(cohort, 10):
        assert batch["window"].shape == (3, *WINDOW, 1) and batch["window"].dtype == np.int32
        np.testing.assert_array_equal(batch["index"], np.arange(3, dtype=np.int32))
        for window in batch["window"]:
            volume = cohort[window.flat[0] // 1000]["window"]
            corner = np.argwhere(volume == window.flat[0])[0, :3].tolist()
            np.testing.assert_array_equal(window, loader.crop(volume, tuple(corner), WINDOW))


def test_a_window_is_drawn_unread(cohort):
    drawn = loader.draw(cohort[4], WINDOW, np.random.default_rng(0))
    assert np.shares_memory(drawn["window"], cohort[4]["window"])


def test_the_cohort_may_be_smaller_than_the_batch(cohort):
    (batch,) = batches(cohort[:2], 1, batch_size=8)
    assert set(batch["window"][:, 0, 0, 0, 0] // 1000) == {0, 1}
    np.testing.assert_array_equal(batch["index"], np.arange(8))


def test_one_case_in_batches_of_one(cohort):
    (first,) = batches(cohort[1:2], 1, batch_size=1, start=10)
    assert first["window"].shape == (1, *WINDOW, 1)


def test_held_out_windows_are_fixed_and_fillers_weigh_nothing(cohort):
    def held_out(batch_size):
        taken = list(
            loader.held_out_batches(cohort, window=WINDOW, batch_size=batch_size, repeats=3, seed=1)
        )
        assert all(len(batch["window"]) == batch_size for batch in taken)
        joined = {key: np.concatenate([batch[key] for batch in taken]) for key in taken[0]}
        return {key: values[joined["weight"] == 1] for key, values in joined.items()}

    once, other = held_out(4), held_out(7)
    assert same(once, held_out(4)) and same(once, other)
    np.testing.assert_array_equal(once["index"], np.arange(15))
    np.testing.assert_array_equal(once["window"][:, 0, 0, 0, 0] // 1000, np.arange(15) // 3)
    assert once["weight"].dtype == np.float32 and once["index"].dtype == np.int32


def test_resident_shards_hold_every_volume(cohort):
    cohort[0] = {"window": cohort[0]["window"][:2]}
    held = loader.resident(cohort, window=WINDOW, shards=2)
    assert held["window"].shape == (2, 3, 9, 6, 7, 1) and held["window"].dtype == np.int32
    np.testing.assert_array_equal(held["count"], [3, 2])
    for i, example in enumerate(cohort):
        size = held["sizes"][i % 2, i // 2]
        x, y, z = size
        own = held["window"][i % 2, i // 2, :x, :y, :z]
        np.testing.assert_array_equal(own, loader.padded(example["window"], WINDOW))
    with pytest.raises(ArgumentError, match="5 training cases among 6 devices"):
        loader.resident(cohort, window=WINDOW, shards=6)


def test_masks_and_classes_go_with_their_windows(labelled):
    for batch in batches(labelled, 10):
        np.testing.assert_array_equal(batch["label"], batch["window"][..., 0])
        np.testing.assert_array_equal(batch["target"], batch["window"][:, 0, 0, 0, 0] // 1000)
        assert batch["label"].dtype == np.int16 and batch["target"].dtype == np.int32
        assert "places" not in batch


def test_beyond_the_volume_no_label_counts(labelled):
    (batch,) = batches(labelled[:1], 1, window=(5, 4, 2), batch_size=1)
    np.testing.assert_array_equal(batch["label"][0, [0, -1]], loader.IGNORED)
    np.testing.assert_array_equal(batch["label"][0, 1:-1], labelled[0]["label"])


def test_a_share_of_windows_holds_a_labelled_voxel(labelled):
    example, draws = labelled[4], 300
    corner = example["label"].max()  # of which one window in 4 x 3 x 5 holds the labelled voxel

    def share(foreground: float) -> float:
        rngs = map(np.random.default_rng, range(draws))
        drawn = [loader.draw(example, WINDOW, rng, foreground=foreground) for rng in rngs]
        return np.mean([(each["label"] == corner).any() for each in drawn])

    assert share(1.0) == 1
    assert share(0.0) < 0.1
    assert 0.4 < share(0.5) < 0.65


def test_resident_masks_lie_where_their_volumes_do(labelled):
    held = loader.resident(labelled, window=(5, 4, 2), shards=2)
    for i, example in enumerate(labelled):
        home = i % 2, i // 2
        assert held["target"][home] == i and held["labelled"][home]
        label = held["label"][home]
        inside = label != loader.IGNORED
        np.testing.assert_array_equal(label[inside], example["label"].ravel())
        np.testing.assert_array_equal(held["window"][home][..., 0][inside], label[inside])
        assert label[tuple(held["places"][home][0])] == example["label"].max()


def test_padding_repeats_the_edge_and_only_where_needed():
    volume = np.arange(2 * 5 * 1, dtype=np.float16).reshape(2, 5, 1, 1)
    grown = loader.padded(volume, (5, 4, 2))
    np.testing.assert_array_equal(grown[..., 0, 0], volume[[0, 0, 1, 1, 1], :, 0, 0])
    np.testing.assert_array_equal(grown[:, :, 1], grown[:, :, 0])
    assert loader.padded(volume, (2, 3, 1)) is volume


def test_small_volumes_are_refused_unless_padding_was_asked_for():
    names = list("abcde")
    small = partial(loader.too_small, SHAPES, names)
    assert not small(WINDOW, pad="refuse") and not small((99, 99, 99), pad="edge")
    found = small((4, 4, 4), pad="refuse")
    assert len(found) == 2
    assert found["a"] == "3x4x2 voxels, smaller than the window of 4x4x4"
    with pytest.raises(ArgumentError, match=r"^pad is 'zeros'"):
        small(WINDOW, pad="zeros")
