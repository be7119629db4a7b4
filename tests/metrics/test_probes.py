"""Probes against scikit-learn's neighbours, against cases that are easy or hopeless, and leaks."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from rubik_jax.metrics.probes import STRENGTHS, folds, linear, nearest, probe, show


def drawn(seed: int, classes: int, cases: int, apart: float, width: int = 6):
    """Features around a mean for each class, on scales of their own, and the classes."""
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.arange(cases) % classes)
    means = apart * np.random.default_rng(99).normal(size=(classes, width))
    scale = 10.0 ** (np.arange(width) % 6)
    features = (means[targets] + rng.normal(size=(cases, width))) * scale + 5 * scale
    return features.astype(np.float32), targets


def test_neighbours_are_those_of_scikit_learn():
    known, targets = drawn(0, 2, 60, 0.5)
    asked, _ = drawn(1, 2, 40, 0.5)
    scaler = StandardScaler().fit(known.astype(np.float64))
    theirs = KNeighborsClassifier(5, metric="cosine").fit(scaler.transform(known), targets)
    shares = theirs.predict_proba(scaler.transform(asked))
    ours = nearest(known, targets, asked, 2)
    assert shares.std() > 0.1
    np.testing.assert_allclose(ours, shares, atol=0.06)  # cosines add up to a quarter of a vote
    np.testing.assert_array_equal(ours.argmax(axis=1), shares.argmax(axis=1))


def test_of_equal_votes_the_nearer_wins():
    known = np.array([[1, 0], [0, 1], [1, 0.1], [0.1, 1]], np.float32)
    targets = np.array([2, 1, 2, 1])
    asked = np.array([[1, 0], [0, 1]], np.float32)
    np.testing.assert_array_equal(nearest(known, targets, asked, 3).argmax(axis=1), [2, 1])


@pytest.mark.parametrize("classes", [2, 4])
def test_few_cases_of_a_class_are_fitted_with_the_middle_penalty(classes):
    known, targets = drawn(0, classes, 5 * classes, 1.0)
    asked, _ = drawn(1, classes, 9, 1.0)
    scaler = StandardScaler().fit(known.astype(np.float64))
    theirs = LogisticRegression(C=STRENGTHS[2], max_iter=500)
    theirs.fit(scaler.transform(known), targets)
    expected = theirs.predict_proba(scaler.transform(asked))
    np.testing.assert_allclose(linear(known, targets, asked, classes), expected, atol=1e-6)


def test_the_penalty_is_chosen_by_the_cases():
    """Of what tells nothing a strong one is, which answers by the classes' shares alone."""
    noise, targets = drawn(0, 2, 200, 0.0, width=60)
    sure, of = drawn(0, 2, 200, 4.0)
    assert np.abs(linear(noise, targets, noise, 2) - 0.5).max() < 0.2
    assert np.abs(linear(sure, of, sure, 2) - 0.5).min() > 0.4


def test_features_that_tell_the_classes_score_1_and_noise_scores_chance():
    features, targets = drawn(0, 3, 300, 4.0)
    parts = {"fitted": range(200), "judged": range(200, 300)}
    found = probe(features, targets, 3, **parts)
    assert found["knn_accuracy"] == found["linear_accuracy"] == found["linear_auc"] == 1
    assert found["knn_chance"] == found["linear_chance"] == 1 / 3
    assert found["majority"] == np.bincount(targets[200:]).max() / 100
    noise, _ = drawn(1, 3, 300, 0.0)
    found = probe(noise, targets, 3, **parts)
    for name in ("knn", "linear"):
        assert abs(found[f"{name}_balanced_accuracy"] - 1 / 3) < 0.15
    assert "chance 33.3%" in show(found)


def test_without_parts_no_case_is_judged_by_itself():
    """Noise with as many features as cases would be learned by heart."""
    noise, targets = drawn(0, 2, 60, 0.0, width=60)
    assert abs(probe(noise, targets, 2)["linear_auc"] - 0.5) < 0.2
    rows = range(60)
    assert probe(noise, targets, 2, fitted=rows, judged=rows)["linear_auc"] > 0.9


@pytest.mark.parametrize(("cases", "count"), [(23, 5), (3, 3)])
def test_folds_judge_each_case_once_and_share_the_classes_evenly(cases, count):
    targets = np.arange(cases) % 2
    parts = folds(targets, 5)
    assert len(parts) == count
    np.testing.assert_array_equal(np.sort(np.concatenate([out for _, out in parts])), range(cases))
    for fit, out in parts:
        np.testing.assert_array_equal(np.sort([*fit, *out]), range(cases))
        counts = np.bincount(targets[out], minlength=2)
        assert abs(counts[0] - counts[1]) <= 1


def test_a_class_that_few_or_no_cases_have_is_no_error():
    features, targets = drawn(0, 2, 7, 1.0)
    features[:, 2] = 3  # tells nothing
    targets[targets == 1] = 2
    found = probe(features, targets, 4, fitted=range(6), judged=[6])
    assert all(np.isfinite(found[f"{name}_accuracy"]) for name in ("knn", "linear"))
    one = probe(features[:3], np.array([0, 0, 1]), 2)  # some folds fit on class 0 alone
    assert 0 <= one["linear_accuracy"] <= 1
