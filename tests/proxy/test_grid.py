"""Where cubes are cut, where windows are placed, and what becomes of their intensities."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rubik_jax.errors import ArgumentError
from rubik_jax.proxy import cut, make_grid, normalise, place

KEY = jax.random.key(0)


def whereabouts(shape):
    """A volume whose three channels say where each voxel lies."""
    return np.moveaxis(np.indices(shape), 0, -1).astype(np.float32)


@pytest.mark.parametrize("counts", [(2, 2, 2), (3, 3, 3), (2, 2, 1), (1, 4, 2)])
@pytest.mark.parametrize(("cube", "gap"), [((3, 4, 2), (2, 0, 1)), ((2, 2, 2), (0, 0, 0))])
def test_cubes_lie_a_gap_apart_and_span_the_window(counts, cube, gap):
    grid = make_grid(counts, cube, gap)
    cubes = np.asarray(cut(KEY, jnp.asarray(whereabouts(grid.window)), grid))
    assert cubes.shape == (grid.cells, *cube, 3)
    for number, cell in enumerate(itertools.product(*map(range, counts))):  # z runs fastest
        corner = [i * (side + between) for i, side, between in zip(cell, cube, gap, strict=True)]
        np.testing.assert_array_equal(cubes[number], whereabouts(cube) + np.float32(corner))
    assert (cubes[-1, -1, -1, -1] == np.subtract(grid.window, 1)).all()


def test_jitter_moves_each_cube_up_to_its_bound_and_never_onto_another():
    gap, jitter = np.array([1, 2, 3]), np.array([1, 0, 3])
    grid = make_grid((2, 3, 2), (2, 3, 4), gap.tolist(), jitter.tolist())
    window = jnp.asarray(whereabouts(grid.window))
    keys = jax.random.split(KEY, 300)
    cubes = np.asarray(jax.jit(jax.vmap(lambda key: cut(key, window, grid)))(keys))

    corners = cubes[:, :, 0, 0, 0]
    whole = corners[:, :, None, None, None] + whereabouts(grid.cube)
    np.testing.assert_array_equal(cubes, whole)
    moves = corners - grid.corners
    np.testing.assert_array_equal(moves.min(axis=0), np.zeros((grid.cells, 3)))
    np.testing.assert_array_equal(moves.max(axis=0), np.tile(jitter, (grid.cells, 1)))
    assert (cubes.reshape(-1, 3).max(axis=0) == np.subtract(grid.window, 1)).all()

    cells = corners.reshape(-1, *grid.counts, 3)
    for axis in range(3):
        left = np.diff(cells, axis=axis + 1)[..., axis] - grid.cube[axis]
        assert left.min() == gap[axis] - jitter[axis] >= 0
        assert left.max() == gap[axis] + jitter[axis]


def test_a_window_may_lie_anywhere_within_the_size_and_nowhere_else():
    volume, size, window = jnp.asarray(whereabouts((9, 8, 5))), jnp.array([7, 6, 5]), (4, 6, 3)
    keys = jax.random.split(KEY, 200)
    placed = np.asarray(jax.jit(jax.vmap(lambda key: place(key, volume, size, window)))(keys))
    corners = placed[:, 0, 0, 0]
    np.testing.assert_array_equal(placed, corners[:, None, None, None] + whereabouts(window))
    assert {tuple(corner) for corner in corners} == set(
        itertools.product(range(4), range(1), range(3))
    )


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (40, 0), (0.01, 0), (3, -50), (5, 1000)])
def test_normalised_cubes_have_mean_0_and_reach_1_whatever_the_scanner_s_scale(gain, offset):
    cubes = np.random.default_rng(0).normal(size=(4, 5, 3, 6, 2)).astype(np.float32)
    cubes[..., 1] *= 100  # channels are scaled apart
    scaled = np.asarray(jax.jit(normalise)(jnp.asarray(gain * cubes + offset, jnp.float32)))
    np.testing.assert_allclose(scaled.mean(axis=(1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(np.abs(scaled).max(axis=(1, 2, 3)), 1, rtol=1e-6)

    centred = cubes - cubes.mean(axis=(1, 2, 3), keepdims=True)
    expected = centred / np.abs(centred).max(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(scaled, expected, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 7.7, -1234.567, 1e-30])
def test_a_constant_cube_becomes_zeros(value):
    cubes = np.random.default_rng(0).normal(size=(2, 8, 8, 8, 2)).astype(np.float32)
    cubes[1, ..., 0] = value
    scaled = np.asarray(jax.jit(normalise)(cubes))
    assert (scaled[1, ..., 0] == 0).all()
    np.testing.assert_allclose(np.abs(scaled).max(axis=(1, 2, 3)), [[1, 1], [0, 1]], rtol=1e-6)


@pytest.mark.parametrize(
    ("counts", "cube", "gap", "jitter", "sentence"),
    [
        ((1, 1, 1), (4, 4, 4), (0, 0, 0), (0, 0, 0), "counts.*one cube.*at least two"),
        ((2, 0, 2), (4, 4, 4), (0, 0, 0), (0, 0, 0), r"counts is \(2, 0, 2\).*at least 1"),
        ((2, 2, 2), (4, 0, 4), (0, 0, 0), (0, 0, 0), r"cube is \(4, 0, 4\).*at least 1"),
        ((2, 2, 2), (4, 4, 4), (0, -1, 0), (0, 0, 0), r"gap is \(0, -1, 0\).*at least 0"),
        ((2, 2, 2), (4, 4), (0, 0, 0), (0, 0, 0), r"cube is \(4, 4\).*three"),
        ((2, 2, 2), (4, 4, 4), (1, 1, 1), (1, 2, 1), r"jitter \(1, 2, 1\).*gap \(1, 1, 1\)"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(counts, cube, gap, jitter, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make_grid(counts, cube, gap, jitter)
