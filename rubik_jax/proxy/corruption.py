"""What else a volume can be asked back from: blanked blocks, and the changes of Models Genesis.

Zhou et al., Models Genesis (MICCAI 2019), with the probabilities and sizes of the authors' released
code. Under `vmap` both sides of a choice are computed; what a probability of 0 leaves out is no
part of the program.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from rubik_jax.errors import ArgumentError

Triple = tuple[int, int, int]
Window = Float[Array, "x y z c"]

BOXES = 5  # that are painted over, or left
INSIDE = (1 / 6, 1 / 3)  # their sides as shares of the window's: of what is painted over,
LEFT = (3 / 7, 4 / 7)  # and of what is left
SHUFFLED = 0.7  # share of the small boxes; the authors' 10000 overlapping ones cover as much


class Distortion(NamedTuple):
    """The changes of Models Genesis, each with its probability.

    Attributes:
        nonlinear: that intensities go through a monotone curve, each channel through its own.
        shuffle: that voxels are shuffled within small boxes.
        box: the sides of those along x, y, z, in voxels.
        paint: that a part is painted over by noise.
        inpaint: of these, that boxes within the window are; otherwise all around some boxes.
    """

    nonlinear: float
    shuffle: float
    box: Triple
    paint: float
    inpaint: float


def check_sides(name: str, sides: Sequence[int], window: Triple) -> Triple:
    """Three sides in voxels, the argument of that name, that fit into a window.

    Raises:
        ArgumentError: others.
    """
    fit = len(sides) == 3 and all(1 <= n <= w for n, w in zip(sides, window, strict=True))
    if not fit:
        raise ArgumentError(
            name,
            f"is {tuple(sides)}; expected three whole numbers (x, y, z), from 1 to the window's "
            f"{window}",
        )
    return tuple(sides)


def count_blocks(window: Triple, block: Triple, ratio: float) -> tuple[int, int]:
    """How many blocks of that size, cut off at the far sides, a window has; how many are blanked.

    Raises:
        ArgumentError: a ratio that leaves nothing, or everything.
    """
    total = math.prod(-(-w // b) for w, b in zip(window, block, strict=True))
    blanked = round(ratio * total)
    if not 0 < blanked < total:
        raise ArgumentError.of(
            "{ratio} is {}, which blanks {} of {} blocks of {} voxels; expected some and not all, "
            "by it or by {block}",
            *(ratio, blanked, total, block),
        )
    return total, blanked


def random_blocks(
    key: PRNGKeyArray, window: Triple, block: Triple, ratio: float
) -> Bool[Array, "x y z"]:
    """Where a window is blanked: in that share of its blocks, rounded to whole ones."""
    total, blanked = count_blocks(window, block, ratio)
    grid = [-(-w // b) for w, b in zip(window, block, strict=True)]
    where = (jax.random.permutation(key, total) < blanked).reshape(grid)
    for axis, (size, side) in enumerate(zip(window, block, strict=True)):
        spread = jnp.repeat(where, side, axis, total_repeat_length=where.shape[axis] * side)
        where = jax.lax.slice_in_dim(spread, 0, size, axis=axis)
    return where


def distort(key: PRNGKeyArray, window: Window, options: Distortion) -> Window:
    """Shuffles, recolours and paints over a window of intensities in about [0, 1]."""
    chances, shuffle_key, curve_key, paint_key = jax.random.split(key, 4)
    shuffles, recolours, paints, inside = jax.random.uniform(chances, (4,))
    if options.shuffle:
        shuffled = shuffle_boxes(shuffle_key, window, options.box)
        window = jnp.where(shuffles < options.shuffle, shuffled, window)
    if options.nonlinear:
        curves = jax.vmap(random_curve)(jax.random.split(curve_key, window.shape[-1]))
        recoloured = jax.vmap(look_up, (0, -1), -1)(curves, window)
        window = jnp.where(recolours < options.nonlinear, recoloured, window)
    if options.paint:
        over = _painted(paint_key, window.shape[:3], inside < options.inpaint)
        over = over & (paints < options.paint)
        noise = jax.random.uniform(jax.random.fold_in(paint_key, 1), window.shape)
        window = jnp.where(over[..., None], noise, window)
    return window


def random_curve(key: PRNGKeyArray, samples: int = 256) -> Float[Array, "n"]:
    """A cubic Bézier curve from (0, 0) to (1, 1), or from (0, 1) to (1, 0), as a table over [0, 1].

    Its inner control points are anywhere in the unit square, with which it is monotone.
    """
    points_key, turn_key = jax.random.split(key)
    inner = jax.random.uniform(points_key, (2, 2))
    t = jnp.linspace(0, 1, 4 * samples)
    x, y = (3 * (1 - t) ** 2 * t * a + 3 * (1 - t) * t**2 * b + t**3 for a, b in inner)
    rising = jnp.interp(jnp.linspace(0, 1, samples), x, y)
    return jnp.where(jax.random.bernoulli(turn_key), rising, rising[::-1])


def look_up(table: Float[Array, "n"], values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """A table over [0, 1] at values that are clipped to it, linear between its entries."""
    place = jnp.clip(values, 0, 1) * (len(table) - 1)
    before = jnp.minimum(place.astype(jnp.int32), len(table) - 2)
    part = place - before
    return table[before] * (1 - part) + table[before + 1] * part


def shuffle_boxes(
    key: PRNGKeyArray, window: Shaped[Array, "x y z c"], box: Triple
) -> Shaped[Array, "x y z c"]:
    """Shuffles the voxels within most boxes of a grid in the window's middle, channels together.

    The authors' boxes are of any size up to a tenth of the window, and overlap. Those here don't,
    so that a shuffle is one gather; a rest that fills no box stays.
    """
    size, channels = window.shape[:3], window.shape[-1]
    counts = [n // b for n, b in zip(size, box, strict=True)]
    starts = [(n - k * b) // 2 for n, k, b in zip(size, counts, box, strict=True)]
    middle = tuple(
        slice(start, start + k * b) for start, k, b in zip(starts, counts, box, strict=True)
    )
    places = jnp.arange(math.prod(size)).reshape(size)
    (i, a), (j, b), (k, c) = zip(counts, box, strict=True)
    boxes = places[middle].reshape(i, a, j, b, k, c).transpose(0, 2, 4, 1, 3, 5)
    flat = boxes.reshape(i * j * k, a * b * c)
    order_key, which_key = jax.random.split(key)
    order = jnp.argsort(jax.random.uniform(order_key, flat.shape), axis=1)
    chosen = jax.random.bernoulli(which_key, SHUFFLED, (len(flat), 1))
    moved = jnp.where(chosen, jnp.take_along_axis(flat, order, axis=1), flat)
    back = moved.reshape(i, j, k, a, b, c).transpose(0, 3, 1, 4, 2, 5).reshape(i * a, j * b, k * c)
    sources = places.at[middle].set(back).ravel()
    return window.reshape(-1, channels)[sources].reshape(window.shape)


def random_boxes(
    key: PRNGKeyArray, window: Triple, shares: tuple[float, float]
) -> Bool[Array, "x y z"]:
    """The union of a few boxes anywhere in a window, their sides within those shares of its own."""
    sizes = jnp.array(window)
    least, most = (jnp.maximum(1, (sizes * share).astype(jnp.int32)) for share in shares)
    side_key, corner_key = jax.random.split(key)
    sides = jax.random.randint(side_key, (BOXES, 3), least[None], most[None] + 1)
    corners = jax.random.randint(corner_key, (BOXES, 3), 0, sizes[None] - sides + 1)
    covered = []
    for axis, size in enumerate(window):
        along = jnp.arange(size)[None] - corners[:, axis, None]
        covered.append((along >= 0) & (along < sides[:, axis, None]))
    x, y, z = covered
    return jnp.any(x[:, :, None, None] & y[:, None, :, None] & z[:, None, None, :], axis=0)


def _painted(key: PRNGKeyArray, window: Triple, inside: Bool[Array, ""]) -> Bool[Array, "x y z"]:
    """Where a window is painted over: in some boxes, or all around some."""
    within, around = jax.random.split(key)
    boxes, rest = random_boxes(within, window, INSIDE), ~random_boxes(around, window, LEFT)
    return jnp.where(inside, boxes, rest)
