"""The norms: Flax's, gradients and running averages included, and nothing wide kept for them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rubik_jax.models.normalisation import BatchNorm, GroupNorm

CUBES = "cube"


def noise(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def affine(channels):
    return {"scale": noise(channels, seed=1), "bias": noise(channels, seed=2)}


def alike(ours, theirs):
    """Whether two functions of an input and of parameters give the same, and the same gradients."""

    @jax.jit
    def both(*arguments):
        def run(function):
            out, pull, aside = jax.vjp(function, *arguments, has_aux=True)
            return out, pull(jnp.cos(3 * out)), aside

        return run(ours), run(theirs)

    def check(*arguments):
        found, expected = both(*arguments)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected
        )

    return check


@pytest.mark.parametrize(("channels", "groups"), [(16, 8), (12, 6), (7, 7), (1, 1)])
def test_group_norm_is_flax_s_with_as_many_groups_as_divide_the_channels(channels, groups):
    theirs = nn.GroupNorm(num_groups=groups, epsilon=1e-5)
    check = alike(
        *(
            lambda x, p, norm=norm: (norm.apply({"params": p}, x), ())
            for norm in (GroupNorm(), theirs)
        )
    )
    check(5 + 3 * noise(2, 4, 3, 5, channels), affine(channels))


def test_batch_norm_is_flax_s_over_all_cubes_and_moves_the_averages_as_it_does():
    theirs = nn.BatchNorm(use_running_average=False, momentum=0.9, axis_name=CUBES)

    def over_cubes(norm, *train):
        def run(x, params):
            stats = {"mean": jnp.ones(3), "var": jnp.full(3, 2.0)}
            y, changed = jax.vmap(
                lambda cube: norm.apply(
                    {"params": params, "batch_stats": stats}, cube, *train, mutable=["batch_stats"]
                ),
                axis_name=CUBES,
                out_axes=(0, None),
            )(x)
            return y, changed

        return run

    check = alike(over_cubes(BatchNorm((CUBES,)), True), over_cubes(theirs))
    check(noise(4, 2, 3, 4, 2, 3) * jnp.arange(1.0, 5).reshape(4, 1, 1, 1, 1, 1), affine(3))


def test_a_trained_batch_norm_is_flax_s():
    variables = {
        "params": affine(3),
        "batch_stats": {"mean": noise(3), "var": jnp.array([0.5, 1.0, 2.0])},
    }
    x = noise(2, 3, 4, 2, 3)
    theirs = nn.BatchNorm(use_running_average=True).apply(variables, x)
    np.testing.assert_allclose(
        BatchNorm(()).apply(variables, x, False), theirs, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_only_the_input_is_kept_for_the_gradient(norm):
    x = noise(2, 6, 5, 4, 8).astype(jnp.bfloat16)
    module, more = (GroupNorm(), ()) if norm == "group" else (BatchNorm(()), (True,))
    variables = module.init(jax.random.key(0), x, *more)

    def run(x):
        return module.apply(variables, x, *more, mutable=["batch_stats"])[0]

    out, pull = jax.vjp(run, x)
    large = [leaf for leaf in jax.tree.leaves(pull) if leaf.size >= x.size]
    assert out.dtype == jnp.bfloat16
    assert [leaf.dtype for leaf in large] == [jnp.bfloat16]
    np.testing.assert_array_equal(large[0], x)


def test_group_norm_of_a_constant_is_its_bias_and_keeps_the_dtype():
    params = {"scale": jnp.ones(4), "bias": jnp.arange(4.0)}
    x = jnp.full((1, 3, 3, 3, 4), 7.7, jnp.bfloat16)
    out, pull = jax.vjp(lambda x: GroupNorm().apply({"params": params}, x), x)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out[0, 0, 0, 0].astype(jnp.float32), jnp.arange(4.0), atol=0.02)
    assert jnp.isfinite(pull(jnp.ones_like(out))[0]).all()
