"""Confusion, calibration and ROC curves say of answers what independent counts say."""

import re

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from rubik_jax.report import answers

NASTY = "<script>$x_1$ & more"


def made(n: int = 60, k: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + np.eye(k)[truth]
    return truth, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def cells(html: str) -> list[list[tuple[int, str]]]:
    rows = [re.findall(r">(\d+) <small>(.*?)</small>", row) for row in html.split("<tr>")]
    return [[(int(count), share) for count, share in row] for row in rows if row]


def test_confusion_has_truth_in_rows_with_counts_and_shares(describe):
    truth = np.array([0, 0, 0, 0, 1])
    probabilities = np.eye(3)[[0, 0, 0, 2, 2]]
    picture = {"truth": truth, "probabilities": probabilities, "classes": ("a", NASTY, "c")}
    html = answers.section(picture, describe("classify"))
    assert cells(html) == [
        [(3, "75%"), (0, "0%"), (1, "25%")],
        [(0, "0%"), (0, "0%"), (1, "100%")],
        [(0, "–"), (0, "–"), (0, "–")],
    ]
    assert "<script>" not in html


@pytest.mark.parametrize("k", [2, 5])
def test_reliability_bins_hold_every_case_where_it_belongs(k):
    truth, probabilities = made(k=k)
    probabilities[0] = np.eye(k)[0]  # 1 belongs to the last bin
    counts, confidence, right = answers.reliability(truth, probabilities)
    top, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    assert counts.sum() == len(truth)
    for b in range(answers.BINS):
        inside = (top > b / answers.BINS) & (top <= (b + 1) / answers.BINS)
        assert counts[b] == inside.sum()
        if inside.any():
            assert np.allclose([confidence[b], right[b]], [top[inside].mean(), hit[inside].mean()])
        else:
            assert np.isnan([confidence[b], right[b]]).all()


@pytest.mark.parametrize("levels", [3, 1000])
def test_roc_is_that_of_an_independent_library_with_and_without_ties(levels):
    rng = np.random.default_rng(levels)
    positive = rng.random(80) < 0.3
    scores = np.round((rng.random(80) + positive) * levels) / levels
    ours = np.stack(answers.roc(positive, scores))
    theirs = np.stack(roc_curve(positive, scores, drop_intermediate=False)[:2])
    assert np.allclose(ours, theirs)


@pytest.mark.parametrize("k", [2, 3, 7])
def test_curves_are_named_with_their_area_where_classes_are_few(read, k):
    truth, probabilities = made(n=200, k=k)
    classes = (*(f"class {i}" for i in range(k - 1)), NASTY)
    texts = read(answers.draw(truth, probabilities, classes)).texts
    named = [i for i, name in enumerate(classes) if any(t.startswith(f"{name}:") for t in texts)]
    assert named == {2: [1], 3: [0, 1, 2], 7: []}[k]
    for i in named:
        area = roc_auc_score(truth == i, probabilities[:, i])
        assert f"{classes[i]}: AUC {area:.3f}" in texts
    assert "ROC" in texts or k == 7


def test_one_class_alone_and_long_names_are_drawn_too(read):
    truth, probabilities = np.zeros(5, int), np.full((5, 2), 0.5)
    assert "ROC" in read(answers.draw(truth, probabilities, ("a", "b"))).texts
    truth[0] = 1
    texts = read(answers.draw(truth, probabilities, ("a", "b" * 200))).texts
    assert max(map(len, texts)) < 60
    assert any("AUC 0.500" in text for text in texts)


def test_the_calibration_error_is_the_mean_gap(read):
    # Always 0.8 sure and half of the time right.
    probabilities = np.tile([0.8, 0.2], (10, 1))
    texts = read(answers.draw(np.arange(10) % 2, probabilities, ("a", "b"))).texts
    assert "calibration error 0.300" in texts
