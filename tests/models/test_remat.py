"""Rematerialisation changes what is kept for the gradient, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rubik_jax.models import CUBES, REMATS, Segmenter, make_decoder, make_encoder

WIDTHS, STRIDES = (4, 8), ((1, 1, 1), (2, 2, 1))
BLOCK = {"norm": "group", "dtype": "float32"}


def encoder(remat, name="vgg", axes=()):
    sizes = {"widths": WIDTHS, "convs": (1, 2), "strides": STRIDES}
    return make_encoder(name=name, **sizes, **BLOCK, remat=remat, axes=axes)


def segmenter(head, remat):
    decoder = make_decoder(head, classes=2, strides=STRIDES, convs=2, width=0, **BLOCK, remat=remat)
    return Segmenter(encoder(remat), decoder)


NETWORKS = {
    "vgg": encoder,
    "resnet": lambda remat: encoder(remat, "resnet"),
    "unet": lambda remat: segmenter("unet", remat),
    "duc": lambda remat: segmenter("duc", remat),
}


def gradients(network, x):
    """Of a loss in which all that the network answers counts."""
    variables = network.init(jax.random.key(0), x, False)

    def loss(variables):
        return sum(
            jnp.sum(jnp.cos(each)) for each in jax.tree.leaves(network.apply(variables, x, True))
        )

    return jax.grad(loss)(variables)


def kept(network, x):
    """Bytes that a forward pass leaves for the gradient."""
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), x, False))
    pull = jax.eval_shape(lambda v: jax.vjp(lambda v: network.apply(v, x, True), v)[1], variables)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(pull))


def noise(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_and_gradients_are_the_same(name):
    found = [
        jax.jit(gradients, static_argnums=0)(NETWORKS[name](each), noise(2, 5, 6, 4, 3))
        for each in REMATS
    ]
    for other in found[1:]:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), found[0], other
        )


@pytest.mark.parametrize("remat", REMATS)
def test_the_cubes_of_a_vmap_still_join_the_batch(remat):
    network, x = encoder(remat, axes=(CUBES,)), noise(3, 2, 5, 6, 4, 1)
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), x[0], False))

    def loss(variables):
        def branch(cube):
            return network.apply(variables, cube, True)[-1]

        return jnp.sum(jax.vmap(branch, axis_name=CUBES)(x))

    # A kernel's gradient is one sum, not one of each cube and the sum of those.
    found = str(jax.make_jaxpr(jax.grad(loss))(variables))
    assert "f32[3,3,3,1,4]" in found and "f32[3,3,3,3,1,4]" not in found


@pytest.mark.parametrize("name", NETWORKS)
def test_each_kind_keeps_less_than_the_one_before(name):
    none, norms, stages = (kept(NETWORKS[name](each), noise(2, 24, 24, 24, 1)) for each in REMATS)
    assert none > 1.3 * norms
    assert norms > 1.1 * stages
