"""Whether a pre-training is healthy: accuracies beside chance and the majority, and collapse."""

import math

import numpy as np

from rubik_jax.types import Metrics

# What is asked of the network, and what a head that learns nothing of it calls for.
_ADVICE = {
    "order": "try fewer poolings in config.model.encoder.strides (the last features must keep "
    "places), with config.model.heads=joint a longer config.proxy.curriculum.hold or tied heads, "
    "or fewer config.proxy.num_orders",
    "orientation": "try a longer config.proxy.curriculum.ramp, more config.steps, or "
    "config.loss.reduction=sum",
    "turn": "try a longer config.proxy.curriculum.ramp, more config.steps, or "
    "config.proxy.turns=half",
    "mask": "try a larger config.loss.gamma",
}

_PROBES = {"blank": "blank cubes", "no_gap": "cubes without a gap"}
_SHORTCUTS = {
    "blank": "something other than their content gives the answer away",
    "no_gap": "the seams help; try a larger config.proxy.gap",
}


def summarise(totals: Metrics) -> dict[str, float]:
    """Means of all metrics, and beside each accuracy what chance and the majority answer score.

    From a head's histograms: `X_chance`, right by guessing; `X_majority`, right by always giving
    the commonest answer; `X_top`, the share of the answer given most often; `X_answers`, of how
    many answers.
    """
    values = {
        name: np.asarray(mean.total) / np.asarray(mean.count) for name, mean in totals.items()
    }
    numbers = {name: float(value) for name, value in values.items() if value.ndim == 0}
    for name in [key.removesuffix("_said") for key in values if key.endswith("_said")]:
        said, truth = values[f"{name}_said"], values[f"{name}_truth"]
        numbers[f"{name}_chance"] = 1 / len(truth)
        numbers[f"{name}_majority"] = float(truth.max())
        numbers[f"{name}_top"] = float(said.max())
        numbers[f"{name}_answers"] = float(totals[f"{name}_said"].count)
    if "orientation_accuracy" in numbers:
        numbers |= _orientation(values["turn_said"], values["turn_truth"])
        numbers["orientation_answers"] = 2 * numbers["turn_answers"]
    numbers["examples"] = float(np.asarray(totals["loss"].count))
    return numbers


def score(numbers: dict[str, float]) -> float:
    """The mean of the accuracies in order, orientation (or turns) and masks."""
    return float(np.mean([numbers[f"{name}_accuracy"] for name in asked(numbers)]))


def show(numbers: dict[str, float]) -> str:
    """Accuracies in a line, each beside chance where that's known."""
    parts = []
    for name in [n.removesuffix("_accuracy") for n in numbers if n.endswith("_accuracy")]:
        chance = numbers.get(f"{name}_chance")
        beside = "" if chance is None else f" (chance {chance:.1%})"
        parts.append(f"{name} {numbers[f'{name}_accuracy']:.1%}{beside}")
    return ", ".join(parts)


def diagnose(
    numbers: dict[str, float], probes: dict[str, dict[str, float]] | None = None
) -> list[str]:
    """Sentences on heads at chance or that answer always the same, and on shortcuts.

    Args:
        numbers: as `summarise` gives them, of held-out cases.
        probes: the same of blank cubes ("blank") and of cubes without a gap ("no_gap"), where
            they were played.
    """
    warnings = []
    for name in asked(numbers):
        accuracy, chance = numbers[f"{name}_accuracy"], numbers[f"{name}_chance"]
        top, majority = numbers[f"{name}_top"], numbers[f"{name}_majority"]
        noise = math.sqrt(chance * (1 - chance) / numbers[f"{name}_answers"])
        if top > 0.9 and majority < 0.9:
            problem = f"the {name} head has collapsed: it gives one answer {top:.0%} of the time"
        elif accuracy <= chance + 3 * noise:
            problem = f"the {name} head sits at chance: {accuracy:.1%} beside {chance:.1%}"
        else:
            continue
        warnings.append(f"{problem}; {_ADVICE[name]}")
    for probe, played in (probes or {}).items():
        for name in asked(played):
            floor = played[f"{name}_chance"] if probe == "blank" else numbers[f"{name}_accuracy"]
            noise = math.sqrt(floor * (1 - floor) / played[f"{name}_answers"])
            if played[f"{name}_accuracy"] > floor + max(4 * noise, 0.02):
                warnings.append(
                    f"{name} scores {played[f'{name}_accuracy']:.1%} on {_PROBES[probe]} beside "
                    f"{floor:.1%}: {_SHORTCUTS[probe]}"
                )
    return warnings


def asked(numbers: dict[str, float]) -> list[str]:
    """Which of the questions the accuracies answer; orientation stands for half turns."""
    turns = "orientation" if "orientation_accuracy" in numbers else "turn"
    return [name for name in ("order", turns, "mask") if f"{name}_accuracy" in numbers]


def _orientation(said: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The same for the labels of half turns: fair coins, horizontal in bit 0, vertical in bit 1.

    Either of the two may collapse alone, so `orientation_top` is that of the worse.
    """
    said_on = np.array([said[[1, 3]].sum(), said[[2, 3]].sum()])
    truth_on = np.array([truth[[1, 3]].sum(), truth[[2, 3]].sum()])
    return {
        "orientation_chance": 0.5,
        "orientation_majority": float(np.maximum(truth_on, 1 - truth_on).mean()),
        "orientation_top": float(np.maximum(said_on, 1 - said_on).max()),
    }
