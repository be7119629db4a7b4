"""How a window is cut into cubes: a grid with a gap, maybe jitter, each scaled to [-1, 1]."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from rubik_jax.errors import ArgumentError


class Grid(NamedTuple):
    """A grid of equal cuboid cubes; every member is a triple in voxels (or cells) along x, y, z.

    Between neighbours lies a gap, so that seams and texture that runs across a cut don't give
    the answer away (paper, section 2.1, pre-processing). It is left out, never blanked: a blank
    margin would name the octant. With jitter each cube is moved by 0..jitter voxels per axis
    independently, so that the gap between neighbours varies within gap +- jitter::

        |<- cube ->|<- gap ->|<- cube ->|<- jitter ->|
        |<----------------- window ----------------->|
    """

    counts: tuple[int, int, int]
    cube: tuple[int, int, int]
    gap: tuple[int, int, int]
    jitter: tuple[int, int, int]

    @property
    def cells(self) -> int:
        """The number of cubes, M in the paper."""
        return math.prod(self.counts)

    @property
    def window(self) -> tuple[int, int, int]:
        """The size of what the grid covers, in voxels."""
        return tuple(
            n * cube + (n - 1) * gap + jitter for n, cube, gap, jitter in zip(*self, strict=True)
        )

    @property
    def corners(self) -> Int[np.ndarray, "m 3"]:
        """The corner of each cube in the window before jitter; z runs fastest."""
        cells = np.stack(np.unravel_index(np.arange(self.cells), self.counts), axis=-1)
        return (cells * np.add(self.cube, self.gap)).astype(np.int32)


def make_grid(
    counts: Sequence[int],
    cube: Sequence[int],
    gap: Sequence[int],
    jitter: Sequence[int] = (0, 0, 0),
) -> Grid:
    """Checks the numbers of a grid.

    Raises:
        ArgumentError: a member isn't a triple, a count or side is below 1, fewer than two cubes,
            or a jitter beyond the gap, with which neighbours could overlap.
    """
    grid = Grid(tuple(counts), tuple(cube), tuple(gap), tuple(jitter))
    for name, triple, least in zip(Grid._fields, grid, (1, 1, 0, 0), strict=True):
        if len(triple) != 3 or any(value < least for value in triple):
            raise ArgumentError(
                name,
                f"is {triple}; expected three whole numbers (x, y, z), each at least {least}",
            )
    if grid.cells < 2:
        raise ArgumentError("counts", f"{grid.counts} makes one cube; expected at least two")
    if any(j > g for j, g in zip(grid.jitter, grid.gap, strict=True)):
        raise ArgumentError.of(
            "{jitter} {} is larger than {gap} {}, so cubes could overlap; expected at most the gap "
            "on each axis",
            *(grid.jitter, grid.gap),
        )
    return grid


def crop(
    volume: Shaped[Array, "x y z c"], corner: Int[Array, "3"], size: tuple[int, int, int]
) -> Shaped[Array, "a b d c"]:
    """The block of that size (voxels) at a corner that may be traced."""
    return jax.lax.dynamic_slice(volume, (*corner, 0), (*size, volume.shape[-1]))


def place(
    key: PRNGKeyArray,
    volume: Shaped[Array, "x y z c"],
    size: Int[Array, "3"],
    window: tuple[int, int, int],
) -> Shaped[Array, "a b d c"]:
    """A window at a random place among the first `size` voxels of each axis of a volume."""
    return crop(volume, random_corner(key, size, window), window)


def random_corner(
    key: PRNGKeyArray, size: Int[Array, "3"], window: tuple[int, int, int]
) -> Int[Array, "3"]:
    """A corner at which a window lies within `size` voxels per axis; all are equally likely."""
    return jax.random.randint(key, (3,), 0, size - jnp.array(window) + 1)


def cut(
    key: PRNGKeyArray, window: Shaped[Array, "x y z c"], grid: Grid
) -> Shaped[Array, "m a b d c"]:
    """Cuts a window of shape `grid.window` into its cubes, in the grid's order (z fastest)."""
    if not any(grid.jitter):  # known places: plain slices, which fuse with what follows
        return jnp.stack(
            [
                window[tuple(slice(o, o + n) for o, n in zip(corner, grid.cube, strict=True))]
                for corner in grid.corners
            ]
        )
    moves = jax.random.randint(key, (grid.cells, 3), 0, jnp.array(grid.jitter)[None] + 1)
    return jax.vmap(crop, (None, 0, None))(window, grid.corners + moves, grid.cube)


def normalise(cubes: Float[Array, "m x y z c"]) -> Float[Array, "m x y z c"]:
    """Scales each cube and channel to [-1, 1]: (x - mean) / max|x - mean|.

    The paper's "normalized to [-1, 1] by using the mean and maximum intensity" (section 2.1). A
    constant cube becomes zeros.
    """
    least, most = _over_voxels(jnp.min, cubes), _over_voxels(jnp.max, cubes)
    # The mean of equal numbers can miss them by a rounding, which would be blown up; above their
    # least, they are zero to the bit.
    above = cubes - least
    mean = _over_voxels(jnp.mean, above)
    # The largest of |above - mean|, without another pass over the cubes.
    largest = jnp.maximum(mean, most - least - mean)
    return (above - mean) / jnp.where(largest > 0, largest, 1.0)


def _over_voxels(of: Callable[..., Array], cubes: Array) -> Float[Array, "m 1 1 1 c"]:
    """A minimum, maximum or mean over all voxels of a cube and channel.

    Along x and y first, with z and channels as one row, which is long enough for a CPU's vectors.
    """
    m, x, y, z, c = cubes.shape
    rows = of(cubes.reshape(m, x * y, z * c), axis=1)
    return of(rows.reshape(m, 1, 1, z, c), axis=3, keepdims=True)
