"""The terms of the objective against their closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rubik_jax.errors import ArgumentError
from rubik_jax.losses import (
    check_reduction,
    class_loss,
    multilabel_loss,
    permutation_loss,
    region_cross_entropy,
    region_dice_loss,
    soft_dice_loss,
    turn_loss,
    voxel_cross_entropy,
)

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
    with pytest.raises(ArgumentError, match=r"^reduction is 'max'.*'mean', 'sum'"):
        check_reduction("max")


def masks(classes=3):
    labels = RNG.integers(-1, classes, (2, 4, 3, 5))
    logits = RNG.normal(size=(*labels.shape, classes)).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return jnp.asarray(logits), jnp.asarray(labels), shares


@pytest.mark.parametrize("smooth", [1.0, 1e-5])
def test_soft_dice_loss_is_one_minus_the_dice_of_the_counted_voxels(smooth):
    logits, labels, shares = masks()
    expected = []
    for share, label in zip(shares, np.asarray(labels), strict=True):
        seen = label >= 0
        dices = [
            (2 * (p := share[..., k][seen])[t := label[seen] == k].sum() + smooth)
            / (p.sum() + t.sum() + smooth)
            for k in (1, 2)
        ]
        expected.append(1 - np.mean(dices))
    loss = jax.jit(functools.partial(soft_dice_loss, smooth=smooth))(logits, labels)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_soft_dice_loss_of_right_wrong_and_absent():
    labels = jnp.zeros((3, 4, 4, 4), jnp.int32).at[:2, :2].set(1)
    said = labels.at[1].set(1 - labels[1])
    sure = 200 * jax.nn.one_hot(said, 2)
    right, wrong, absent = jax.jit(soft_dice_loss)(sure, labels)
    np.testing.assert_allclose((right, absent), 0, atol=1e-6)
    np.testing.assert_allclose(wrong, 1 - 1 / (32 + 32 + 1), rtol=1e-6)
    made_up = jax.jit(soft_dice_loss)(sure, jnp.zeros_like(labels))
    np.testing.assert_allclose(made_up, (32 / 33, 32 / 33, 0), rtol=1e-6, atol=1e-6)


def test_voxel_cross_entropy_is_a_mean_weighted_by_the_true_class():
    logits, labels, shares = masks()
    weights = np.array([0.2, 1.0, 3.0], np.float32)
    expected = []
    for share, label in zip(shares, np.asarray(labels), strict=True):
        seen = label >= 0
        w = weights[label[seen]]
        right = np.take_along_axis(share[seen], label[seen][:, None], axis=1)[:, 0]
        expected.append(-(w * np.log(right)).sum() / w.sum())
    for scale in (1, 7):
        loss = jax.jit(voxel_cross_entropy)(logits, labels, jnp.asarray(scale * weights))
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
    nothing = jnp.zeros_like(logits)
    chance = jax.jit(voxel_cross_entropy)(nothing, labels, jnp.asarray(weights))
    np.testing.assert_allclose(chance, np.log(3), rtol=1e-6)


def test_ignored_voxels_pull_on_nothing():
    logits, labels, _ = masks()
    labels = labels.at[1].set(-1)  # an example of nothing else, too

    def loss(logits):
        return soft_dice_loss(logits, labels) + voxel_cross_entropy(logits, labels, jnp.ones(3))

    value, pull = jax.jit(lambda x: jax.vjp(loss, x))(logits)
    np.testing.assert_array_equal(value[1], 0)
    (slope,) = jax.jit(lambda: pull(jnp.ones(2)))()
    pulled = np.abs(slope).max(axis=-1) > 0
    np.testing.assert_array_equal(pulled, np.asarray(labels) >= 0)


def test_class_loss_smooths_and_weighs_each_class():
    logits = RNG.normal(size=(5, 3)).astype(np.float32)
    target, weights = RNG.integers(0, 3, 5), np.array([0.5, 1.0, 2.0], np.float32)
    says = np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    truth = 0.9 * np.eye(3)[target] + 0.1 / 3
    loss = class_loss(jnp.asarray(logits), jnp.asarray(target), jnp.asarray(weights), 0.1)
    np.testing.assert_allclose(loss, -(weights * truth * says).sum(axis=1), rtol=1e-5)
    plain = class_loss(jnp.asarray(logits), jnp.asarray(target), jnp.ones(3), 0.0)
    np.testing.assert_allclose(plain, -says[np.arange(5), target], rtol=1e-5)


def test_losses_of_regions_have_their_closed_forms_and_skip_what_is_unknown():
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(2, 3, 4, 2, 3)).astype(np.float32)
    inside = rng.random(logits.shape) < 0.4
    known = rng.random(logits.shape[:-1]) < 0.7
    known[1] = False
    shares = 1 / (1 + np.exp(-logits[0][known[0]].astype(np.float64)))
    truth = inside[0][known[0]]
    dice = (2 * (shares * truth).sum(0) + 1) / (shares.sum(0) + truth.sum(0) + 1)
    entropy = -np.log(np.where(truth, shares, 1 - shares)).mean()
    for loss, expected in (
        (region_dice_loss, 1 - dice.mean()),
        (region_cross_entropy, entropy),
    ):
        found = loss(*map(jnp.asarray, (logits, inside, known)))
        np.testing.assert_allclose(found, [expected, 0], rtol=1e-5, atol=1e-6)
