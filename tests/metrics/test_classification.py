"""Measures of probabilities against scipy's U statistic, scikit-learn and formulas written out."""

import json
import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from rubik_jax.metrics.classification import (
    area_under_curve,
    calibration_error,
    classification,
)


def drawn(seed: int, classes: int, cases: int = 60):
    """Targets and probabilities that know something of them, rounded so that there are ties."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, cases)
    logits = rng.normal(size=(cases, classes)) + 1.0 * np.eye(classes)[targets]
    shares = np.exp(np.round(logits))
    return targets, shares / shares.sum(axis=1, keepdims=True)


def area(positive: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a positive case scores above a negative one, ties counting half."""
    u = mannwhitneyu(scores[positive], scores[~positive]).statistic
    return u / (positive.sum() * (~positive).sum())


@pytest.mark.parametrize("seed", range(3))
def test_auc_agrees_with_the_u_statistic(seed):
    targets, shares = drawn(seed, 2)
    assert area_under_curve(targets, shares) == pytest.approx(area(targets == 1, shares[:, 1]))
    targets, shares = drawn(seed, 4)
    each = [area(targets == k, shares[:, k]) for k in range(4)]
    assert 0.6 < np.mean(each) < 1
    assert area_under_curve(targets, shares) == pytest.approx(np.mean(each))


def test_a_class_without_cases_has_no_curve():
    targets, shares = drawn(0, 4)
    targets[targets == 2] = 0
    each = [area(targets == k, shares[:, k]) for k in (0, 1, 3)]
    assert area_under_curve(targets, shares) == pytest.approx(np.mean(each))
    assert math.isnan(area_under_curve(np.ones(5, int), shares[:5, :2]))


@pytest.mark.parametrize("classes", [2, 5])
def test_accuracies_and_confusion_agree_with_scikit_learn(classes):
    targets, shares = drawn(1, classes)
    found = classification(targets, shares)
    guesses = shares.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(accuracy_score(targets, guesses))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(targets, guesses))
    assert found["chance"] == 1 / classes
    assert found["majority"] == max(np.mean(targets == k) for k in range(classes))
    for true in range(classes):
        for said in range(classes):
            expected = np.sum((targets == true) & (guesses == said))
            assert found["confusion"][true][said] == expected
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("occurring", [(0,), (2,), (0, 3), (0, 1, 3), (0, 1, 2, 3)])
def test_chance_is_the_best_that_one_answer_for_all_scores_in_balanced_accuracy(occurring):
    targets, shares = np.repeat(occurring, 5), np.eye(4)
    constant = [classification(targets, np.tile(shares[k], (len(targets), 1))) for k in range(4)]
    assert max(found["balanced_accuracy"] for found in constant) == constant[0]["chance"]
    assert constant[0]["chance"] == 1 / len(occurring)
    rng = np.random.default_rng(0)
    guesses = shares[rng.choice(occurring, (2000, len(targets)))]
    guessed = np.mean(guesses.argmax(axis=2) == targets)
    assert guessed == pytest.approx(constant[0]["chance"], abs=0.02)


def test_two_classes_are_scored_as_medmnist_does():
    """Its evaluator takes the last column: above a half is class 1, and a tie is class 0."""
    targets, shares = drawn(2, 2)
    assert (shares[:, 1] == 0.5).any()
    assert classification(targets, shares)["accuracy"] == np.mean((shares[:, 1] > 0.5) == targets)


def test_calibration_error_is_the_gap_of_each_bin_weighted_by_its_cases():
    targets, shares = drawn(3, 3, 200)
    top, right = shares.max(axis=1), shares.argmax(axis=1) == targets
    expected = 0.0
    for k in range(15):
        of = (top > k / 15) & (top <= (k + 1) / 15)
        if of.any():
            expected += of.mean() * abs(right[of].mean() - top[of].mean())
    assert 0.01 < expected < 0.5
    assert calibration_error(targets, shares) == pytest.approx(expected)


def test_the_sure_and_right_are_calibrated_and_the_sure_and_wrong_are_not():
    targets = np.arange(6) % 3
    sure = np.eye(3)[targets]
    assert calibration_error(targets, sure) == 0
    assert calibration_error((targets + 1) % 3, sure) == 1
    # Two of four right at 0.5 each: as good as said.
    assert calibration_error(np.array([0, 0, 1, 1]), np.full((4, 2), 0.5)) == 0


def test_a_probability_on_the_edge_belongs_to_the_bin_below():
    shares = np.array([[0.6, 0.4], [0.58, 0.42]])  # 0.6 is nine fifteenths
    assert calibration_error(np.array([0, 1]), shares) == pytest.approx(abs(0.4 - 0.58) / 2)
