"""Random changes of a window and its label, drawn from a key inside the compiled step.

Under `vmap` both branches of a `lax.cond` are computed. So what a draw leaves out is computed with
the numbers that change nothing (angle 0, factor 1, width 0), and is then exact to the bit; what a
knob leaves out is no part of the program.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray

from rubik_jax.errors import ArgumentError

Label = Integer[Array, "x y z"] | Bool[Array, "x y z"]

IGNORED = -1
"""The label of a voxel that holds no truth."""

RANGES = {  # from the least to the most
    "affine": (0, 1),
    "rotate": (0, 180),
    "scale": (0, math.inf),
    "shift": (0, math.inf),
    "intensity": (0, 1),
    "gain": (0, math.inf),
    "offset": (0, math.inf),
    "gamma": (0, math.inf),
    "blur": (0, math.inf),
    "noise": (0, math.inf),
}


class Augmentation(NamedTuple):
    """How a window may change; 0 or False leaves a change out.

    Geometry takes voxels for cubes: with unequal spacing a rotation shears the anatomy. Random
    crops are made where windows are drawn from a volume; with `scale` and `shift` they are random
    resized crops.

    Attributes:
        flip: along which of x, y, z a window is mirrored, each with probability 1/2.
        affine: the probability that a window is rotated, scaled and shifted.
        rotate: degrees, the most about each axis.
        scale: the size changes by a factor from 1 / (1 + scale) to 1 + scale, equal along all axes.
        shift: voxels, the most along each axis.
        intensity: the probability, channel by channel, of gamma, gain and offset together.
        gain: intensities times a factor from 1 / (1 + gain) to 1 + gain.
        offset: the most that is added to them, or taken away.
        gamma: an exponent from 1 / (1 + gamma) to 1 + gamma, on intensities clipped to [0, 1].
        blur: voxels, the largest standard deviation; each channel's is drawn evenly from 0.
        noise: the largest standard deviation; each channel's is drawn evenly from 0.
    """

    flip: tuple[bool, bool, bool]
    affine: float
    rotate: float
    scale: float
    shift: float
    intensity: float
    gain: float
    offset: float
    gamma: float
    blur: float
    noise: float


def make_augmentation(**fields: Any) -> Augmentation:
    """Checks the fields of an `Augmentation`, all of them.

    Raises:
        ArgumentError: a value that can't be used.
    """
    options = Augmentation(**fields | {"flip": tuple(fields["flip"])})
    if [type(each) for each in options.flip] != [bool] * 3:
        raise ArgumentError(
            "flip", f"is {options.flip}; expected True or False for each of x, y, z"
        )
    for name, (least, most) in RANGES.items():
        value = getattr(options, name)
        if not (least <= value <= most and math.isfinite(value)):
            raise ArgumentError(name, f"is {value}; expected {least} to {most}")
    return options


def augment(
    key: PRNGKeyArray, window: Float[Array, "x y z c"], label: Label | None, options: Augmentation
) -> tuple[Float[Array, "x y z c"], Integer[Array, "x y z"] | None]:
    """Changes one example: flips and affine in one resampling, then blur, intensities and noise.

    Args:
        key: the example's; equal keys give equal changes.
        window: intensities, about [0, 1]; computed on in float32.
        label: moves with the window, by nearest neighbour, and keeps its values.
        options: what may change, and how far; static.

    Returns:
        The window, in its own dtype, and the label, -1 where it was drawn from beyond the window;
        a label whose dtype can't hold -1 is widened.
    """
    place, look = jax.random.split(key)
    if label is not None:
        label = label.astype(jnp.promote_types(label.dtype, jnp.int8))
    moved, label = _move(place, window.astype(jnp.float32), label, options)
    return _recolour(look, moved, options).astype(window.dtype), label


def resample(
    window: Float[Array, "x y z c"],
    label: Integer[Array, "x y z"] | None,
    matrix: Float[Array, "3 3"],
    shift: Float[Array, "3"],
) -> tuple[Float[Array, "x y z c"], Integer[Array, "x y z"] | None]:
    """Draws voxel p of the result from matrix (p - centre) + centre + shift of what is given.

    The window is interpolated linearly, and beyond it stands the value at its edge; the label is
    that of the nearest voxel, -1 where the point lies more than half a voxel outside.
    """
    size = window.shape[:3]
    centre = [(length - 1) / 2 for length in size]
    offsets = [at - middle for at, middle in zip(jnp.ogrid[*map(slice, size)], centre, strict=True)]
    # Written out, since matrix products are of low precision on accelerators.
    points = [
        sum(matrix[i, j] * offsets[j] for j in range(3)) + centre[i] + shift[i] for i in range(3)
    ]
    linear = jax.vmap(lambda channel: map_coordinates(channel, points, 1, "nearest"), -1, -1)
    window = linear(window)
    if label is not None:
        label = map_coordinates(label, points, 0, "constant", IGNORED)
    return window, label


def rotation(angles: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """The right-handed rotation by angles (radians) about z, then about y, then about x."""
    (cx, cy, cz), (sx, sy, sz) = jnp.cos(angles), jnp.sin(angles)
    return jnp.array(
        [
            [cy * cz, -cy * sz, sy],
            [cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy],
            [sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy],
        ]
    )


def blur(
    window: Float[Array, "x y z c"], sigma: Float[Array, "1 1 1 c"], radius: int
) -> Float[Array, "x y z c"]:
    """Convolves each channel with a Gaussian of sigma voxels, cut off beyond the radius.

    Beyond the window stands the value at its edge. Sums of shifted windows: XLA's 3D convolution
    would take many times as long on the CPU.
    """
    steps = jnp.arange(-radius, radius + 1).reshape(-1, 1, 1, 1, 1)
    taps = jnp.exp(-0.5 * (steps / jnp.maximum(sigma, 1e-3)[None]) ** 2)
    taps = taps / jnp.sum(taps, axis=0, keepdims=True)
    for axis in range(3):
        window = _convolve(window, taps, axis)
    return window


def _move(key, window, label, options):
    """Flips and the affine map; flips alone need no resampling."""
    flip_key, affine_key = jax.random.split(key)
    flips = jax.random.bernoulli(flip_key, 0.5, (3,)) & jnp.array(options.flip)
    if options.affine and (options.rotate or options.scale or options.shift):
        matrix, shift = _draw_affine(affine_key, options)
        return resample(window, label, matrix * jnp.where(flips, -1.0, 1.0)[None], shift)
    for axis, enabled in enumerate(options.flip):
        if enabled:
            window = jnp.where(flips[axis], jnp.flip(window, axis), window)
            if label is not None:
                label = jnp.where(flips[axis], jnp.flip(label, axis), label)
    return window, label


def _draw_affine(key, options):
    """A matrix and a shift for `resample`, those of the identity unless the draw says so."""
    on_key, rotate_key, scale_key, shift_key = jax.random.split(key, 4)
    on = jax.random.bernoulli(on_key, options.affine)
    angles = _amount(rotate_key, math.radians(options.rotate), on, (3,))
    shift = _amount(shift_key, options.shift, on, (3,))
    return rotation(angles) * _factor(scale_key, options.scale, on), shift


def _recolour(key, window, options):
    """Blur, gamma, gain and offset, noise; every number is drawn for each channel by itself."""
    on_key, gamma_key, gain_key, offset_key, blur_key, sigma_key, noise_key = jax.random.split(
        key, 7
    )
    channels = (1, 1, 1, window.shape[-1])
    if options.blur:
        sigma = jax.random.uniform(blur_key, channels, maxval=options.blur)
        window = blur(window, sigma, math.ceil(2 * options.blur))
    on = jax.random.bernoulli(on_key, options.intensity, channels)
    if options.intensity and options.gamma:
        power = jnp.clip(window, 0.0, 1.0) ** _factor(gamma_key, options.gamma, on)
        window = jnp.where(on, power, window)  # a channel that stays is not clipped either
    if options.intensity and options.gain:
        window = window * _factor(gain_key, options.gain, on)
    if options.intensity and options.offset:
        window = window + _amount(offset_key, options.offset, on, channels)
    if options.noise:
        sigma = jax.random.uniform(sigma_key, channels, maxval=options.noise)
        window = window + sigma * jax.random.normal(noise_key, window.shape)
    return window


def _convolve(window, taps, axis):
    """Convolves along one axis, in a loop that stays one.

    Unrolled, XLA's CPU compiler fuses the taps with what made the window, and resamples it again
    for each of them.
    """
    places = jnp.arange(window.shape[axis]) - taps.shape[0] // 2

    def add(i, total):
        return total + taps[i] * jnp.take(window, places + i, axis=axis, mode="clip")

    return jax.lax.fori_loop(0, taps.shape[0], add, jnp.zeros_like(window))


def _factor(key, most, on):
    """From 1 / (1 + most) to 1 + most, evenly in the logarithm; 1 where `on` is false."""
    exponent = jax.random.uniform(key, on.shape, minval=-1.0)
    return jnp.where(on, (1 + most) ** exponent, 1.0)


def _amount(key, most, on, shape):
    """From -most to most, evenly; 0 where `on` is false."""
    return jnp.where(on, jax.random.uniform(key, shape, minval=-most, maxval=most), 0.0)
