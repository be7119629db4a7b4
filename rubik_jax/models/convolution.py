"""The 3D convolution and its gradients, in the form that is fastest for each platform and shape.

XLA has a fast path for its own on GPU and TPU only. What it does well on the CPU are products of
large matrices and 2D convolutions with long rows, and these are what a 3D convolution is made
into here: the same sums, in another order. docs/performance.md has what each form was worth.
"""

import functools
import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

from rubik_jax.models import winograd
from rubik_jax.models.chunks import divide

Triple = tuple[int, int, int]

# Up to so many channels, columns are rows of memory rather than pieces of a row: a voxel of few
# channels is too short a piece to copy.
_FEW, _FEW_FOR_KERNEL = 2, 4

# Fewer channels leave a GPU's matrix units idle: its 3D kernels use them where the channels of
# input and output can be divided by 8 (NVIDIA, Best Practices for cuDNN 3D Convolutions, section
# 2). XLA fills them up for float16 alone. On a TPU they're filled up in memory anyway.
_UNIT = 8


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv3d(
    x: Float[Array, "b x y z c"], kernel: Float[Array, "i j k c f"], strides: Triple
) -> Float[Array, "b u v w f"]:
    """A 3D convolution with padding that keeps the size (divided by the stride, rounded up).

    On GPU and TPU it's XLA's own, and so are its gradients. On a CPU its gradients are written out,
    but for strides and single taps. It has no second derivative, and none forward.
    """
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_on_cpu, strides=strides),
        default=functools.partial(_aligned, strides=strides),
    )


def _forward(x: Array, kernel: Array, strides: Triple) -> tuple[Array, tuple[Array, Array]]:
    return conv3d(x, kernel, strides), (x, kernel)


def _backward(strides: Triple, kept: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    def derived(x: Array, kernel: Array, cotangent: Array) -> tuple[Array, Array]:
        return jax.vjp(functools.partial(_aligned, strides=strides), x, kernel)[1](cotangent)

    def written(*arrays: Array) -> tuple[Array, Array]:
        found = _gradients_on_cpu(*(array.astype(jnp.float32) for array in arrays), strides)
        return tuple(g.astype(of.dtype) for g, of in zip(found, kept, strict=True))

    return lax.platform_dependent(*kept, cotangent, cpu=written, default=derived)


conv3d.defvjp(_forward, _backward)


def conv3d_over_cubes(
    x: Float[Array, "b x y z c"], kernel: Float[Array, "i j k c f"], strides: Triple
) -> Float[Array, "b u v w f"]:
    """`conv3d` for use under a `vmap` over cubes that share the kernel, and only there.

    The cubes join the batch, so that the kernel's gradient is one sum over all of them; otherwise
    each cube's own would be made, and those added. Without `vmap` it has no gradient.
    """
    return _over_cubes(strides)(x, kernel)


@functools.cache
def _over_cubes(strides: Triple) -> Callable[[Array, Array], Array]:
    @custom_vmap
    def convolve(x: Array, kernel: Array) -> Array:
        return conv3d(x, kernel, strides)

    @convolve.def_vmap
    def in_the_batch(cubes: int, mapped, x: Array, kernel: Array) -> tuple[Array, bool]:
        if list(mapped) != [True, False]:
            axes = [0 if is_mapped else None for is_mapped in mapped]
            return jax.vmap(functools.partial(conv3d, strides=strides), axes)(x, kernel), True
        out = conv3d(x.reshape(-1, *x.shape[2:]), kernel, strides)
        return out.reshape(cubes, -1, *out.shape[1:]), True

    return convolve


def _aligned(x: Array, kernel: Array, *, strides: Triple) -> Array:
    """XLA's own, a few channels being filled up with zeros."""
    lack = max(0, _UNIT - x.shape[-1])
    x = jnp.pad(x, ((0, 0),) * 4 + ((0, lack),))
    kernel = jnp.pad(kernel, ((0, 0),) * 3 + ((0, lack), (0, 0)))
    return lax.conv_general_dilated(
        x, kernel, strides, "SAME", dimension_numbers=("NXYZC", "XYZIO", "NXYZC")
    )


def _on_cpu(x: Array, kernel: Array, *, strides: Triple) -> Array:
    wide = x.astype(jnp.float32), kernel.astype(jnp.float32)  # nothing narrower is faster here
    pads = _pads(x, kernel, strides)
    if _is_small(kernel, strides):
        out = _by_columns(*wide, strides, pads)
    else:
        out = (_by_rows if x.shape[-1] <= _FEW else _by_sums)(*wide, pads)
    return out.astype(x.dtype)


def _gradients_on_cpu(x: Array, kernel: Array, cotangent: Array, strides: Triple):
    pads = _pads(x, kernel, strides)
    if _is_small(kernel, strides):
        forward = functools.partial(_by_columns, strides=strides, pads=pads)
        return jax.vjp(forward, x, kernel)[1](cotangent)
    # The input's gradient is a convolution of the output's, with the kernel turned about.
    turned = jnp.flip(kernel, (0, 1, 2)).swapaxes(3, 4)
    beyond = [
        (taps - 1 - before, taps - 1 - behind)
        for taps, (before, behind) in zip(kernel.shape[:3], pads, strict=True)
    ]
    few = x.shape[-1] <= _FEW_FOR_KERNEL
    of_kernel = (_kernel_by_rows if few else _kernel_by_sums)(x, cotangent, kernel.shape, pads)
    return _by_sums(cotangent, turned, beyond), of_kernel


def _by_sums(x: Array, kernel: Array, pads) -> Array:
    """By half the products, where that pays."""
    if not winograd.pays(kernel.shape[0], x.shape[1], *kernel.shape[3:]):
        return _by_planes(x, kernel, pads)

    def plain(voxels: Array, taps: Array) -> Array:
        return _by_planes(voxels, taps, [(0, 0), *pads[1:]])

    return winograd.convolve(x, kernel, pads[0][0], plain)


def _kernel_by_sums(x: Array, cotangent: Array, shape: tuple[int, ...], pads) -> Array:
    if not winograd.pays(shape[0], x.shape[1], *shape[3:]):
        return _kernel_by_chunks(x, cotangent, shape, pads)
    _, j, k, channels, features = shape
    (before, _), (above, below), along_z = pads
    x = _padded(x, [(0, 0), (0, 0), along_z])
    # Row r of x meets rows r + above - tap of the output's gradient.
    cotangent = _padded(cotangent, [(0, 0), (j - 1 - above, j - 1 - below), (0, 0)])
    found = winograd.kernel_gradient(
        x,
        cotangent,
        before,
        shifts=functools.partial(_shifted, axis=2, taps=k),
        met=functools.partial(_shifted, axis=1, taps=j),
    )
    taps = jnp.flip(found.reshape(-1, j, features, k, channels), 1)
    return taps.transpose(0, 1, 3, 4, 2)


def _is_small(kernel: Array, strides: Triple) -> bool:
    """Whether columns take less than a copy of the input for each tap: a single tap, or a stride.

    A stride of 2 along each axis leaves 27 / 8 copies. To make them image by image would need less
    room, but half as much time again.
    """
    return strides != (1, 1, 1) or kernel.shape[:3] == (1, 1, 1)


def _pads(x: Array, kernel: Array, strides: Triple) -> list[tuple[int, int]]:
    return lax.padtype_to_pads(x.shape[1:4], kernel.shape[:3], strides, "SAME")


def _padded(x: Array, pads) -> Array:
    return jnp.pad(x, ((0, 0), *pads, (0, 0)))


def _by_columns(x: Array, kernel: Array, strides: Triple, pads) -> Array:
    """One matrix product: what the taps see of each output voxel, times the kernel."""
    columns = jnp.concatenate(_seen(_padded(x, pads), kernel.shape[:3], strides), axis=-1)
    return columns @ kernel.reshape(-1, kernel.shape[-1])


def _by_planes(x: Array, kernel: Array, pads) -> Array:
    """A 2D convolution over x and (y, z) as one axis, the shifts along z in the channels.

    Rows of y times z voxels are long enough for all cores to work on. A step along y is z voxels:

        row   [z z z z][z z z z][z z z z]      taps at -4, 0, +4
        y      0        1        2
    """
    i, j, k, channels, features = kernel.shape
    batch, depth, _, width, _ = x.shape
    along_x, (above, below), along_z = pads
    shifts = _shifted(_padded(x, [(0, 0), (0, 0), along_z]), 3, k)
    rows = shifts.reshape(batch, depth, -1, k * channels)
    width = width + sum(along_z) - k + 1
    out = lax.conv_general_dilated(
        rows,
        kernel.reshape(i, j, k * channels, features),
        (1, 1),
        (along_x, (above * width, below * width)),
        rhs_dilation=(1, width),
        dimension_numbers=("NXRC", "XRIO", "NXRC"),
    )
    return out.reshape(batch, out.shape[1], -1, width, features)


def _by_rows(x: Array, kernel: Array, pads) -> Array:
    """One matrix product whose columns lie in memory as rows, a copied volume for each tap."""
    columns, shape = _rows(x, kernel.shape, pads)
    flat = kernel.reshape(-1, kernel.shape[-1])
    return lax.dot_general(columns, flat, (((0,), (0,)), ((), ()))).reshape(*shape, -1)


def _kernel_by_rows(x: Array, cotangent: Array, shape: tuple[int, ...], pads) -> Array:
    def add(total: Array, one: tuple[Array, Array]) -> tuple[Array, None]:
        columns, _ = _rows(one[0][None], shape, pads)
        return total + columns @ one[1].reshape(-1, shape[-1]), None

    # Image by image, since there is a copy of it for each tap and channel.
    zeros = jnp.zeros((math.prod(shape[:-1]), shape[-1]), x.dtype)
    return lax.scan(add, zeros, (x, cotangent))[0].reshape(shape)


def _rows(x: Array, shape: tuple[int, ...], pads) -> tuple[Array, tuple[int, ...]]:
    seen = _seen(_padded(x, pads), shape[:3], (1, 1, 1))
    rows = jnp.stack([each[..., channel] for each in seen for channel in range(shape[3])])
    return rows.reshape(len(rows), -1), rows.shape[1:]


def _kernel_by_chunks(x: Array, cotangent: Array, shape: tuple[int, ...], pads) -> Array:
    """A sum of matrix products over a few planes each: shifts of `x` times shifts of the output's.

    The taps along y and z are columns of the one, those along x of the other, which makes 9 + 3
    copies instead of 27, and a product of matrices that are both wide.
    """
    i, j, k, channels, features = shape
    (before, behind), *across = pads
    chunks = divide(*x.shape[:2], cotangent.shape[2] * cotangent.shape[3])
    x = _padded(x, [(0, chunks.rest), *across])
    # Plane p of x meets planes p + before - tap of the output's gradient.
    cotangent = _padded(cotangent, [(i - 1 - before, i - 1 - behind + chunks.rest), (0, 0), (0, 0)])
    contract = (((0, 1, 2, 3), (0, 1, 2, 3)), ((), ()))

    def products(chunk: Array) -> Array:
        seen = chunks.cut(x, chunk, 1, chunks.parts)
        met = chunks.cut(cotangent, chunk, 1, chunks.parts + i - 1)
        seen = _shifted(_shifted(seen, 3, k), 2, j)
        return lax.dot_general(_shifted(met, 1, i), seen, contract)

    taps = jnp.flip(chunks.sum(products).reshape(i, features, j, k, channels), 0)
    return taps.transpose(0, 2, 3, 4, 1)


def _seen(x: Array, taps: Triple, strides: Triple) -> list[Array]:
    """What each tap of a kernel sees, [b, u, v, w, c], in the order of the kernel's values."""
    size = [(n - t) // s + 1 for n, t, s in zip(x.shape[1:4], taps, strides, strict=True)]

    def by(tap: Triple) -> Array:
        ends = [t + (n - 1) * s + 1 for t, n, s in zip(tap, size, strides, strict=True)]
        return lax.slice(x, (0, *tap, 0), (len(x), *ends, x.shape[4]), (1, *strides, 1))

    return [by(tap) for tap in itertools.product(*map(range, taps))]


def _shifted(x: Array, axis: int, taps: int) -> Array:
    """What each of so many taps along an axis sees, side by side in the channels."""
    size = x.shape[axis] - taps + 1
    seen = [lax.slice_in_dim(x, tap, tap + size, axis=axis) for tap in range(taps)]
    return jnp.concatenate(seen, axis=-1)
