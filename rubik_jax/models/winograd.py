"""Convolution with three taps along x by half the products: Winograd's F(4, 3).

Four outputs in a row need twelve products of a kernel's taps and voxels, or six of sums of taps and
sums of voxels (Lavin & Gray, CVPR 2016, with the points 0, 1, -1, 2, -2 and infinity). The sums
are the same in exact arithmetic; in float32 they are off by some 5e-6 of the largest output, where
the plain form is off by 1e-6.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

_TILE = 4
_OF_VOXELS = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float32,
)
_OF_TAPS = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    np.float32,
)
_OF_PRODUCTS = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float32
)

Plain = Callable[[Array, Array], Array]


def pays(taps: int, planes: int, channels: int, features: int) -> bool:
    """Whether it is worth it: channels enough to pay for the sums, and little that fills tiles."""
    tiled = -(-planes // _TILE) * _TILE
    return taps == 3 and min(channels, features) >= 32 and tiled <= 1.5 * planes


def convolve(
    x: Float[Array, "b x y z c"], kernel: Float[Array, "3 j k c f"], before: int, plain: Plain
) -> Float[Array, "b u v w f"]:
    """A convolution of stride 1 that has as many planes as its input.

    Args:
        x: voxels.
        kernel: with three taps along x.
        before: planes of zeros before the first, 0 to 2; behind the last there are the rest of 2.
        plain: (voxels [n, 1, y, z, c], kernel [1, j, k, c, f]) -> its convolution within a plane.
    """
    batch, planes = x.shape[:2]
    tiles, padded = _tiled(x, before)
    sums = [_sum(row, _tile_planes(padded, tiles)) for row in _OF_VOXELS]
    taps = jnp.einsum("ta,a...->t...", _OF_TAPS, kernel, precision="highest")
    alone = (batch * tiles, 1, *x.shape[2:])
    products = [
        plain(voxels.reshape(alone), tap[None]) for voxels, tap in zip(sums, taps, strict=True)
    ]
    outputs = jnp.stack([_sum(row, products)[:, 0] for row in _OF_PRODUCTS], axis=1)
    return outputs.reshape(batch, tiles * _TILE, *outputs.shape[2:])[:, :planes]


def kernel_gradient(
    x: Float[Array, "b x y w c"],
    cotangent: Float[Array, "b x v z f"],
    before: int,
    chunk: int,
    shifts: Callable[[Array], Array],
    met: Callable[[Array], Array],
) -> Float[Array, "3 p q"]:
    """The gradient of the taps along x, from that of the output.

    Args:
        x: voxels, padded as `shifts` wants it.
        cotangent: the gradient of the output, padded as `met` wants it.
        before: as in `convolve`.
        chunk: voxels of a product, about.
        shifts: of voxels [n, y, w, c] what some of a plane's taps see, [n, y, z, q].
        met: of the cotangent [n, v, z, f] what the others see, [n, y, z, p].
    """
    batch, planes = x.shape[:2]
    tiles, padded = _tiled(x, before)
    together = max(1, min(tiles, chunk // (cotangent.shape[2] * cotangent.shape[3])))
    while tiles % together:
        together -= 1
    cotangent = jnp.pad(cotangent, ((0, 0), (0, tiles * _TILE - planes), *((0, 0),) * 3))

    def cut(array: Array, where: Array, planes: int) -> Array:
        image, first = where // (tiles // together), where % (tiles // together)
        start = (image, first * together * _TILE, 0, 0, 0)
        return lax.dynamic_slice(array, start, (1, planes, *array.shape[2:]))

    def products(where: Array) -> Array:
        voxels = _tile_planes(cut(padded, where, together * _TILE + 2), together)
        outputs = _tile_planes(cut(cotangent, where, together * _TILE), together, _TILE)
        pairs = [
            (met(_sum(of_products, outputs)[0]), shifts(_sum(of_voxels, voxels)[0]))
            for of_products, of_voxels in zip(_OF_PRODUCTS.T, _OF_VOXELS, strict=True)
        ]
        contract = (((0, 1, 2), (0, 1, 2)), ((), ()))
        return jnp.stack([lax.dot_general(*pair, contract) for pair in pairs])

    def add(total: Array, where: Array) -> tuple[Array, None]:
        return total + products(where), None

    first = jax.eval_shape(products, jnp.zeros((), jnp.int32))
    total = jnp.zeros(first.shape, first.dtype)
    total, _ = lax.scan(add, total, jnp.arange(batch * tiles // together))
    return jnp.einsum("ta,t...->a...", _OF_TAPS, total, precision="highest")


def _tiled(x: Array, before: int) -> tuple[int, Array]:
    """How many tiles there are, and the voxels with the zeros that they reach into."""
    tiles = -(-x.shape[1] // _TILE)
    behind = tiles * _TILE + 2 - before - x.shape[1]
    return tiles, jnp.pad(x, ((0, 0), (before, behind), *((0, 0),) * 3))


def _tile_planes(x: Array, tiles: int, reach: int = _TILE + 2) -> list[Array]:
    """Plane 0, 1, ... of every tile, [b, tiles, y, z, c] each."""
    last = (tiles - 1) * _TILE
    return [x[:, plane : plane + last + 1 : _TILE] for plane in range(reach)]


def _sum(factors: np.ndarray, terms: Sequence[Array]) -> Array:
    pairs = [(factor, term) for factor, term in zip(factors, terms, strict=True) if factor]
    return sum(term if factor == 1 else term * factor for factor, term in pairs)
