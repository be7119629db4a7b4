"""The layers: the same as the reference ones, and lowered as each platform likes it."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from rubik_jax.models import convolution, winograd
from rubik_jax.models.convolution import conv3d, conv3d_over_cubes
from rubik_jax.models.layers import max_pool


def noise(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def direct(x, kernel, strides):
    numbers = ("NXYZC", "XYZIO", "NXYZC")
    return lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=numbers)


@pytest.mark.parametrize(
    ("shape", "kernel", "strides"),
    [
        ((2, 5, 6, 7, 3), (3, 3, 3), (1, 1, 1)),
        ((1, 6, 7, 5, 2), (3, 3, 3), (2, 2, 1)),
        ((1, 5, 5, 8, 1), (3, 3, 3), (1, 2, 3)),
        ((2, 8, 3, 4, 2), (3, 1, 3), (3, 2, 2)),
        ((1, 1, 4, 2, 2), (3, 3, 3), (2, 1, 1)),  # thinner than the kernel
        ((2, 5, 6, 7, 3), (1, 1, 1), (1, 1, 1)),
        ((2, 5, 6, 7, 3), (1, 1, 1), (2, 2, 1)),
        ((1, 5, 6, 7, 1), (3, 3, 3), (1, 1, 1)),  # columns as rows of memory
        ((2, 9, 3, 4, 8), (2, 3, 4), (1, 1, 1)),  # even kernels, padded behind more than before
        ((1, 40, 12, 11, 6), (3, 3, 3), (1, 1, 1)),  # more than a chunk of planes
    ],
)
def test_convolution_and_its_gradients_are_those_of_the_direct_form(shape, kernel, strides):
    @jax.jit
    def both(x, taps):
        def run(convolution):
            out, pull = jax.vjp(lambda x, taps: convolution(x, taps, strides), x, taps)
            return out, *pull(jnp.sin(out))

        return run(conv3d), run(direct)

    for ours, theirs in zip(
        *both(noise(*shape), noise(*kernel, shape[-1], 4, seed=1)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("taps", [(3, 3, 3), (3, 1, 3), (3, 3, 2)])
@pytest.mark.parametrize("size", [(8, 5, 6), (11, 4, 3), (3, 4, 5), (36, 14, 12)])
def test_winograd_s_sums_give_what_the_products_give(size, taps, dtype):
    """Wide enough for them; in few bits they are still taken in float32."""
    x, kernel = noise(2, *size, 32), noise(*taps, 32, 33, seed=1) / 30
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    assert winograd.pays(taps[0], size[0], 32, 33)

    @jax.jit
    def both(x, kernel):
        def run(convolution):
            out, pull = jax.vjp(lambda x, taps: convolution(x, taps, (1, 1, 1)), x, kernel)
            return out, *pull(jnp.cos(out))

        return run(conv3d), run(direct)

    least = 2e-5 if dtype == "float32" else 1e-2
    for ours, theirs in zip(*both(x, kernel), strict=True):
        assert ours.dtype == theirs.dtype == jnp.dtype(dtype)
        ours, theirs = (np.asarray(array, np.float32) for array in (ours, theirs))
        np.testing.assert_allclose(ours, theirs, atol=least * np.abs(theirs).max(), rtol=0)


@pytest.mark.parametrize("kernels", [None, 0])
def test_cubes_under_vmap_are_convolved_as_one_batch(kernels):
    """Cubes that share a kernel, and cubes that have one each."""
    x = noise(3, 2, 5, 4, 6, 2)
    kernel = noise(3, 3, 3, 3, 2, 4, seed=1)[... if kernels == 0 else 0]

    @jax.jit
    def both(x, kernel):
        def run(convolution):
            over = jax.vmap(lambda x, taps: convolution(x, taps, (1, 1, 1)), (0, kernels))
            out, pull = jax.vjp(over, x, kernel)
            return out, *pull(jnp.sin(out))

        return run(conv3d_over_cubes), run(direct)

    for ours, theirs in zip(*both(x, kernel), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    # A shared kernel's gradient is one sum, not one of each cube and the sum of those.
    over = jax.vmap(lambda x, taps: conv3d_over_cubes(x, taps, (1, 1, 1)), (0, kernels))
    gradient = jax.make_jaxpr(jax.grad(lambda kernel: over(x, kernel).sum()))(kernel)
    assert ("f32[3,3,3,3,2,4]" in str(gradient)) == (kernels == 0)


@pytest.mark.parametrize("channels", [1, 4, 8])
def test_few_channels_are_filled_up_for_accelerators_and_change_nothing(channels):
    x, kernel = noise(2, 6, 5, 4, channels), noise(3, 3, 3, channels, 16, seed=1)
    for ours, theirs in zip(
        jax.vjp(lambda *given: convolution._aligned(*given, strides=(1, 2, 1)), x, kernel)[1](
            noise(2, 6, 3, 4, 16, seed=2)
        ),
        jax.vjp(lambda *given: direct(*given, (1, 2, 1)), x, kernel)[1](
            noise(2, 6, 3, 4, 16, seed=2)
        ),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    traced = jax.jit(lambda *given: conv3d(*given, (1, 1, 1))).trace(x, kernel)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "(tensor<2x6x5x4x8xf32>, tensor<3x3x3x8x16xf32>)" in text


@pytest.mark.parametrize(("platform", "direct"), [("cpu", 0), ("cuda", 3), ("tpu", 3)])
@pytest.mark.parametrize("channels", [2, 8, 32])
def test_only_accelerators_are_handed_convolutions_of_three_axes(platform, direct, channels):
    def loss(x, kernel):
        return jnp.sum(conv3d(x, kernel, (1, 1, 1)) ** 2)

    traced = jax.jit(jax.grad(loss, argnums=(0, 1))).trace(
        noise(1, 4, 4, 4, channels), noise(3, 3, 3, channels, 32)
    )
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    results = re.findall(r"stablehlo\.convolution.*-> tensor<([^>]*)>", text)
    # Forward, and a gradient each.
    assert sum(shape.count("x") == 5 for shape in results) == direct


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((4, 6, 2), (2, 2, 2)), ((5, 7, 3), (2, 2, 1)), ((7, 4, 8), (3, 1, 4))],
)
@pytest.mark.parametrize("level", [0, 3])
def test_pooling_and_its_gradient_are_flax_s(shape, strides, level):
    """Where voxels tie as well, and in kernels that round what they are given each in its way."""
    x = jnp.round(noise(2, *shape, 3))
    gain, shift = noise(3, seed=1), noise(3, seed=2)

    def both(x, gain, shift):
        def run(pool):
            def pooled(x, gain, shift):
                return pool(x * gain.reshape(1, 1, 1, 1, 3) + shift.reshape(1, 1, 1, 1, 3))

            out, pull = jax.vjp(pooled, x, gain, shift)
            return out, *pull(jnp.sin(out))

        return run(lambda x: max_pool(x, strides)), run(lambda x: nn.max_pool(x, strides, strides))

    compiled = jax.jit(both).lower(x, gain, shift)
    compiled = compiled.compile(compiler_options={"xla_backend_optimization_level": level})
    for ours, theirs in zip(*compiled(x, gain, shift), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_an_axis_shorter_than_its_stride_is_pooled_whole():
    x = noise(2, 4, 1, 3, 2)
    np.testing.assert_array_equal(max_pool(x, (2, 2, 4)), nn.max_pool(x, (2, 1, 3), (2, 1, 3)))


def test_pooling_hides_no_nan():
    x = jnp.zeros((1, 4, 4, 4, 1)).at[0, 0, 1, 0].set(jnp.nan).at[0, 3, 2, 3].set(jnp.nan)
    found = jnp.isnan(max_pool(x, (2, 2, 2)))[0, ..., 0]
    assert jnp.argwhere(found).tolist() == [[0, 0, 0], [1, 1, 1]]
