"""The Siamese-Octad: one encoder for all cubes, heads that hear all, and nothing left untrained."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rubik_jax.models import CUBES, SiameseOctad, make_encoder
from rubik_jax.models.heads import Projection, TiedOrderHead
from rubik_jax.models.layers import Conv3D
from rubik_jax.models.siamese import Branches
from rubik_jax.proxy import make_orders

SHAPE = (4, 5, 3, 2)


def noise(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def octad(heads="tied", cells=8, num_orders=5, norm="group", name="vgg", hidden=7, projection=8):
    encoder = make_encoder(
        name=name,
        widths=(4, 6),
        convs=(1, 1),
        strides=((1, 1, 1), (2, 2, 1)),
        norm=norm,
        dtype="float32",
        axes=(CUBES,),
    )
    orders = make_orders("greedy", num_orders, cells, seed=0)
    return SiameseOctad(
        encoder=encoder,
        projection=projection,
        heads=heads,
        hidden=hidden,
        orders=tuple(map(tuple, orders.tolist())),
        cube_answers=(("turns", 2), ("masked", 1)),
    )


def filled(init):
    """Variables of the shapes that `init` makes, without compiling it."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(init, jax.random.key(0))
    # Biases, gains, means and variances are vectors; about 1 suits them all.
    return jax.tree.map(
        lambda leaf: jnp.float32((leaf.ndim == 1) + 0.3 * rng.normal(size=leaf.shape)), shapes
    )


def made(**options):
    network = octad(**options)
    return network, filled(lambda key: network.init(key, noise(1, 8, *SHAPE), False))


def shapes(tree):
    return jax.tree.map(lambda leaf: leaf.shape, tree)


@pytest.mark.parametrize(("heads", "name"), [("tied", "vgg"), ("joint", "resnet")])
def test_weights_of_the_branch_do_not_depend_on_how_many_cubes_share_them(heads, name):
    def params(cells):
        network = octad(heads, cells, name=name)
        cubes = jax.ShapeDtypeStruct((1, cells, *SHAPE), jnp.float32)
        variables = jax.eval_shape(
            lambda cubes: network.init(jax.random.key(0), cubes, False), cubes
        )
        return variables["params"]

    eight, four = params(8), params(4)
    assert set(eight) == {"encoder", "branch", "order_head", "turns_head", "masked_head"}
    for shared in ("encoder", "branch"):
        assert shapes(eight[shared]) == shapes(four[shared])
    first = {"vgg": "stage0_conv0", "resnet": "stem"}[name]
    assert shapes(eight["encoder"][first]) == {"kernel": (3, 3, 3, 2, 4)}


def test_tied_heads_answer_a_cube_alike_wherever_it_lies():
    network, variables = made()
    cubes, moved = noise(2, 8, *SHAPE), np.random.default_rng(1).permutation(8)
    apply = jax.jit(lambda cubes: network.apply(variables, cubes, False))
    there, here = apply(cubes), apply(cubes[:, moved])
    assert there["turns"].shape == (2, 8, 2)
    assert there["masked"].shape == (2, 8, 1)
    for name in ("turns", "masked"):
        np.testing.assert_allclose(here[name], there[name][:, moved], rtol=1e-4, atol=1e-5)
    assert np.abs(here["order"] - there["order"]).max() > 1e-3


def test_tied_order_logits_are_sums_of_what_each_place_says_of_its_cube():
    orders = ((0, 1, 2, 3), (3, 2, 1, 0), (1, 2, 0, 3))
    head, vectors = TiedOrderHead(orders), noise(2, 4, 6)
    variables = head.init(jax.random.key(0), vectors)
    dense = variables["params"]["places"]
    scores = np.asarray(vectors @ dense["kernel"]) + np.asarray(dense.get("bias", np.zeros(4)))
    expected = [
        [sum(scores[b, place, cube] for place, cube in enumerate(order)) for order in orders]
        for b in range(2)
    ]
    np.testing.assert_allclose(head.apply(variables, vectors), expected, rtol=1e-5)


def test_the_papers_heads_are_one_layer_each_over_the_vectors_of_all_cubes():
    network, variables = made(heads="paper", hidden=0, projection=64, num_orders=100)
    params = variables["params"]
    assert set(params["branch"]["projection"]) == {"dense"}
    sizes = {
        name: sum(leaf.size for leaf in jax.tree.leaves(params[f"{name}_head"]))
        for name in ("order", "turns")
    }
    assert sizes == {"order": 51_300, "turns": 8_208}
    cubes = noise(2, 8, *SHAPE)
    branch = Branches(network.encoder, 64, norm=False).apply
    kept = {"params": {"encoder": params["encoder"], "projection": params["branch"]["projection"]}}
    vectors = np.asarray(branch(kept, cubes, False)).reshape(2, 512)
    logits = network.apply(variables, cubes, False)
    for name, shape in (("order", (2, 100)), ("turns", (2, 8, 2))):
        layer = params[f"{name}_head"]["logits"]
        expected = vectors @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])
        np.testing.assert_allclose(logits[name], expected.reshape(shape), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("pooling", "same"), [("average", True), ("none", False)])
def test_an_averaged_cube_has_no_places(pooling, same):
    projection, x = Projection(5, pooling), noise(2, 8, 2, 3, 1, 4)
    variables = projection.init(jax.random.key(0), x)
    turned = projection.apply(variables, x[:, :, ::-1])
    assert np.allclose(turned, projection.apply(variables, x), atol=1e-5) == same


@pytest.mark.parametrize("heads", ["tied", "joint"])
def test_gradients_reach_every_weight_of_trunk_and_heads(heads):
    network, variables = made(heads=heads)

    @jax.jit
    @jax.grad
    def gradients(params, cubes):
        logits = network.apply({"params": params}, cubes, True)
        turns = sum(jnp.sum(jnp.sin(logits[name])) for name in ("turns", "masked"))
        return turns - jnp.sum(nn.log_softmax(logits["order"])[:, 1])

    grads = gradients(variables["params"], noise(3, 8, *SHAPE))
    flat = {jax.tree_util.keystr(path): g for path, g in jax.tree_util.tree_leaves_with_path(grads)}
    still = {name for name, grad in flat.items() if np.abs(grad).max() < 1e-6}
    # Every order holds each cube once, so what a cube's bias adds is added to all orders alike.
    assert still <= {"['order_head']['places']['bias']"}


def test_batch_statistics_are_taken_over_all_cubes():
    network, variables = made(norm="batch")
    cubes = noise(2, 8, *SHAPE) * jnp.arange(1, 9, dtype=jnp.float32).reshape(1, 8, 1, 1, 1, 1)

    @jax.jit
    def step(cubes):
        _, changed = network.apply(variables, cubes, True, mutable=["batch_stats"])
        conv = Conv3D(4, use_bias=False)
        kernel = {"params": variables["params"]["encoder"]["stage0_conv0"]}
        return changed["batch_stats"], conv.apply(kernel, cubes.reshape(-1, *SHAPE))

    stats, seen = step(cubes)
    moments = {"mean": seen.mean((0, 1, 2, 3)), "var": seen.var((0, 1, 2, 3))}
    (before,) = variables["batch_stats"]["encoder"]["stage0_norm0"].values()
    (after,) = stats["encoder"]["stage0_norm0"].values()
    for name, moment in moments.items():
        np.testing.assert_allclose(after[name], 0.9 * before[name] + 0.1 * moment, rtol=1e-4)


def test_trained_batch_norm_answers_for_a_cube_without_its_neighbours():
    network, variables = made(norm="batch")
    one = noise(1, 8, *SHAPE)
    other = one.at[:, 1:].set(9.0)
    apply = jax.jit(lambda cubes: network.apply(variables, cubes, False))
    np.testing.assert_allclose(apply(one)["turns"][:, 0], apply(other)["turns"][:, 0], rtol=1e-5)


def test_the_projection_has_one_gradient_and_not_one_of_each_cube():
    network, variables = made()
    cubes = noise(2, 8, *SHAPE)

    def loss(params):
        return sum(map(jnp.sum, network.apply({"params": params}, cubes, True).values()))

    found = str(jax.make_jaxpr(jax.grad(loss))(variables["params"]))
    kernel = ",".join(
        map(str, variables["params"]["branch"]["projection"]["dense"]["kernel"].shape)
    )
    assert f"f32[{kernel}]" in found and f"f32[8,{kernel}]" not in found
