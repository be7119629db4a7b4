"""The task: its objective, its reports, its probes, and what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rubik_jax import proxy
from rubik_jax.errors import ArgumentError
from rubik_jax.tasks import scoring
from rubik_jax.tasks.pretrain import make_puzzle, pretrain
from rubik_jax.types import DEVICES
from tests.tasks.supervised import STILL

PROXY = {
    "counts": [2, 2, 2],
    "cube": [4, 4, 4],
    "gap": [1, 1, 2],
    "jitter": [0, 0, 0],
    "orders": "greedy",
    "num_orders": 6,
    "turns": "half",
    "masking": 0.0,
    "curriculum": {"hold": 0, "ramp": 0},
}
ENCODER = {
    "name": "vgg",
    "widths": [4],
    "convs": [1],
    "strides": [[2, 2, 2]],
    "norm": "group",
    "dtype": "float32",
}
MODEL = {"encoder": ENCODER, "projection": 6, "heads": "tied", "hidden": 0}
LOSS = {"alpha": 0.3, "beta": 0.7, "gamma": 0.2, "reduction": "mean"}
FACTORS = {"order_loss": 0.3, "turn_loss": 0.7, "mask_loss": 0.2}


def filled(init):
    """Variables of the shapes that `init` makes, without compiling it."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(init, jax.random.key(0))
    # Biases, gains, means and variances are vectors; about 1 suits them all.
    return jax.tree.map(
        lambda leaf: jnp.float32((leaf.ndim == 1) + 0.3 * rng.normal(size=leaf.shape)), shapes
    )


def make(norm="group", heads="tied", **changes):
    """A task of that puzzle, and variables for it."""
    model = MODEL | {"encoder": ENCODER | {"norm": norm}, "heads": heads}
    options = PROXY | changes
    task = pretrain(
        channels=1, proxy_options=options, model=model, loss=LOSS, augmentation=STILL, seed=0
    )
    return task, filled(task.init)


def examples(task, count=4, seed=0):
    windows = np.random.default_rng(seed).normal(size=(count, *task.window, 1))
    batch = {"window": jnp.asarray(windows, jnp.float32), "weight": jnp.ones(count)}
    return batch, jax.random.split(jax.random.key(seed), count)


def values(report):
    return {name: np.asarray(mean.value) for name, mean in report.items()}


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"turns": "none"}, ["order"]),
        ({"orders": "none"}, ["turn"]),
        ({"heads": "joint"}, ["order", "turn"]),
        ({"turns": "all", "masking": 0.5}, ["order", "turn", "mask"]),
    ],
    ids=["order", "orientation", "both", "all-masked"],
)
def test_the_objective_is_the_weighted_sum_of_the_terms_that_are_asked(changes, asked):
    task, variables = make(**changes)
    batch, keys = examples(task)

    @jax.jit
    def both(step):
        loss, (_, report) = task.loss(variables, batch, keys, step)
        return loss, report, task.evaluate(variables, batch, keys)

    loss, report, evaluated = both(jnp.array(0))
    terms = {name: mean for name, mean in values(report).items() if name.endswith("_loss")}
    assert set(terms) == {f"{name}_loss" for name in asked}
    assert loss == pytest.approx(sum(FACTORS[name] * term for name, term in terms.items()))
    assert loss == pytest.approx(report["loss"].value)
    assert np.isfinite(loss)
    assert loss > 0

    half = "turn" in asked and changes.get("turns") != "all"
    names = [*asked, "orientation"] if half else asked
    accuracies = {f"{name}_accuracy" for name in names}
    for found in (report, evaluated):
        assert {name for name in found if name.endswith("_accuracy")} == accuracies
        assert all(mean.count == 4 for name, mean in found.items() if name in accuracies)
    numbers = task.summarise(evaluated)
    assert 0 <= task.score(numbers) <= 1
    for name in asked:
        for kind in ("said", "truth"):
            np.testing.assert_allclose(evaluated[f"{name}_{kind}"].value.sum(), 1, rtol=1e-5)


def test_mistakes_are_counted_by_turn_and_by_the_distance_of_the_order():
    puzzle, _ = make_puzzle(**PROXY, seed=0)
    rng = np.random.default_rng(0)
    order, said = np.array([0, 3, 5]), np.array([0, 4, 1])
    truth = proxy.Answers(
        jnp.asarray(order), jnp.asarray(rng.integers(0, 4, (3, 8))), jnp.zeros((3, 8), bool)
    )
    logits = {
        "order": jnp.asarray(np.eye(6)[said]),
        "turns": jnp.asarray(rng.normal(size=(3, 8, 2))),
    }
    found = scoring.histograms(logits, truth, puzzle, jnp.array([1.0, 1.0, 0.0]))
    orders = np.asarray(puzzle.orders)
    far = int((orders[3] != orders[4]).sum())
    np.testing.assert_array_equal(np.flatnonzero(found["order_distance"].total), [0, far])
    turns = np.asarray(found["turn_confusion"].total)
    assert turns.sum() == 16
    right = scoring.accuracies(logits, truth, puzzle, jnp.array([1.0, 1.0, 0.0]))["turn_accuracy"]
    assert turns.trace() / 16 == pytest.approx(right.value)


def test_evaluation_leaves_out_what_has_no_weight():
    task, variables = make()
    batch, keys = examples(task)
    batch["weight"] = jnp.array([1.0, 1.0, 0.0, 1.0])
    evaluate = jax.jit(lambda batch: task.evaluate(variables, batch, keys))
    found = evaluate(batch)
    for name in ("loss", "order_accuracy", "turn_accuracy", "orientation_accuracy", "order_said"):
        assert found[name].count == 3
    other = evaluate(batch | {"window": batch["window"].at[2].set(99.0)})
    jax.tree.map(np.testing.assert_array_equal, found, other)


def test_games_differ_with_their_key_alone_unless_the_curriculum_moves():
    task, variables = make(curriculum={"hold": 10, "ramp": 0})
    batch, keys = examples(task)
    run = jax.jit(lambda keys, step: task.loss(variables, batch, keys, step))
    first, (_, report) = run(keys, jnp.array(3))
    assert first == run(keys, jnp.array(9))[0]
    assert first != run(keys[::-1], jnp.array(3))[0]
    later, (_, turned) = run(keys, jnp.array(10))
    assert first != later
    assert (report["freedom"].value, turned["freedom"].value) == (0, 1)


def test_the_blank_probe_shows_nothing_of_the_volume():
    task, variables = make()
    batch, keys = examples(task)
    probe = jax.jit(lambda batch: task.probes["blank"](variables, batch, keys))
    blank = probe(batch)
    jax.tree.map(np.testing.assert_array_equal, blank, probe(examples(task, seed=1)[0]))
    assert blank["order_said"].value.max() == 1  # one answer to all


def test_the_probe_without_gap_cuts_the_middle_of_the_window():
    task, variables = make()
    batch, keys = examples(task)
    assert task.window == (9, 9, 10)
    probe = jax.jit(lambda window: task.probes["no_gap"](variables, batch | window, keys))
    seen = probe({"window": batch["window"]})
    window = batch["window"]
    rim = jnp.full_like(window, 50.0).at[:, :8, :8, 1:9].set(window[:, :8, :8, 1:9])
    jax.tree.map(np.testing.assert_array_equal, seen, probe({"window": rim}))
    inner = rim.at[:, 4, 4, 1].set(50.0)
    assert seen["loss"].value != probe({"window": inner})["loss"].value
    seamless = make(gap=(0, 0, 0))[0]
    assert set(seamless.probes) == {"blank"}


def test_batch_statistics_are_those_of_all_cubes_on_all_devices():
    task, variables = make(norm="batch")
    batch, keys = examples(task)

    def over(devices):
        @functools.partial(jax.vmap, axis_name=DEVICES)
        def run(window, keys):
            loss, (stats, _) = task.loss(variables, {"window": window}, keys, jnp.array(0))
            return loss, stats

        def split(x):
            return x.reshape(devices, -1, *x.shape[1:])

        return jax.jit(run)(split(batch["window"]), split(keys))

    (loss, stats), (losses, shared) = over(1), over(2)
    assert losses.mean() == pytest.approx(float(loss[0]), rel=1e-4)
    for alone, two in zip(jax.tree.leaves(stats), jax.tree.leaves(shared), strict=True):
        np.testing.assert_array_equal(two[0], two[1])
        np.testing.assert_allclose(two[0], alone[0], rtol=1e-4, atol=1e-6)
    before = jax.tree.leaves(variables["batch_stats"])
    assert all((a != b[0]).any() for a, b in zip(before, jax.tree.leaves(stats), strict=True))


@pytest.mark.parametrize(
    ("hold", "ramp", "expected"),
    [
        (0, 0, {0: 1, 5: 1}),
        (3, 0, {0: 0, 2: 0, 3: 1}),
        (0, 4, {0: 0.2, 3: 0.8, 4: 1, 9: 1}),
        (10, 4, {0: 0, 9: 0, 10: 0.2, 13: 0.8, 14: 1, 10**6: 1}),
    ],
)
def test_cubes_are_held_still_and_then_freed_step_by_step(hold, ramp, expected):
    _, freedom = make_puzzle(**PROXY | {"curriculum": {"hold": hold, "ramp": ramp}}, seed=0)
    found = {step: float(freedom(jnp.array(step))) for step in expected}
    assert found == pytest.approx(expected)


def test_a_checkpoint_can_tell_which_orders_were_played():
    about = make(num_orders=8)[0].about
    assert np.shape(about["orders"]) == (8, 8)
    assert (about["order_distance_least"], about["order_distance_mean"]) == (8, 8.0)
    assert make()[0].units == {"cubes": 8, "volumes": 1}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"orders": "none", "turns": "none"}, "no order, no turns and no masking"),
        ({"num_orders": 1}, "num_orders is 1.*at least 2"),
        ({"num_orders": 40321}, "num_orders is 40321, but 8 cubes have 40320"),
        ({"orders": "best"}, "orders is 'best'"),
        ({"masking": 1.0}, "masking is 1.0"),
        ({"masking": -0.1}, "masking is -0.1"),
        ({"turns": "all", "cube": [4, 4, 3]}, r"turns=all.*\(4, 4, 3\)"),
        ({"turns": "some"}, "turns is 'some'"),
        ({"jitter": [2, 0, 0]}, "jitter"),
        ({"curriculum": {"hold": -1, "ramp": 0}}, "curriculum is .*-1"),
    ],
)
def test_a_puzzle_that_cannot_be_is_refused(changes, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make_puzzle(**PROXY | changes, seed=0)


@pytest.mark.parametrize(
    ("model", "loss", "sentence"),
    [
        ({"heads": "deep"}, {}, r"heads is 'deep'.*'paper', 'tied', 'joint'"),
        ({"heads": "paper", "hidden": 9}, {}, "hidden is 9, but paper heads have no hidden layer"),
        ({"pooling": "max"}, {}, r"pooling is 'max'; expected one of \['none', 'average'\]"),
        ({"encoder": ENCODER | {"norm": "layer"}}, {}, "norm is 'layer'"),
        ({}, {"reduction": "max"}, "reduction is 'max'"),
    ],
)
def test_a_network_or_an_objective_that_cannot_be_is_refused(model, loss, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        pretrain(
            channels=1,
            proxy_options=PROXY,
            model=MODEL | model,
            loss=LOSS | loss,
            augmentation=STILL,
            seed=0,
        )
