"""The twin in PyTorch is one: equal numbers of parameters, equal answers, equal steps."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

torch = pytest.importorskip("torch", reason="the twin is measured where torch is installed")

from benchmarks import cases, twin, twin_networks, twin_training  # noqa: E402
from configs import pretrain as pretrain_config  # noqa: E402
from configs import segment as segment_config  # noqa: E402
from rubik_jax import losses, proxy  # noqa: E402
from rubik_jax.modes.posing import build_task  # noqa: E402
from rubik_jax.optim import make_optimiser  # noqa: E402
from rubik_jax.tasks import pretrain, scoring, segment  # noqa: E402

CHANNELS, CLASSES = 2, 3
STRIDES = [(1, 1, 1), (2, 2, 1), (2, 2, 2)]
ENCODER = {"widths": [6, 16, 24], "convs": [1, 2, 1], "strides": STRIDES}

# Where a layer of ours is in the twin, whose stages are lists of convolution, norm, relu.
NAMES = [
    (r"stage(\d+)_block(\d+)", r"stages.\1.\2"),
    (r"stage(\d+)_(conv|norm)(\d+)", r"stages.\1.\2\3"),
    (r"stage(\d+)_norm\b", r"norms.\1"),
    (r"stage(\d+)_up", r"ups.\1"),
    (r"\bstage(\d+)\b", r"blocks.\1"),
    (r"(stages\.\d+|blocks\.\d+|block)\.conv(\d+)", lambda m: f"{m[1]}.{3 * int(m[2])}"),
    (r"(stages\.\d+|blocks\.\d+|block)\.norm(\d+)", lambda m: f"{m[1]}.{3 * int(m[2]) + 1}"),
    (r"\.GroupNorm_0", ""),
    (r"branch\.projection\.dense", "projection.0"),
    (r"branch\.projection\.norm", "projection.1"),
    (r"order_head\.(places|hidden)", lambda m: f"order_head{'.0' * (m[1] == 'hidden')}"),
    (r"order_head\.norm", "order_head.1"),
    (r"order_head\.logits", "order_head.3"),
    (r"turns_head\.logits", "turn_head"),
    (r"((?:up|logit)s[.\d]*)\.dense", r"\1"),
    (r"\.(kernel|scale)$", ".weight"),
]


def noisy(variables):
    """Biases that aren't zero and gains that aren't one."""
    leaves, tree = jax.tree.flatten(variables["params"])
    rng = np.random.default_rng(0)
    return {
        "params": tree.unflatten(
            [leaf + 0.1 * rng.standard_normal(leaf.shape, np.float32) for leaf in leaves]
        )
    }


def copy(variables, network, flattened=()):
    """Puts our parameters into the twin; `flattened` is the shape that the projection sees."""
    state = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
        name, value = ".".join(key.key for key in path), np.array(leaf)
        for ours, theirs in NAMES:
            name = re.sub(ours, theirs, name)
        if name == "projection.0.weight":  # channels come last with us, first in the twin
            value = np.moveaxis(value.reshape(*flattened, -1), 3, 0).reshape(value.shape)
        order = {5: (4, 3, 0, 1, 2), 2: (1, 0), 1: (0,)}[value.ndim]
        state[name] = torch.from_numpy(np.ascontiguousarray(value.transpose(order)))
    buffers = {name: value for name, value in network.named_buffers()}
    network.load_state_dict(state | buffers)


def numbers(variables) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def puzzle(**changes):
    options = dict(counts=(2, 1, 2), cube=(8, 9, 6), gap=(1, 2, 3), jitter=(0, 0, 0))
    options |= dict(orders="greedy", num_orders=5, turns="half", masking=0.0)
    return pretrain.make_puzzle(**options | changes, curriculum={"hold": 0, "ramp": 0}, seed=0)[0]


def segmenter(name: str, head: str):
    """The twin of `segment.make_network`."""
    encoder = twin_networks.make_encoder(name, CHANNELS, *ENCODER.values(), skips=head == "unet")
    if head == "unet":
        decoder = twin_networks.UNetDecoder(ENCODER["widths"], STRIDES, CLASSES, 2)
    else:
        decoder = twin_networks.DUCDecoder(24, STRIDES, CLASSES, 1, 12)
    return twin_networks.Segmenter(encoder, decoder)


@pytest.mark.parametrize(("heads", "hidden"), [("tied", 0), ("joint", 10)])
@pytest.mark.parametrize("name", ["vgg", "resnet"])
def test_a_cube_recovery_network_has_the_same_parameters_and_answers(name, heads, hidden):
    played = puzzle()
    encoder = {"name": name, "norm": "group", "dtype": "float32", **ENCODER}
    ours = pretrain.make_network(played, encoder=encoder, projection=7, heads=heads, hidden=hidden)
    cubes = np.random.default_rng(1).random((3, 4, 8, 9, 6, CHANNELS), np.float32)
    variables = noisy(jax.jit(ours.init, static_argnums=2)(jax.random.key(0), cubes, False))
    features = jax.eval_shape(
        lambda x: ours.encoder.apply({"params": variables["params"]["encoder"]}, x, False),
        jnp.asarray(cubes[:, 0]),
    )
    theirs = twin_networks.Siamese(
        twin_networks.make_encoder(name, CHANNELS, *ENCODER.values(), skips=False),
        (CHANNELS, 8, 9, 6),
        7,
        torch.from_numpy(np.array(played.orders)).long(),
        heads,
        hidden,
    )
    assert sum(p.numel() for p in theirs.parameters()) == numbers(variables)
    copy(variables, theirs, features[-1].shape[1:])
    expected = jax.jit(ours.apply, static_argnums=2)(variables, cubes, False)
    order, turns = theirs(torch.from_numpy(np.moveaxis(cubes, -1, 2)))
    np.testing.assert_allclose(order.detach(), expected["order"], atol=1e-4)
    np.testing.assert_allclose(turns.detach(), expected["turns"], atol=1e-4)


@pytest.mark.parametrize("head", ["unet", "duc"])
@pytest.mark.parametrize("name", ["vgg", "resnet"])
@pytest.mark.parametrize("size", [(8, 12, 6), (9, 10, 5)])
def test_a_segmenter_has_the_same_parameters_and_answers(name, head, size):
    encoder = {"name": name, "norm": "group", "dtype": "float32", "remat": "none", **ENCODER}
    options = {"unet": {"convs": 2, "width": 0}, "duc": {"convs": 1, "width": 12}}[head]
    ours = segment.make_network(CLASSES, encoder=encoder, head=head, **options)
    windows = np.random.default_rng(1).random((2, *size, CHANNELS), np.float32)
    variables = noisy(jax.jit(ours.init, static_argnums=2)(jax.random.key(0), windows, False))
    theirs = segmenter(name, head)
    assert sum(p.numel() for p in theirs.parameters()) == numbers(variables)
    copy(variables, theirs)
    logits = theirs(torch.from_numpy(np.moveaxis(windows, -1, 1))).detach()
    expected = jax.jit(ours.apply, static_argnums=2)(variables, windows, False)
    np.testing.assert_allclose(np.moveaxis(logits.numpy(), 1, -1), expected, atol=1e-4)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_losses_of_games_are_the_same(reduction):
    rng = np.random.default_rng(0)
    order_logits, turn_logits = rng.normal(size=(3, 5)), rng.normal(size=(3, 4, 2))
    order, turns = rng.integers(0, 5, 3), jnp.asarray(rng.integers(0, 4, (3, 4)))
    weights = {"alpha": 0.3, "beta": 0.6, "gamma": 0.5, "reduction": reduction}
    expected = scoring.loss_terms(
        {"order": jnp.float32(order_logits), "turns": jnp.float32(turn_logits)},
        proxy.Answers(jnp.array(order), turns, jnp.zeros((3, 4), bool)),
        puzzle(),
        scoring.Weights(**weights),
    )["loss"].mean()
    labels = np.stack(proxy.half_turn_labels(turns), axis=-1).astype(np.float64)
    logits = torch.from_numpy(order_logits), torch.from_numpy(turn_logits)
    given = torch.from_numpy(order), torch.from_numpy(labels)
    found = twin.pretraining_loss(lambda _: logits, None, *given, **weights)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_losses_of_segmentation_are_the_same():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(2, 4, 5, 6, 3)), rng.integers(0, 3, (2, 4, 5, 6))
    given = jnp.float32(logits), jnp.array(labels)
    cross_entropy = losses.voxel_cross_entropy(*given, jnp.ones(3))
    expected = jnp.mean(0.7 * cross_entropy + 1.2 * losses.soft_dice_loss(*given))
    theirs = torch.from_numpy(np.moveaxis(logits, -1, 1))
    truth = torch.from_numpy(labels.astype(np.uint8))
    found = twin.finetuning_loss(lambda _: theirs, None, truth, cross_entropy=0.7, dice=1.2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_steps_are_the_same(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # whose products are rounded
    config = pretrain_config.get_config("cohort=haemorrhage").copy_and_resolve_references()
    config.steps, config.optim.warmup, config.optim.clip, config.optim.weight_decay = 9, 3, 0.5, 0.3
    network = torch.nn.Linear(4, 3)
    params = {n: jnp.array(p.detach().numpy()) for n, p in network.named_parameters()}
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    train = twin_training.Training(
        network, lambda x: network(x).square().sum(), config, "float32", compiled=False
    )
    optimiser = make_optimiser(**config.optim.to_dict(), steps=config.steps)
    state = optimiser.init(params)
    for _ in range(7):
        train.step(*train.put([torch.from_numpy(x)]))
        grads = jax.grad(lambda p: jnp.sum((x @ p["weight"].T + p["bias"][None]) ** 2))(params)
        updates, state = optimiser.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    for name, parameter in network.named_parameters():
        np.testing.assert_allclose(parameter.detach().cpu(), params[name], atol=1e-5)


@pytest.mark.parametrize(
    ("config", "begin", "answers", "workers"),
    [
        (pretrain_config.get_config("cohort=haemorrhage,debug"), twin.pretraining, (), 0),
        (pretrain_config.get_config("cohort=brats,net=resnet,debug"), twin.pretraining, (), 1),
        (segment_config.get_config("cohort=brats,debug"), twin.finetuning, (0, 1, 2, 4), 0),
        (segment_config.get_config("head=duc,debug"), twin.finetuning, (0, 1, 2, 3), 0),
    ],
)
def test_a_config_makes_a_contestant_of_as_many_parameters(config, begin, answers, workers):
    config = config.copy_and_resolve_references()
    if config.task == "pretrain":
        config.proxy.cube, config.proxy.gap = (8, 8, 8), (1, 1, 1)
    else:
        config.window = (16, 16, 16)
    it = begin(config, "float32", 2, workers)
    task = build_task(config, cases.channels(config), answers)
    assert it.parameters == numbers(jax.eval_shape(task.init, jax.random.key(0)))
    assert (it.volumes, it.cubes) == (2, 2 * math.prod(config.proxy.counts) if not answers else 0)
    it.step()
    it.bare()
    it.close()
