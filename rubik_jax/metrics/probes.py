"""What features tell of classes: nearest neighbours and a linear classifier, fitted on the spot."""

import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from rubik_jax.metrics.classification import classification

NEIGHBOURS = 5
FOLDS = 5
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # scikit-learn's C, the inverse of the penalty
ENOUGH = 10  # cases of every class, from which on the strength is chosen by the cases

Features = Shaped[np.ndarray, "n f"]
Targets = Int[np.ndarray, "n"]


def probe(
    features: Features,
    targets: Targets,
    classes: int,
    *,
    fitted: Sequence[int] = (),
    judged: Sequence[int] = (),
) -> dict[str, float]:
    """The accuracies of both probes on the judged cases, each fitted on the fitted ones.

    With neither named, each case is judged once by what is fitted on the other folds, into which
    the cases are dealt class by class.

    Args:
        features: of each case.
        targets: the number of each case's class.
        classes: how many there are, k.
        fitted: rows of the cases to fit on, one at least.
        judged: rows of those to judge on, one at least.

    Returns:
        `accuracy`, `balanced_accuracy` (mean recall of the classes that occur), `auc` and `chance`
        (1/m of m classes that occur), each with "knn_" and "linear_" before its name, and
        `majority`, the accuracy of the commonest class.
    """
    if len(fitted) and len(judged):
        parts = [(np.asarray(fitted), np.asarray(judged))]
    else:
        parts = folds(targets, FOLDS)
    truth = np.concatenate([targets[out] for _, out in parts])
    numbers = {}
    for name, shares_of in {"knn": nearest, "linear": linear}.items():
        found = [
            shares_of(features[fit], targets[fit], features[out], classes) for fit, out in parts
        ]
        measured = classification(truth, np.concatenate(found))
        kept = ("accuracy", "balanced_accuracy", "auc", "chance")
        numbers |= {f"{name}_{key}": measured[key] for key in kept}
    return numbers | {"majority": measured["majority"]}


def show(numbers: dict[str, float]) -> str:
    """What the probes reached, in a line, beside chance and the commonest class."""
    names = {"accuracy": "{:.1%}", "balanced_accuracy": "balanced {:.1%}", "auc": "AUC {:.3f}"}
    lines = []
    for probe, said in {"linear": "linear probe", "knn": "nearest neighbours"}.items():
        found = {form: numbers[f"{probe}_{name}"] for name, form in names.items()}
        there = (form.format(value) for form, value in found.items() if not np.isnan(value))
        lines.append(f"{said} {', '.join(there)}")
    beside = f"(chance {numbers['linear_chance']:.1%}, majority {numbers['majority']:.1%})"
    return f"{'; '.join(lines)} {beside}"


def nearest(
    known: Features, targets: Targets, asked: Shaped[np.ndarray, "m f"], classes: int
) -> Float[np.ndarray, "m k"]:
    """The share of each class among the nearest known cases, five or as many as there are.

    Near is what has a large cosine, after each feature was standardised by the known cases. Of
    classes with equal votes the one with larger cosines is ahead.
    """
    known, asked = (_unit(x) for x in _standardised(known, asked))
    cosines = asked @ known.T
    count = min(NEIGHBOURS, len(known))
    near = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    # All cosines together stay below the half of a vote.
    votes = 1 + np.take_along_axis(cosines, near, axis=1) / (4 * count)
    shares = (votes[..., None] * np.eye(classes)[targets[near]]).sum(axis=1)
    return shares / shares.sum(axis=1, keepdims=True)


def linear(
    known: Features, targets: Targets, asked: Shaped[np.ndarray, "m f"], classes: int
) -> Float[np.ndarray, "m k"]:
    """Probabilities by logistic regression, multinomial and penalised by squares.

    Features are standardised by the known cases. The penalty is the one, of `STRENGTHS`, by which
    folds of the known cases are most likely; where a class has fewer than `ENOUGH` of them, the
    middle one.
    """
    known, asked = _standardised(known, asked)
    strength = STRENGTHS[len(STRENGTHS) // 2]
    if np.unique(targets, return_counts=True)[1].min() >= ENOUGH:
        strength = max(STRENGTHS, key=lambda c: _likelihood(known, targets, classes, c))
    return _regression(known, targets, asked, classes, strength)


def folds(targets: Targets, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit on and rows to judge on, of each fold; every row is judged once.

    Cases are dealt in turn, class by class, in an order that is random but always the same. There
    are no more folds than cases.
    """
    shuffled = np.random.default_rng(0).permutation(len(targets))
    dealt = shuffled[np.argsort(targets[shuffled], kind="stable")]
    fold = np.empty(len(targets), int)
    fold[dealt] = np.arange(len(targets)) % min(count, len(targets))
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(fold.max() + 1)]


def _likelihood(known: Features, targets: Targets, classes: int, strength: float) -> float:
    """The mean logarithm of what each case's own class is given by the other folds."""
    total = 0.0
    for fit, out in folds(targets, FOLDS):
        shares = _regression(known[fit], targets[fit], known[out], classes, strength)
        total += np.log(np.maximum(shares[np.arange(len(out)), targets[out]], 1e-12)).sum()
    return total / len(targets)


def _regression(
    known: Features,
    targets: Targets,
    asked: Shaped[np.ndarray, "m f"],
    classes: int,
    strength: float,
) -> Float[np.ndarray, "m k"]:
    shares = np.zeros((len(asked), classes))
    occurring = np.unique(targets)
    if len(occurring) == 1:  # which scikit-learn refuses
        shares[:, occurring] = 1
        return shares
    with warnings.catch_warnings():  # a fit that is nearly there tells as much
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = LogisticRegression(C=strength, max_iter=500).fit(known, targets)
    shares[:, occurring] = fitted.predict_proba(asked)
    return shares


def _standardised(known: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both by mean and standard deviation of the known; a constant feature tells nothing."""
    known, asked = known.astype(np.float64), asked.astype(np.float64)
    mean, spread = known.mean(axis=0), known.std(axis=0)
    scale = np.where(spread > 1e-9 * np.abs(mean), 1 / np.maximum(spread, 1e-300), 0)
    return (known - mean) * scale, (asked - mean) * scale


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
