"""Blanked blocks are as many as asked for, curves are monotone, shuffles keep each box's voxels."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rubik_jax import proxy
from rubik_jax.errors import ArgumentError
from rubik_jax.proxy import corruption

WINDOW = (9, 12, 7)
KEYS = jax.random.split(jax.random.key(0), 50)


@pytest.mark.parametrize("block", [(3, 3, 3), (2, 5, 4), (9, 1, 7)])
@pytest.mark.parametrize("ratio", [0.25, 0.75])
def test_that_share_of_the_blocks_is_blanked_each_whole(block, ratio):
    where = jax.jit(jax.vmap(lambda key: proxy.random_blocks(key, WINDOW, block, ratio)))(KEYS)
    where = np.asarray(where)
    starts = [range(0, size, side) for size, side in zip(WINDOW, block, strict=True)]
    blocks = [
        where[(slice(None), *(slice(a, a + b) for a, b in zip(at, block, strict=True)))]
        for at in itertools.product(*starts)
    ]
    whole = np.array([each.all(axis=(1, 2, 3)) for each in blocks])
    partly = np.array([each.any(axis=(1, 2, 3)) for each in blocks])
    np.testing.assert_array_equal(whole, partly)
    assert set(whole.sum(axis=0)) == {round(ratio * len(blocks))}
    assert whole.any(axis=1).all()  # each of them at some time


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.99, 1.0])
def test_nothing_and_everything_are_refused(ratio):
    with pytest.raises(ArgumentError, match=rf"^ratio is {ratio}, which blanks"):
        proxy.count_blocks(WINDOW, (5, 6, 4), ratio)


@pytest.mark.parametrize("sides", [(1, 2), (0, 2, 2), (2, 2, 8)])
def test_sides_that_do_not_fit_are_refused(sides):
    with pytest.raises(ArgumentError, match=r"^box is .*\(9, 12, 7\)"):
        proxy.check_sides("box", sides, WINDOW)


def test_curves_are_monotone_and_run_from_one_corner_to_another():
    curves = np.asarray(jax.jit(jax.vmap(corruption.random_curve))(KEYS))
    rising = curves[:, -1] > 0.5
    assert rising.any() and not rising.all()
    np.testing.assert_allclose(curves[rising][:, [0, -1]], [[0, 1]] * rising.sum(), atol=1e-6)
    np.testing.assert_allclose(curves[~rising][:, [0, -1]], [[1, 0]] * (~rising).sum(), atol=1e-6)
    assert (np.diff(curves[rising]) >= -1e-6).all()
    assert (np.diff(curves[~rising]) <= 1e-6).all()
    assert np.ptp(curves[rising][:, 128]) > 0.1  # and not always the same


def test_a_table_is_looked_up_as_numpy_interpolates():
    table = np.random.default_rng(0).random(17).astype(np.float32)
    values = np.linspace(-0.5, 1.5, 301).astype(np.float32)
    wanted = np.interp(values, np.linspace(0, 1, 17), table)
    np.testing.assert_allclose(
        jax.jit(corruption.look_up)(jnp.array(table), values), wanted, atol=1e-5
    )


@pytest.mark.parametrize("box", [(2, 3, 2), (3, 3, 3), (9, 1, 1)])
def test_shuffling_keeps_the_voxels_of_each_box_and_their_channels(box):
    window = np.arange(2 * np.prod(WINDOW)).reshape(*WINDOW, 2)
    given = jnp.asarray(window)
    run = jax.jit(jax.vmap(lambda key: corruption.shuffle_boxes(key, given, box)))
    moved = np.asarray(run(KEYS))
    np.testing.assert_array_equal(moved[..., 1], moved[..., 0] + 1)
    counts = [n // b for n, b in zip(WINDOW, box, strict=True)]
    starts = [(n - k * b) // 2 for n, k, b in zip(WINDOW, counts, box, strict=True)]
    rest, changed = np.ones(WINDOW, bool), []
    for at in itertools.product(*map(range, counts)):
        corner = [s + i * b for s, i, b in zip(starts, at, box, strict=True)]
        where = tuple(slice(a, a + b) for a, b in zip(corner, box, strict=True))
        rest[where] = False
        before, after = window[where], moved[(slice(None), *where)]
        for each in after:
            np.testing.assert_array_equal(np.sort(each, None), np.sort(before, None))
        changed.append((after != before).any(axis=(1, 2, 3, 4)).mean())
    assert all((each[rest] == window[rest]).all() for each in moved)
    assert 0.4 < np.mean(changed) < 0.8  # a shuffle may happen to change nothing


def test_boxes_are_within_the_window_and_as_large_as_asked_for():
    shares = (0.3, 0.5)
    run = jax.jit(jax.vmap(lambda key: corruption.random_boxes(key, WINDOW, shares)))
    where = np.asarray(run(KEYS))
    least, most = (np.prod([int(share * n) for n in WINDOW]) for share in shares)
    covered = where.sum(axis=(1, 2, 3))
    assert (covered >= least).all() and (covered <= corruption.BOXES * most).all()
    faces = [where.take(end, axis).any() for axis in (1, 2, 3) for end in (0, -1)]
    assert all(faces)


OFF = {"nonlinear": 0.0, "shuffle": 0.0, "box": (2, 2, 2), "paint": 0.0, "inpaint": 0.5}


def distorted(**changes):
    window = jax.random.uniform(jax.random.key(1), (*WINDOW, 2))
    options = proxy.Distortion(**OFF | changes)
    run = jax.jit(jax.vmap(lambda key: proxy.distort(key, window, options)))
    return np.asarray(window), np.asarray(run(KEYS))


def test_what_is_off_changes_nothing():
    window, same = distorted()
    np.testing.assert_array_equal(same, np.broadcast_to(window, same.shape))


@pytest.mark.parametrize("name", ["nonlinear", "shuffle", "paint"])
def test_each_change_is_made_as_often_as_its_probability_says(name):
    window, found = distorted(**{name: 0.5})
    assert 0.25 < (found != window).any(axis=(1, 2, 3, 4)).mean() < 0.75


def test_painting_within_leaves_more_than_painting_around():
    window, within = distorted(paint=1.0, inpaint=1.0)
    _, around = distorted(paint=1.0, inpaint=0.0)
    shares = [(found == window).all(axis=-1).mean() for found in (within, around)]
    assert shares[0] > 0.8 > 0.6 > shares[1] > 0.1
