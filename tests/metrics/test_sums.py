"""Metrics add up to what one batch of everything would give."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from rubik_jax import metrics

RNG = np.random.default_rng(0)
PARTS = ((0, 5), (5, 6), (6, 17))  # unequal batches


def test_means_over_unequal_batches_add_up_without_bias():
    values = jnp.asarray(RNG.random((17, 3, 2)), jnp.float32)
    weight = jnp.asarray(RNG.random(17) < 0.6, jnp.float32).at[5].set(0)  # a batch of no weight too
    parts = [{"x": metrics.weighted(values[a:b], weight[a:b])} for a, b in PARTS]
    total = functools.reduce(metrics.add, parts)
    expected = np.asarray(values)[np.asarray(weight) == 1].mean()
    np.testing.assert_allclose(total["x"].value, expected, rtol=1e-6)
    assert total["x"].count == weight.sum()


def test_truths_become_shares():
    right = jnp.array([[True, False, False, False], [True, True, True, True], [True] * 4])
    mean = metrics.weighted(right, jnp.array([1.0, 1.0, 0.0]))
    assert mean.value == pytest.approx(0.625)


@pytest.mark.parametrize("shape", [(17,), (17, 8)])
def test_histograms_are_the_shares_of_the_labels_of_weight(shape):
    labels, weight = RNG.integers(0, 4, shape), (RNG.random(17) < 0.6).astype(np.float32)
    parts = [
        {"x": metrics.histogram(jnp.asarray(labels[a:b]), 5, jnp.asarray(weight[a:b]))}
        for a, b in PARTS
    ]
    total = functools.reduce(metrics.add, parts)["x"]
    counted = labels[weight == 1].ravel()
    expected = np.bincount(counted, minlength=5) / len(counted)
    np.testing.assert_allclose(total.value, expected, rtol=1e-6)
    assert total.count == len(counted)
    assert jax.tree.map(jnp.shape, tuple(total)) == ((5,), ())


def drawn(classes=4):
    """Masks of 17 windows with ignored voxels; the last class but one nowhere, the last guessed."""
    truth = RNG.integers(-1, classes - 2, (17, 3, 4, 5))
    guess = np.where(RNG.random(truth.shape) < 0.7, np.maximum(truth, 0), 0)
    guess[3, 0, 0, 0], truth[3, 0, 0, 0] = classes - 1, 0
    return truth, guess, (RNG.random(17) < 0.6).astype(np.float32)


def test_overlaps_of_unequal_batches_give_dice_and_iou_of_all_voxels():
    truth, guess, weight = drawn()
    weight[3] = 1
    t, g, w = map(jnp.asarray, (truth, guess, weight))
    overlaps = jax.jit(metrics.overlaps, static_argnums=2)
    parts = [overlaps(t[a:b], g[a:b], 4, w[a:b]) for a, b in PARTS]
    scores = metrics.dice_iou(functools.reduce(metrics.add, parts))
    counted = (weight == 1)[:, None, None, None] & (truth >= 0)
    t, g = truth[counted], guess[counted]
    for k in (0, 1):
        both, either = np.sum((t == k) & (g == k)), np.sum((t == k) | (g == k))
        assert scores["iou"][k] == both / either
        assert scores["dice"][k] == 2 * both / (np.sum(t == k) + np.sum(g == k))
    assert np.isnan(scores["dice"][2])
    assert np.isnan(scores["iou"][2])
    assert scores["dice"][3] == scores["iou"][3] == 0


def test_overlaps_do_not_see_ignored_voxels():
    truth, guess, weight = drawn()
    other = np.where(truth < 0, (guess + 1) % 4, guess)
    assert (other != guess).any()
    overlaps = jax.jit(metrics.overlaps, static_argnums=2)
    first, second = (
        overlaps(jnp.asarray(truth), jnp.asarray(x), 4, jnp.asarray(weight)) for x in (guess, other)
    )
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_confusion_counts_and_its_balanced_accuracy_agrees_with_scikit_learn():
    truth, guess = RNG.integers(0, 3, 17), RNG.integers(0, 3, 17)  # of four classes, one absent
    t, g, w = jnp.asarray(truth), jnp.asarray(guess), jnp.ones(17).at[4].set(0)
    parts = [metrics.confusion(t[a:b], g[a:b], 4, w[a:b]) for a, b in PARTS]
    total = functools.reduce(lambda a, b: jax.tree.map(jnp.add, a, b), parts)
    expected = np.zeros((4, 4))
    np.add.at(expected, (np.delete(truth, 4), np.delete(guess, 4)), 1)
    np.testing.assert_array_equal(total.total, expected)
    assert total.count == 16
    assert metrics.balanced_accuracy(np.asarray(total.total)) == pytest.approx(
        balanced_accuracy_score(np.delete(truth, 4), np.delete(guess, 4))
    )
    assert np.isnan(metrics.balanced_accuracy(np.zeros((2, 2))))


def test_confusion_counts_all_answers_of_an_example():
    truth, guess = RNG.integers(0, 3, (2, 5, 4))
    weight = jnp.array([1.0, 1, 0, 1, 1])
    found = metrics.confusion(jnp.asarray(truth), jnp.asarray(guess), 3, weight)
    kept = [0, 1, 3, 4]
    expected = confusion_matrix(truth[kept].ravel(), guess[kept].ravel(), labels=range(3))
    np.testing.assert_array_equal(found.total, expected)
    assert found.count == 16
