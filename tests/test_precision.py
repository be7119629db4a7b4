"""In bfloat16, what is as large as features is multiplied and kept in it, and added up wider."""

import math
import re

import jax
import jax.numpy as jnp
import pytest

from configs import pretrain, segment
from rubik_jax.modes.posing import build_task
from rubik_jax.step import example_keys, stream

PRODUCT = re.compile(
    r"stablehlo\.(?:convolution|dot_general)\b.*: \((tensor<\S+>), (tensor<\S+>)\) -> tensor<\S+>"
)
CHANNELS = 2
FEATURES = 16**3 * 8  # of the smallest networks below; the losses of voxels keep less


def configs():
    """Pre-training and both segmentations, in miniature."""
    made = {"pretrain": pretrain.get_config("cohort=haemorrhage")}
    made |= {
        f"{head} {net}": segment.get_config(f"cohort=brats,head={head},net={net}")
        for head, net in (("unet", "vgg"), ("duc", "vgg"), ("unet", "resnet"))
    }
    for name, c in made.items():
        strides = ((1, 1, 1), (2, 2, 2))
        c.model.encoder.update({"widths": (8, 16), "convs": (1, 1), "strides": strides})
        if name == "pretrain":
            c.proxy.update({"cube": (16, 16, 8), "num_orders": 4})
        else:
            c.window = (16, 16, 16)
        assert c.model.encoder.dtype == "bfloat16"
    return {name: c.copy_and_resolve_references() for name, c in made.items()}


CONFIGS = configs()


def traced(config):
    """The gradient of a batch of one, and its arguments' shapes."""
    classes = 3 if config.task == "segment" else 0
    task = build_task(config, CHANNELS, *([range(classes)] if classes else []))
    variables = jax.eval_shape(task.init, jax.random.key(0))
    batch = {"window": jax.ShapeDtypeStruct((1, *task.window, CHANNELS), jnp.float16)}
    if classes:
        batch["label"] = jax.ShapeDtypeStruct((1, *task.window), jnp.int32)

    def loss(params, batch):
        keys = example_keys(stream(0, 0), jnp.arange(1))
        return task.loss({"params": params}, batch, keys, jnp.zeros((), jnp.int32))

    return loss, (variables["params"], batch)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_products_of_features_are_of_bfloat16(name, platform):
    loss, arguments = traced(CONFIGS[name])
    step = jax.jit(jax.value_and_grad(loss, has_aux=True)).trace(*arguments)
    text = step.lower(lowering_platforms=(platform,)).as_text()
    products = [match.groups() for match in PRODUCT.finditer(text)]
    of_features = [pair for pair in products if max(map(voxels, pair)) >= 8**3]
    assert len(of_features) > 6
    assert all(tensor.endswith("bf16>") for pair in of_features for tensor in pair)


@pytest.mark.parametrize("name", CONFIGS)
def test_no_wider_copy_of_features_is_kept_for_the_gradient(name):
    loss, (params, batch) = traced(CONFIGS[name])

    def pull(params, batch):
        return jax.vjp(lambda params: loss(params, batch), params, has_aux=True)[1]

    parameters = {leaf.shape for leaf in jax.tree.leaves(params)}
    kept = [
        leaf
        for leaf in jax.tree.leaves(jax.eval_shape(pull, params, batch))
        if leaf.size >= FEATURES and leaf.shape not in parameters
    ]
    assert any(leaf.dtype == jnp.bfloat16 for leaf in kept)
    assert not [leaf for leaf in kept if leaf.dtype == jnp.float32]


def voxels(tensor: str) -> int:
    """All numbers of a tensor but those of its last axis."""
    *shape, _ = map(int, re.findall(r"(\d+)x", tensor))
    return math.prod(shape)
