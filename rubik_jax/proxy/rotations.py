"""Turns of a cube that keep its shape: half turns by flips, and all 24 by one gather."""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Shaped

from rubik_jax.errors import ArgumentError

TURNS = {"none": 1, "half": 4, "all": 24}
"""How many turns each kind knows, the turn that does nothing (number 0) included."""


def check_turns(turns: str, cube: tuple[int, int, int]) -> None:
    """Raises ArgumentError for an unknown kind, or for quarter turns of unequal sides."""
    if turns not in TURNS:
        raise ArgumentError("turns", f"is {turns!r}; expected one of {sorted(TURNS)}")
    if turns == "all" and len(set(cube)) > 1:
        raise ArgumentError.of(
            "{turns}=all turns a cube by 90 degrees, but {cube} is {}; expected three equal sides "
            "(or {turns}=half)",
            cube,
        )


def turn(
    cube: Shaped[Array, "x y z c"], number: Int[Array, ""], kind: str
) -> Shaped[Array, "x y z c"]:
    """Turns a cube by the turn of that number, in the numbering of its kind."""
    if kind == "half":
        horizontal, vertical = half_turn_labels(number)
        return half_turn(cube, horizontal, vertical)
    return quarter_turn(cube, number) if kind == "all" else cube


def inverse(number: Int[Array, "*n"], kind: str) -> Int[Array, "*n"]:
    """The number of the turn that undoes a turn; a half turn undoes itself."""
    return jnp.asarray(_INVERSES)[number] if kind == "all" else number


def half_turn_labels(number: Int[Array, "*n"]) -> tuple[Bool[Array, "*n"], Bool[Array, "*n"]]:
    """Whether half turn 0..3 holds a horizontal one (bit 0) and a vertical one (bit 1)."""
    return number % 2 == 1, number // 2 == 1


def half_turn(
    cube: Shaped[Array, "x y z c"], horizontal: Bool[Array, ""], vertical: Bool[Array, ""]
) -> Shaped[Array, "x y z c"]:
    """Turns a cube by 180 degrees about z (horizontal), about x (vertical), or both (about y).

    Each is a proper rotation, two flips; one flip alone would be a mirror image. With both, the
    flips of y cancel::

                    x  y  z
        horizontal  *  *          The four form a group in which each undoes itself, and each
        vertical       *  *       keeps the shape of a cuboid (paper, section 2.1).
        both        *     *
    """
    flips = (horizontal, horizontal ^ vertical, vertical)
    for axis, flip in enumerate(flips):
        cube = jnp.where(flip, jnp.flip(cube, axis), cube)
    return cube


def quarter_turn(
    cube: Shaped[Array, "n n n c"], number: Int[Array, ""]
) -> Shaped[Array, "n n n c"]:
    """Turns a cube by one of the 24 rotations of the cube.

    Voxel p of the result is voxel R p of the cube, R a signed permutation of the axes. With
    voxels numbered in a row that is start + step . p, so a turn is four numbers and one gather:
    nothing is computed 24 times, and no table of voxels lies on the device.
    """
    side = cube.shape[0]
    matrix = jnp.asarray(_MATRICES)[number]  # [3, 3]
    strides = jnp.array([side * side, side, 1])
    step = strides @ matrix
    start = strides @ jnp.where(jnp.sum(matrix, axis=1) < 0, side - 1, 0)
    i, j, k = jnp.ogrid[:side, :side, :side]
    source = start + step[0] * i.ravel()[:, None, None]
    source = source + step[1] * j.ravel()[None, :, None] + step[2] * k.ravel()[None, None, :]
    return cube.reshape(side**3, -1)[source]


def _rotations() -> Int[np.ndarray, "24 3 3"]:
    """The signed permutation matrices of determinant 1, the identity first."""
    matrices = [
        np.eye(3, dtype=int)[list(axes)] * np.array(signs)[:, None]
        for axes in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    ]
    return np.array([m for m in matrices if round(np.linalg.det(m)) == 1], np.int32)


_MATRICES = _rotations()
_INVERSES = np.array(
    [
        next(j for j, other in enumerate(_MATRICES) if (other @ matrix == np.eye(3)).all())
        for matrix in _MATRICES
    ]
)
