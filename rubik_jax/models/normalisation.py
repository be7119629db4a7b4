"""Group and batch normalisation, computed in float32, whose gradients keep the input alone."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

NORMS = ("group", "batch", "none")
_EPSILON = 1e-5

Moment = Float[Array, "b c"]


@jax.custom_vjp
def moments(x: Float[Array, "b x y z c"]) -> tuple[Moment, Moment]:
    """Means over the voxels of `x` and of its square.

    Their gradient is written out, since the derived one would keep a float32 copy of `x`.
    """
    wide = x.astype(jnp.float32)
    return wide.mean(axis=(1, 2, 3)), jnp.square(wide).mean(axis=(1, 2, 3))


def _pull_moments(x: Array, cotangents: tuple[Moment, Moment]) -> tuple[Array]:
    mean, square = (each / x[0, ..., 0].size for each in cotangents)
    return (scale_and_shift(x, 2 * square, mean),)


moments.defvjp(lambda x: (moments(x), x), _pull_moments)


@jax.custom_vjp
def scale_and_shift(
    x: Float[Array, "b x y z c"], gain: Moment, shift: Moment
) -> Float[Array, "b x y z c"]:
    """`x * gain + shift`, in the dtype of `x`; its gradient is written out likewise."""
    return (x.astype(jnp.float32) * _at_voxels(gain) + _at_voxels(shift)).astype(x.dtype)


def _pull_scale_and_shift(kept: tuple[Array, Moment], cotangent: Array):
    x, gain = kept
    wide, dy = x.astype(jnp.float32), cotangent.astype(jnp.float32)
    dx = (dy * _at_voxels(gain)).astype(x.dtype)
    return dx, jnp.sum(dy * wide, axis=(1, 2, 3)), jnp.sum(dy, axis=(1, 2, 3))


scale_and_shift.defvjp(
    lambda x, gain, shift: (scale_and_shift(x, gain, shift), (x, gain)), _pull_scale_and_shift
)


class GroupNorm(nn.Module):
    """Group normalisation (Wu & He, 2018).

    Attributes:
        groups: how many groups of channels; brought down to the largest divisor of the channels.
    """

    groups: int = 8

    @nn.compact
    def __call__(self, x: Float[Array, "b x y z c"]) -> Float[Array, "b x y z c"]:
        channels = x.shape[-1]
        groups = next(g for g in range(min(self.groups, channels), 0, -1) if channels % g == 0)
        return _by_group(x, *_scale_and_bias(self, channels), groups)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _by_group(x: Array, scale: Array, bias: Array, groups: int) -> Array:
    return _forward(x, scale, bias, groups)[0]


def _forward(x: Array, scale: Array, bias: Array, groups: int):
    mean, square = (_group_means(moment, groups) for moment in moments(x))
    inverse = lax.rsqrt(_variance(mean, square) + _EPSILON)
    gain = scale[None] * inverse
    return scale_and_shift(x, gain, bias[None] - mean * gain), (x, scale, mean, inverse)


def _backward(groups: int, kept: tuple[Array, ...], cotangent: Array):
    """In two passes over `x` and the output's gradient: their sums, then the input's gradient.

    With n the normalised input, d = scale * cotangent, and means over a group's voxels:
    (d - mean(d) - n * mean(d * n)) / deviation. Derived it's the same in one pass more, and as a
    sum of parts, each rounded to few bits.
    """
    x, scale, mean, inverse = kept
    wide, dy = x.astype(jnp.float32), cotangent.astype(jnp.float32)
    plain, product = dy.mean(axis=(1, 2, 3)), (dy * wide).mean(axis=(1, 2, 3))
    product = (product - mean * plain) * inverse  # the mean of cotangent * n
    of_x = -jnp.square(inverse) * _group_means(scale[None] * product, groups)
    shift = -inverse * _group_means(scale[None] * plain, groups) - mean * of_x
    dx = dy * _at_voxels(scale[None] * inverse) + wide * _at_voxels(of_x) + _at_voxels(shift)
    voxels = x[0, ..., 0].size
    return dx.astype(x.dtype), voxels * product.sum(axis=0), voxels * plain.sum(axis=0)


_by_group.defvjp(_forward, _backward)


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy, 2015), with running averages for use after training.

    Attributes:
        axes: names of mapped axes over which statistics are shared, beside the batch.
        momentum: what a step leaves of the running averages.
    """

    axes: tuple[str, ...]
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x: Float[Array, "b x y z c"], train: bool) -> Float[Array, "b x y z c"]:
        channels = x.shape[-1]
        scale, bias = _scale_and_bias(self, channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        running_variance = self.variable("batch_stats", "var", jnp.ones, (channels,))
        if train and not self.is_initializing():  # while parameters are made no axis is mapped
            mean, square = (moment.mean(axis=0) for moment in moments(x))
            axes = [axis for axis in self.axes if lax.axis_size(axis) > 1]
            mean, square = lax.pmean((mean, square), axes) if axes else (mean, square)
            variance = _variance(mean, square)
            kept = self.momentum
            running_mean.value = kept * running_mean.value + (1 - kept) * mean
            running_variance.value = kept * running_variance.value + (1 - kept) * variance
        else:
            mean, variance = running_mean.value, running_variance.value
        gain = scale * lax.rsqrt(variance + _EPSILON)
        for_each = (len(x), channels)
        shift = jnp.broadcast_to(bias - mean * gain, for_each)
        return scale_and_shift(x, jnp.broadcast_to(gain, for_each), shift)


class Norm(nn.Module):
    """The normalisation of that name, "group", "batch" or "none".

    Batch statistics are taken over the batch, the cubes of a Siamese network and the devices
    alike: over the axes in `axes`, all of which must be mapped where the network is trained.

    Attributes:
        kind: one of `NORMS`.
        axes: names of mapped axes over which batch statistics are shared.
    """

    kind: str
    axes: tuple[str, ...] = ()

    @nn.compact
    def __call__(self, x: Float[Array, "b x y z c"], train: bool) -> Float[Array, "b x y z c"]:
        if self.kind == "group":
            return GroupNorm()(x)
        return BatchNorm(self.axes)(x, train) if self.kind == "batch" else x


def _scale_and_bias(module: nn.Module, channels: int) -> tuple[Array, Array]:
    scale = module.param("scale", nn.initializers.ones, (channels,))
    return scale, module.param("bias", nn.initializers.zeros, (channels,))


def _group_means(moment: Moment, groups: int) -> Moment:
    grouped = moment.reshape(len(moment), groups, -1)
    return jnp.repeat(grouped.mean(axis=-1), grouped.shape[-1], axis=-1)


def _variance(mean: Array, square: Array) -> Array:
    # Rounding can bring the difference of two equal moments below zero.
    return jnp.maximum(square - jnp.square(mean), 0)


def _at_voxels(moment: Moment) -> Float[Array, "b 1 1 1 c"]:
    return moment[:, None, None, None]
