"""What answers are worth: sums on the device, and measures of cases on the host.

`segmentation`, `classification` and `probes` load when they're asked for, and scipy and
scikit-learn with them.
"""

import importlib
from typing import Any

from rubik_jax.metrics.cases import case_counts, for_json, mean_over_cases
from rubik_jax.metrics.sums import (
    add,
    balanced_accuracy,
    balanced_chance,
    confusion,
    dice_iou,
    histogram,
    mask_overlaps,
    means,
    overlap_scores,
    overlaps,
    voxel_shares,
    weighted,
)

__all__ = [
    "add",
    "balanced_accuracy",
    "balanced_chance",
    "case_counts",
    "classification",
    "confusion",
    "dice_iou",
    "for_json",
    "histogram",
    "mask_overlaps",
    "mean_over_cases",
    "means",
    "overlap_scores",
    "overlaps",
    "probes",
    "segmentation",
    "voxel_shares",
    "weighted",
]


def __getattr__(name: str) -> Any:
    if name in ("classification", "probes", "segmentation"):
        return importlib.import_module(f"rubik_jax.metrics.{name}")
    raise AttributeError(f"module 'rubik_jax.metrics' has no attribute {name!r}")
