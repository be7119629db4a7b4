"""What downstream jobs load computes what the run's own encoder computes."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rubik_jax
from configs.pretrain import get_config
from rubik_jax import checkpoints
from rubik_jax.data import loader
from rubik_jax.errors import UserError
from rubik_jax.optim import make_optimiser
from rubik_jax.tasks.pretrain import make_network, make_puzzle, pretrain
from rubik_jax.train import Data, Pace, fit
from tests.tasks.supervised import STILL

PUZZLE = {
    "counts": (2, 1, 1),
    "cube": (4, 4, 4),
    "gap": (1, 1, 0),
    "jitter": (0, 0, 0),
    "orders": "greedy",
    "num_orders": 2,
    "turns": "half",
    "masking": 0.0,
    "curriculum": {"hold": 0, "ramp": 0},
}
MODEL = {
    "encoder": {
        "name": "vgg",
        "widths": (4, 6),
        "convs": (1, 1),
        "strides": ((1, 1, 1), (2, 2, 2)),
        "norm": "batch",
        "dtype": "float32",
    },
    "projection": 8,
    "heads": "tied",
    "hidden": 0,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two steps, the first of which is the best."""
    folder = tmp_path_factory.mktemp("export")
    loss = {"alpha": 0.5, "beta": 0.5, "gamma": 0.5, "reduction": "mean"}
    task = pretrain(
        channels=1, proxy_options=PUZZLE, model=MODEL, loss=loss, augmentation=STILL, seed=0
    )
    falling = itertools.count(0, -1)
    task = task._replace(score=lambda numbers: float(next(falling)))
    optimiser = make_optimiser(
        name="sgd",
        weight_decay=0.0,
        momentum=0.9,
        clip=1.0,
        steps=2,
        schedule="constant",
        rate=0.1,
        warmup=0,
        final=0.0,
        drops=(),
        drop_factor=0.1,
    )
    rngs = map(np.random.default_rng, range(3))
    volumes = [{"window": rng.random((10, 5, 5, 1), np.float32)} for rng in rngs]
    data = Data(
        lambda start, together: loader.training_batches(
            volumes, window=task.window, batch_size=2, seed=0, start=start, together=together
        ),
        None,
        lambda: loader.held_out_batches(
            volumes, window=task.window, batch_size=2, repeats=1, seed=0
        ),
    )
    config = json.loads(get_config("debug").to_json())
    config["model"] = json.loads(json.dumps(MODEL))
    fit(
        task,
        optimiser,
        data,
        folder,
        description={
            "command": "",
            "config": config,
            "split": {},
            "versions": {"rubik_jax": "0"},
        },
        pace=Pace(2, 2, accumulate=1, steps_per_call=1, log=1, evaluate=1, checkpoint=2),
        seed=0,
    )
    return folder


@pytest.mark.parametrize(("kind", "step"), [("best", 1), ("latest", 2), (None, 1)])
def test_features_are_those_of_the_network_that_was_trained(run, kind, step):
    saved = checkpoints.read(checkpoints.find(run, "best" if step == 1 else "latest"))
    assert saved["step"] == step
    trained = make_network(make_puzzle(**PUZZLE, seed=0)[0], **MODEL).bind(
        {name: jax.tree.map(jnp.asarray, saved[name]) for name in ("params", "batch_stats")}
    )
    x = jax.random.normal(jax.random.key(1), (2, 8, 6, 4, 1))
    module, variables = rubik_jax.load_encoder(run, kind=kind)
    features = module.apply(variables, x, False)
    assert [f.shape for f in features] == [(2, 8, 6, 4, 4), (2, 4, 3, 2, 6)]
    for ours, theirs in zip(features, trained.encoder(x, False), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_kinds_differ_and_batch_statistics_come_along_as_they_were(run):
    best, latest = (rubik_jax.load_encoder(run, kind=kind).variables for kind in ("best", "latest"))
    saved = checkpoints.read(checkpoints.find(run, "latest"))
    for name in ("params", "batch_stats"):
        mine, other, own = (
            jax.tree.leaves(tree) for tree in (latest[name], best[name], saved[name]["encoder"])
        )
        assert all(map(np.array_equal, mine, own))
        assert not any(map(np.array_equal, mine, other))


def test_a_folder_may_be_named_by_a_string(run):
    assert rubik_jax.load_encoder(str(run)).module == rubik_jax.load_encoder(run).module


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="no best or latest checkpoint"):
        rubik_jax.load_encoder(tmp_path)


def test_a_checkpoint_without_an_encoder_is_refused(tmp_path):
    writer = checkpoints.Checkpoints(tmp_path)
    state = {"params": {"head": {"bias": np.zeros(3, np.float32)}}, "batch_stats": {}}
    writer.save("latest", 1, state, {"config": {"model": {"encoder": MODEL["encoder"]}}})
    writer.close()
    with pytest.raises(UserError, match="holds no encoder; expected params/encoder"):
        rubik_jax.load_encoder(tmp_path)


def test_a_name_there_is_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = rubik_jax.nonsense
