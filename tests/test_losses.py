"""The terms of the objective against their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rubik_jax.errors import UserError
from rubik_jax.losses import check_reduction, multilabel_loss, permutation_loss, turn_loss

RNG = np.random.default_rng(0)


def test_permutation_loss_is_minus_the_log_of_the_right_share():
    logits = jnp.log(jnp.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])) + 7
    loss = permutation_loss(logits, jnp.array([1, 2]))
    np.testing.assert_allclose(loss, [-np.log(0.3), -np.log(0.8)], rtol=1e-5)
    chance = permutation_loss(jnp.zeros((1, 100)), jnp.array([99]))
    np.testing.assert_allclose(chance, np.log(100), rtol=1e-6)


def test_multilabel_loss_asks_for_the_turned_and_for_the_unturned():
    labels = jnp.asarray(RNG.random((3, 8, 2)) < 0.5)
    logits = jnp.asarray(RNG.normal(size=(3, 8, 2)), jnp.float32)
    says = 1 / (1 + np.exp(-np.asarray(logits)))
    terms = -np.where(labels, np.log(says), np.log(1 - says))
    mean, total = (multilabel_loss(logits, labels, kind) for kind in ("mean", "sum"))
    np.testing.assert_allclose(mean, terms.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(total, 16 * mean, rtol=1e-5)


def test_answering_turned_always_is_not_the_best_answer():
    """It would be by equation 2 as printed, which has the positive terms only."""
    labels = jnp.tile(jnp.array([True, False]), (1, 8, 1))
    always, undecided, right = (
        multilabel_loss(logits, labels, "sum")
        for logits in (jnp.full((1, 8, 2), 9.0), jnp.zeros((1, 8, 2)), jnp.where(labels, 9.0, -9.0))
    )
    assert right < undecided < always
    slope = jax.grad(lambda logits: multilabel_loss(logits, labels, "sum").sum())
    np.testing.assert_allclose(slope(jnp.zeros((1, 8, 2))), np.where(labels, -0.5, 0.5))


def test_turn_loss_is_the_cross_entropy_of_each_cube_reduced():
    logits = jnp.asarray(RNG.normal(size=(2, 8, 24)), jnp.float32)
    turns = jnp.asarray(RNG.integers(0, 24, (2, 8)))
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    terms = -np.log(np.take_along_axis(shares, np.asarray(turns)[..., None], axis=-1))[..., 0]
    np.testing.assert_allclose(turn_loss(logits, turns, "mean"), terms.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(turn_loss(logits, turns, "sum"), terms.sum(axis=1), rtol=1e-5)


def test_an_unknown_reduction_is_refused():
    check_reduction("sum")
    with pytest.raises(UserError, match=r"reduction is 'max'.*'mean', 'sum'"):
        check_reduction("max")
