"""The few layers that every network here is made of: convolution, pooling, upsampling."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from rubik_jax.models.convolution import Triple, conv3d, conv3d_over_cubes
from rubik_jax.models.remat import convolved

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}

# The axes over which batch statistics are taken besides a branch's own batch: the cubes of the
# Siamese network's vmap. `types.DEVICES` joins it where the step is mapped over devices.
CUBES = "cube"


class Conv3D(nn.Module):
    """A 3D convolution; kernel of shape [*kernel_size, channels, features].

    Attributes:
        features: output channels.
        kernel_size: taps along x, y, z.
        strides: strides along x, y, z; the output is the input's size divided, rounded up.
        dtype: what is computed in; parameters are float32.
        use_bias: whether a bias is added; a norm that follows has its own.
        axes: mapped axes; under a vmap over `CUBES` it must be among them.
    """

    features: int
    kernel_size: Triple = (3, 3, 3)
    strides: Triple = (1, 1, 1)
    dtype: str = "float32"
    use_bias: bool = True
    axes: tuple[str, ...] = ()

    @nn.compact
    def __call__(self, x: Float[Array, "b x y z c"]) -> Float[Array, "b u v w f"]:
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        dtype = DTYPES[self.dtype]
        convolve = conv3d_over_cubes if CUBES in self.axes else conv3d
        y = convolved(convolve(x.astype(dtype), kernel.astype(dtype), self.strides))
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return y + bias.astype(dtype).reshape(1, 1, 1, 1, -1)


def max_pool(x: Float[Array, "b x y z c"], strides: Triple) -> Float[Array, "b u v w c"]:
    """The largest of each block of `strides` voxels; a rest that fills no block is cut off.

    Two by two, since blocks don't overlap: the gradient of a general pooling window scatters,
    which costs as much as a convolution. An axis shorter than its stride is pooled whole. The
    gradient of a block goes to one voxel, of equal ones to the first.
    """
    for axis in (3, 2, 1):
        stride = min(strides[axis - 1], x.shape[axis])
        whole = x.shape[axis] // stride * stride
        parts = [lax.slice_in_dim(x, part, whole, stride, axis) for part in range(stride)]
        x = functools.reduce(_larger, parts)
    return x


def _larger(one: Array, other: Array) -> Array:
    """The larger of each two, NaN if either is.

    The gradient of `max` goes to what equals the result, which nothing need do where XLA computes
    the two sides in different kernels, one with fused multiply-add: 0 / 0. This one compares
    what it chooses between, and so always chooses.
    """
    return jnp.where((one >= other) | jnp.isnan(one), one, other)


def pixel_shuffle(x: Float[Array, "b x y z f"], strides: Triple) -> Float[Array, "b u v w c"]:
    """Spreads channels over space: [b, x, y, z, i * j * k * c] to [b, x * i, y * j, z * k, c].

    Channel ((p * j + q) * k + r) * c + d of a voxel becomes channel d of its part (p, q, r).
    """
    i, j, k = strides
    batch, *size, features = x.shape
    channels = features // (i * j * k)
    x = x.reshape(batch, *size, i, j, k, channels).transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(batch, size[0] * i, size[1] * j, size[2] * k, channels)


@jax.custom_vjp
def _wide_dot(x: Array, kernel: Array) -> Array:
    """`x @ kernel`, whose sums stay float32 where both are narrower.

    Its gradients are products of narrow matrices again: derived, they would be of float32 copies.
    """
    return jnp.matmul(x, kernel, preferred_element_type=jnp.float32)


def _pull_wide_dot(operands: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    return jax.vjp(jnp.matmul, *operands)[1](cotangent.astype(operands[0].dtype))


_wide_dot.defvjp(lambda *operands: (_wide_dot(*operands), operands), _pull_wide_dot)


def _all_but_bias(
    x: Array, kernel: Array, bias: Array, *, dtype: DTypeLike
) -> tuple[Array, Array, Array]:
    return x.astype(dtype), kernel.astype(dtype), bias


WIDE = {
    "dot_general": lambda x, kernel, *_, **__: _wide_dot(x, kernel),
    "promote_dtype": _all_but_bias,
}
"""Options of a Dense whose products are of its dtype, and what they add up to float32."""


class Upsample(nn.Module):
    """A linear layer and a pixel shuffle; a transposed convolution whose kernel is its stride.

    It starts with the same weights for all parts of a voxel, hence without a checkerboard (Aitken
    et al., 2017).

    Attributes:
        features: output channels.
        strides: by how much along x, y, z.
        dtype: what is computed in; parameters are float32.
        wide: whether the output is float32 all the same, as logits are.
    """

    features: int
    strides: Triple
    dtype: str = "float32"
    wide: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b x y z c"]) -> Float[Array, "b u v w f"]:
        parts = math.prod(self.strides)

        def alike(key, shape, dtype=jnp.float32) -> Array:
            one = nn.initializers.lecun_normal()(key, (shape[0], self.features), dtype)
            return jnp.tile(one, (1, parts))

        dense = nn.Dense(
            parts * self.features,
            dtype=DTYPES[self.dtype],
            kernel_init=alike,
            name="dense",
            **(WIDE if self.wide else {}),
        )
        return pixel_shuffle(dense(x), self.strides)
