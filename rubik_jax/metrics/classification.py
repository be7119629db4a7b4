"""How good the probabilities of classes are, over the cases of a part."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.metrics import confusion_matrix, roc_auc_score

from rubik_jax.metrics.sums import balanced_accuracy, balanced_chance

BINS = 15  # of the calibration error, as in Guo et al., 2017


def classification(
    targets: Int[np.ndarray, "n"], probabilities: Float[np.ndarray, "n k"]
) -> dict[str, Any]:
    """Accuracy, discrimination and calibration; the answer is the class of largest probability.

    Args:
        targets: the class of each case.
        probabilities: of each case and class, two classes at least; rows sum to 1.

    Returns:
        `accuracy` (the paper's ACC), `balanced_accuracy` (mean recall of the classes that
        occur), `auc` (see `area_under_curve`), `calibration_error` (see the function), `chance`
        (1/m of m classes that occur, see `balanced_chance`) and `majority` (the accuracy of always
        giving the commonest class), and `confusion`, rows of counts, one per true class.
    """
    classes = probabilities.shape[1]
    guesses = probabilities.argmax(axis=1)
    confusion = confusion_matrix(targets, guesses, labels=np.arange(classes))
    return {
        "accuracy": float(np.mean(guesses == targets)),
        "balanced_accuracy": balanced_accuracy(confusion),
        "auc": area_under_curve(targets, probabilities),
        "calibration_error": calibration_error(targets, probabilities),
        "chance": balanced_chance(confusion),
        "majority": float(np.bincount(targets).max() / len(targets)),
        "confusion": confusion.tolist(),
    }


def area_under_curve(
    targets: Int[np.ndarray, "n"], probabilities: Float[np.ndarray, "n k"]
) -> float:
    """The area under the ROC curve, as MedMNIST defines it.

    Of two classes it's that of class 1; of more, the mean of each class against the rest. A class
    that no case has, or every case, has no curve and is left out; NaN where none is left.
    """
    classes = range(probabilities.shape[1]) if probabilities.shape[1] > 2 else (1,)
    areas = [
        roc_auc_score(targets == one, probabilities[:, one])
        for one in classes
        if 0 < np.count_nonzero(targets == one) < len(targets)
    ]
    return float(np.mean(areas)) if areas else math.nan


def calibration_error(
    targets: Int[np.ndarray, "n"], probabilities: Float[np.ndarray, "n k"]
) -> float:
    """The expected calibration error (Naeini et al., 2015; Guo et al., 2017, equation 3).

    Cases are put into `BINS` bins of equal width by the largest probability; it's the mean over
    cases of the gap in their bin between accuracy and mean probability.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == targets
    edges = np.linspace(0, 1, BINS + 1)
    bins = np.digitize(confidence, edges[1:-1], right=True)  # (low, high], as they print it
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(targets))
