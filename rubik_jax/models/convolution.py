"""The 3D convolution, in the form that is fastest on each platform."""

import functools

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Triple = tuple[int, int, int]


def conv3d(
    x: Float[Array, "b x y z c"], kernel: Float[Array, "i j k c f"], strides: Triple
) -> Float[Array, "b u v w f"]:
    """A 3D convolution with padding that keeps the size (divided by the stride, rounded up).

    On GPU and TPU it's XLA's own. On the CPU, where that is slow, the shifts along x are folded
    into the channels of one 2D convolution over batch and x; the same sum, in another order.
    """
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_folded, strides=strides),
        default=functools.partial(_direct, strides=strides),
    )


def _direct(x: Array, kernel: Array, *, strides: Triple) -> Array:
    return lax.conv_general_dilated(
        x, kernel, strides, "SAME", dimension_numbers=("NXYZC", "XYZIO", "NXYZC")
    )


def _folded(x: Array, kernel: Array, *, strides: Triple) -> Array:
    taps, stride = kernel.shape[0], strides[0]
    ((before, after),) = lax.padtype_to_pads(x.shape[1:2], (taps,), (stride,), "SAME")
    length = -(-x.shape[1] // stride)
    x = jnp.pad(x, ((0, 0), (before, after), (0, 0), (0, 0), (0, 0)))
    reach = (length - 1) * stride + 1
    shifted = [x[:, tap : tap + reach : stride] for tap in range(taps)]
    planes = jnp.concatenate(shifted, axis=-1).reshape(-1, *x.shape[2:4], taps * x.shape[4])
    flat = kernel.transpose(1, 2, 0, 3, 4).reshape(*kernel.shape[1:3], -1, kernel.shape[4])
    out = lax.conv_general_dilated(
        planes, flat, strides[1:], "SAME", dimension_numbers=("NYZC", "YZIO", "NYZC")
    )
    return out.reshape(-1, length, *out.shape[1:])
