"""Metrics add up to what one batch of everything would give."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
