"""Contrast: NT-Xent by its definition, on any number of devices, and fillers left out of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rubik_jax import losses
from rubik_jax.errors import ArgumentError
from rubik_jax.tasks.contrast import contrast
from rubik_jax.types import DEVICES
from tests.tasks.supervised import ENCODER, STILL, keys, variables

WINDOW, VIEW = (6, 8, 5), (5, 6, 5)
PROXY = {"view": VIEW, "temperature": 0.2}
MODEL = {"encoder": ENCODER, "hidden": 6, "projection": 5}


def make(augmentation=None, model=None, **changes):
    return contrast(
        channels=1,
        window=WINDOW,
        proxy_options=PROXY | changes,
        model=MODEL | (model or {}),
        augmentation=STILL | (augmentation or {}),
    )


def batch(count=4):
    windows = np.random.default_rng(1).random((count, *WINDOW, 1))
    return {"window": jnp.asarray(windows, jnp.float32), "weight": jnp.ones(count)}


def over(devices, function, *arguments):
    """A function of a device's share, on so many devices that are axes of one array."""

    def split(x):
        return x.reshape(devices, -1, *x.shape[1:])

    mapped = jax.vmap(function, axis_name=DEVICES)
    return jax.jit(mapped)(*jax.tree.map(split, arguments))


def trained(task, held, devices, given, each):
    """Loss and gradient as the step takes them: of each device's own, and then the mean."""

    def one(given, each):
        def loss(held):
            value, (_, report) = task.loss(held, given, each, jnp.array(0))
            return value, report

        (value, report), slope = jax.value_and_grad(loss, has_aux=True)(held)
        return value, slope, report

    value, slope, report = over(devices, one, given, each)
    mean = functools.partial(jax.tree.map, lambda x: np.asarray(x).mean(axis=0))
    return mean(value), mean(slope), jax.tree.map(lambda x: np.asarray(x).sum(axis=0), report)


def evaluated(task, held, devices, given, each):
    report = over(devices, lambda g, k: task.evaluate(held, g, k), given, each)
    return jax.tree.map(lambda x: np.asarray(x).sum(axis=0), report)


def test_loss_is_the_papers_written_out():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(8, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = jnp.arange(8)
    partner = (numbers + 4) % 8
    logits = losses.pairing_logits(
        *2 * [jnp.asarray(vectors, jnp.float32)], numbers, partner, jnp.ones(8), 0.2
    )
    found = optax.softmax_cross_entropy_with_integer_labels(logits, partner)
    scores = np.exp(vectors @ vectors.T / 0.2)
    for i, other in enumerate(partner.tolist()):
        rest = scores[i].sum() - scores[i, i]
        np.testing.assert_allclose(found[i], -np.log(scores[i, other] / rest), rtol=1e-4)


def test_two_equal_views_are_found_among_others():
    task = make(view=WINDOW)
    held, given = variables(task), batch()
    cosines = np.asarray(task.picture(held, given["window"], jax.random.key(0))["similarity"])
    scores = np.exp(cosines.astype(np.float64) / 0.2)
    wanted = np.log(2 * scores.sum(axis=1) - scores.diagonal()) - 1 / 0.2
    found = evaluated(task, held, 1, given, keys(4))
    np.testing.assert_allclose(found["loss"].value, wanted.mean(), rtol=1e-4)
    assert found["retrieval_accuracy"].value == 1
    np.testing.assert_allclose(found["retrieval_chance"].value, 1 / 7, rtol=1e-6)


def test_devices_train_and_evaluate_like_one():
    task = make({"noise": 0.1})
    held, given, each = variables(task), batch(8), keys(8)
    one, several = (trained(task, held, n, given, each) for n in (1, 4))
    for name, mean in one[2].items():
        np.testing.assert_allclose(several[2][name].value, mean.value, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(several[0], one[0], rtol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), several[1], one[1]
    )
    alone, shared = (evaluated(task, held, n, given, each) for n in (1, 4))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), alone, shared)


def test_fillers_are_nobodys_negative_and_weigh_nothing():
    task = make()
    held, given, each = variables(task), batch(6), keys(6)
    few = {name: x[:4] for name, x in given.items()}
    wanted = evaluated(task, held, 2, few, each[:4])
    filled = given | {"weight": jnp.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])}
    for bright in (0.0, 9.0):
        other = filled | {"window": filled["window"].at[4:].add(bright)}
        found = evaluated(task, held, 2, other, each)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), found, wanted)


def test_views_are_parts_of_their_window_at_places_of_their_own():
    task = make()
    given = batch(4)["window"]
    views = task.picture(variables(task), given, jax.random.key(0))["views"]
    assert views.shape == (2, 4, *VIEW, 1)
    places = np.lib.stride_tricks.sliding_window_view(np.asarray(given[..., 0]), VIEW, (1, 2, 3))
    found = []
    for view in views:
        for i, each in enumerate(np.asarray(view[..., 0])):
            parts = places[i].reshape(-1, *VIEW)
            parts = parts - parts.mean(axis=(1, 2, 3), keepdims=True)
            parts = parts / np.abs(parts).max(axis=(1, 2, 3), keepdims=True)
            distances = np.abs(parts - each).max(axis=(1, 2, 3))
            assert distances.min() < 1e-5
            found.append(int(distances.argmin()))
    assert len(set(found)) > 2


def test_one_step_down_the_gradient_lowers_the_loss():
    task = make()
    held, given, each = variables(task), batch(), keys(4)
    before, slope, _ = trained(task, held, 1, given, each)
    after = optax.apply_updates(held, jax.tree.map(lambda g: -1e-3 * g, slope))
    assert trained(task, after, 1, given, each)[0] < before


def test_collapse_and_chance_are_named():
    task = make()
    fine = {
        "retrieval_accuracy": 0.8,
        "retrieval_chance": 0.1,
        "spread": 0.7,
        "examples": 40.0,
        "loss": 0.5,
    }
    assert not task.diagnose(fine)
    assert "collapsed" in task.diagnose(fine | {"spread": 0.01})[0]
    assert "12.0% of the time beside 10.0%" in task.diagnose(fine | {"retrieval_accuracy": 0.12})[0]
    assert task.show(fine) == "other view found 80.0% (chance 10.0%), spread 0.70"
    assert task.score(fine) > task.score(fine | {"loss": 0.6})


def test_equal_vectors_have_no_spread_and_opposite_ones_all():
    task = make(view=WINDOW)
    held, given = variables(task), batch()
    same = given | {"window": given["window"][:1].repeat(4, axis=0)}
    assert evaluated(task, held, 1, same, keys(4))["spread"].value < 1e-3
    assert 0 < evaluated(task, held, 1, given, keys(4))["spread"].value <= 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"view": (7, 8, 5)}, "^proxy_options.view is"),
        ({"temperature": 0.0}, "^proxy_options.temperature is 0.0"),
        ({"model": {"hidden": 0}}, "^model.hidden is 0"),
    ],
)
def test_what_cannot_be_is_refused(change, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make(**change)
