"""Convolution with three taps along x by half the products: Winograd's F(4, 3).

Four outputs in a row need twelve products of a kernel's taps and voxels, or six of sums of taps and
sums of voxels (Lavin & Gray, CVPR 2016, with the points 0, 1, -1, 2, -2 and infinity). The sums
are the same in exact arithmetic; in float32 they are off by some 5e-6 of the largest output, where
the plain form is off by 1e-6.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from rubik_jax.models.chunks import divide

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
    return taps == 3 and min(channels, features) >= 16 and tiled <= 1.5 * planes


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
    tiles = -(-planes // _TILE)
    padded = _reaching(x, before, tiles * _TILE - planes)
    sums = [_sum(row, _tile_planes(padded, tiles)) for row in _OF_VOXELS]
    taps = jnp.einsum("ta,a...->t...", _OF_TAPS, kernel, precision="highest")
    products = [
        plain(voxels[:, None], tap[None])[:, 0] for voxels, tap in zip(sums, taps, strict=True)
    ]
    outputs = jnp.stack([_sum(row, products) for row in _OF_PRODUCTS], axis=1)
    return outputs.reshape(batch, tiles * _TILE, *outputs.shape[2:])[:, :planes]


def kernel_gradient(
    x: Float[Array, "b x y w c"],
    cotangent: Float[Array, "b x v z f"],
    before: int,
    shifts: Callable[[Array], Array],
    met: Callable[[Array], Array],
) -> Float[Array, "3 p q"]:
    """The gradient of the taps along x, from that of the output.

    Args:
        x: voxels, padded as `shifts` wants it.
        cotangent: the gradient of the output, padded as `met` wants it.
        before: as in `convolve`.
        shifts: of voxels [n, y, w, c] what some of a plane's taps see, [n, y, z, q].
        met: of the cotangent [n, v, z, f] what the others see, [n, y, z, p].
    """
    batch, planes = x.shape[:2]
    chunks = divide(batch, -(-planes // _TILE), cotangent.shape[2] * cotangent.shape[3])
    rest = -planes % _TILE + chunks.rest * _TILE
    cotangent = jnp.pad(cotangent, ((0, 0), (0, rest), *((0, 0),) * 3))
    x = _reaching(x, before, rest)
    contract = (((0, 1, 2), (0, 1, 2)), ((), ()))

    def products(chunk: Array) -> Array:
        reach = chunks.parts * _TILE
        voxels = _tile_planes(chunks.cut(x, chunk, _TILE, reach + 2), chunks.parts)
        outputs = _tile_planes(chunks.cut(cotangent, chunk, _TILE, reach), chunks.parts, _TILE)
        found = [
            lax.dot_general(
                met(_sum(of_products, outputs)), shifts(_sum(of_voxels, voxels)), contract
            )
            for of_products, of_voxels in zip(_OF_PRODUCTS.T, _OF_VOXELS, strict=True)
        ]
        return jnp.stack(found)

    return jnp.einsum("ta,t...->a...", _OF_TAPS, chunks.sum(products), precision="highest")


def _reaching(x: Array, before: int, rest: int) -> Array:
    """The voxels with the zeros that tiles reach into, and so many planes that fill the last."""
    return jnp.pad(x, ((0, 0), (before, 2 - before + rest), *((0, 0),) * 3))


def _tile_planes(x: Array, tiles: int, reach: int = _TILE + 2) -> list[Array]:
    """Plane 0, 1, ... of every tile, as images of their own, [b * tiles, y, z, c] each."""
    last = (tiles - 1) * _TILE
    each = [x[:, plane : plane + last + 1 : _TILE] for plane in range(reach)]
    return [planes.reshape(-1, *planes.shape[2:]) for planes in each]


def _sum(factors: np.ndarray, terms: Sequence[Array]) -> Array:
    pairs = [(factor, term) for factor, term in zip(factors, terms, strict=True) if factor]
    return sum(term if factor == 1 else term * factor for factor, term in pairs)
