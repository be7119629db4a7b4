"""Turns: groups of proper rotations that keep what they must."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rubik_jax.errors import ArgumentError
from rubik_jax.proxy import TURNS, check_turns, half_turn_labels
from rubik_jax.proxy.rotations import inverse, turn

CUBOID, CUBE = (4, 3, 2), (3, 3, 3)


def all_turns(kind, cube):
    """The cube turned by each turn of a kind, in one compiled call."""
    turned = jax.jit(jax.vmap(lambda number: turn(cube, number, kind)))
    return np.asarray(turned(jnp.arange(TURNS[kind])))


def matrices(kind, shape):
    """Each turn as the matrix R for which the voxel at p shows what had been at R p."""
    middle = np.subtract(shape, 1) / 2
    at = (np.moveaxis(np.indices(shape), 0, -1) - middle).astype(np.float32)
    turned = all_turns(kind, jnp.asarray(at))
    p, images = at.reshape(-1, 3), turned.reshape(TURNS[kind], -1, 3)
    found = [np.rint(np.linalg.lstsq(p, image, rcond=None)[0].T) for image in images]
    for matrix, image in zip(found, images, strict=True):
        np.testing.assert_array_equal(p @ matrix.T, image)  # no voxel elsewhere
    return np.array(found)


def test_half_turns_are_about_z_about_x_and_both_about_y():
    none, horizontal, vertical, both = matrices("half", CUBOID)
    np.testing.assert_array_equal(none, np.eye(3))
    np.testing.assert_array_equal(horizontal, np.diag([-1, -1, 1]))
    np.testing.assert_array_equal(vertical, np.diag([1, -1, -1]))
    np.testing.assert_array_equal(both, horizontal @ vertical)


def test_labels_of_half_turns_are_their_two_parts():
    horizontal, vertical = half_turn_labels(jnp.arange(4))
    assert horizontal.tolist() == [False, True, False, True]
    assert vertical.tolist() == [False, False, True, True]


@pytest.mark.parametrize(("kind", "shape"), [("none", CUBOID), ("half", CUBOID), ("all", CUBE)])
def test_turns_are_a_group_of_proper_rotations(kind, shape):
    turns = matrices(kind, shape)
    np.testing.assert_array_equal(turns[0], np.eye(3))
    np.testing.assert_allclose(np.linalg.det(turns), 1)  # a mirror has -1
    members = {matrix.tobytes() for matrix in turns + 0.0}
    assert len(members) == TURNS[kind]
    products = {(a @ b + 0.0).tobytes() for a, b in itertools.product(turns, turns)}
    assert products == members


def test_the_24_are_what_numpy_s_quarter_turns_make():
    cube = np.random.default_rng(0).normal(size=(4, 4, 4, 2)).astype(np.float32)
    reached, fresh = {cube.tobytes()}, [cube]
    while fresh:
        cubes = [np.rot90(c, axes=axes) for c in fresh for axes in ((0, 1), (1, 2), (0, 2))]
        new = {c.tobytes(): c for c in cubes if c.tobytes() not in reached}
        reached, fresh = reached | new.keys(), list(new.values())
    assert {turned.tobytes() for turned in all_turns("all", jnp.asarray(cube))} == reached


@pytest.mark.parametrize(("kind", "shape"), [("half", CUBOID), ("all", CUBE)])
def test_every_turn_is_undone_by_its_inverse(kind, shape):
    cube = jnp.asarray(np.random.default_rng(0).normal(size=(*shape, 2)), jnp.float32)
    numbers = jnp.arange(TURNS[kind])
    there_and_back = jax.jit(
        jax.vmap(lambda number: turn(turn(cube, number, kind), inverse(number, kind), kind))
    )
    back = there_and_back(numbers)
    np.testing.assert_array_equal(back, np.tile(cube, (len(numbers), 1, 1, 1, 1)))
    if kind == "half":
        np.testing.assert_array_equal(inverse(numbers, kind), numbers)


def test_quarter_turns_of_a_cuboid_and_unknown_turns_are_refused():
    check_turns("all", (5, 5, 5))
    check_turns("half", (64, 64, 12))
    with pytest.raises(ArgumentError, match=r"turns=all.*\(64, 64, 12\).*equal sides"):
        check_turns("all", (64, 64, 12))
    with pytest.raises(ArgumentError, match=r"turns is 'some'.*half"):
        check_turns("some", (5, 5, 5))
