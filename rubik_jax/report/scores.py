"""The table of what a run is worth, at the top of its page."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from rubik_jax.report import markup

PARTS = {
    "validation": "the cases that the best checkpoint is chosen on",
    "test": "cases that were neither trained on nor chosen by",
    "train": "cases that were trained on, since nothing was held out",
    "blank": "cubes without content, which must score chance",
    "no_gap": "cubes cut without a gap; what it adds to the first column is owed to seams",
}
MEASURES = {
    "dice": ("Dice", "{:.3f}"),
    "iou": ("IoU", "{:.3f}"),
    "hd95": ("HD95, mm", "{:.2f}"),
    "assd": ("surface distance, mm", "{:.2f}"),
}

Numbers = Mapping[str, Any]


def section(results: Mapping[str, Numbers], description: dict[str, Any]) -> str:
    """The numbers of each part of the cohort, as HTML.

    Args:
        results: numbers by the part or the probe; the first is the one that counts.
        description: what the evaluated checkpoint says of itself.
    """
    what, table = {
        "pretrain": ("Accuracy", _puzzle),
        "reconstruct": ("Explained share", _restored),
        "restore": ("Explained share", _restored),
        "contrast": ("Retrieval", _contrast),
        "segment": ("Dice and IoU", _masks),
        "classify": ("Accuracy", _classes),
    }[description["config"]["task"]]
    title = f"{what} at step {description['step']} of {description['config']['steps']}"
    return markup.section(title, table(results, description))


def names(measured: Iterable[str], values: Sequence[int]) -> dict[str, str]:
    """What there is a Dice of, as its measures are called -> for people.

    Args:
        measured: keys of measures, e.g. "dice_1", "hd95_whole".
        values: the labels, the background first.

    Returns:
        The foreground, regions, labels, and the background last.
    """
    background, *labels = map(str, values)
    there = [key.removeprefix("dice_") for key in measured if key.startswith("dice_")]
    regions = [name for name in there if name not in (background, *labels, "loss")]
    wanted = {name: name for name in regions} | {name: f"label {name}" for name in labels}
    wanted[background] = f"background ({background})"
    return {key: said for key, said in wanted.items() if key in there}


def _puzzle(results: Mapping[str, Numbers], description: dict[str, Any]) -> str:
    """A row for each question; chance and majority stand beside the part that counts."""
    del description
    part, *probes = results
    numbers = results[part]
    rows = {}
    for name in [key.removesuffix("_accuracy") for key in numbers if key.endswith("_accuracy")]:
        cells = [numbers.get(f"{name}_{kind}") for kind in ("accuracy", "chance", "majority")]
        cells += [results[probe].get(f"{name}_accuracy") for probe in probes]
        rows[name] = [markup.number(cell, "{:.1%}") for cell in cells]
    columns = [name.replace("_", " ") for name in (part, "chance", "majority", *probes)]
    return _with_note(
        markup.table(columns, rows),
        _count(numbers),
        f"{_parts(results)}; <b>majority</b>: what the commonest answer would score.",
    )


def _restored(results: Mapping[str, Numbers], description: dict[str, Any]) -> str:
    """How much less its squared error is than that of answers that have learned nothing."""
    del description
    part = next(iter(results))
    numbers = results[part]
    known = {
        "input": "what was given, handed on",
        "mean": "the mean of the voxels that are asked for",
    }
    guesses = {name: said for name, said in known.items() if f"{name}_loss" in numbers}
    losses = [numbers[key] for key in ("loss", *(f"{name}_loss" for name in guesses))]
    least = min(losses[1:])
    shares = [1 - loss / least if least else math.nan for loss in losses]
    rows = {
        "explained share": [markup.number(share, "{:.1%}") for share in shares],
        "mean squared error": [markup.number(loss, "{:.4f}") for loss in losses],
    }
    words = "; ".join(f"<b>{name}</b>: {said}" for name, said in guesses.items())
    note = (
        f"{_parts([part])}; {words}. Explained: by how much the squared error is less than "
        "the best guess's. Windows are scaled to [-1, 1]."
    )
    return _with_note(markup.table([part, *guesses], rows), _count(numbers), note)


def _contrast(results: Mapping[str, Numbers], description: dict[str, Any]) -> str:
    """How often the other view was found, beside chance."""
    del description
    part = next(iter(results))
    numbers = results[part]
    found = [numbers["retrieval_accuracy"], numbers["retrieval_chance"]]
    rows = {
        "other view found": [markup.number(cell, "{:.1%}") for cell in found],
        "spread of the vectors": [markup.number(numbers["spread"], "{:.2f}"), "–"],
    }
    note = (
        f"{_parts([part])}. Found: of all views of its batch, the other one of the same volume is "
        "the most similar. Spread: 0 where all vectors are the same, 1 where they point everywhere."
    )
    return _with_note(markup.table([part, "chance"], rows), _count(numbers), note)


def _classes(results: Mapping[str, Numbers], description: dict[str, Any]) -> str:
    """Accuracy, discrimination and calibration beside what guessing would score."""
    del description
    part = next(iter(results))
    numbers = results[part]
    chance, majority = numbers["chance"], numbers["majority"]
    no_curve = math.isnan(numbers.get("auc", math.nan))
    guesses = {  # by chance, and by always giving the commonest answer
        "accuracy": (chance, majority, "{:.1%}"),
        "balanced_accuracy": (chance, chance, "{:.1%}"),
        "auc": (None, None, "{:.3f}") if no_curve else (0.5, 0.5, "{:.3f}"),
        "calibration_error": (None, None, "{:.3f}"),
    }
    said = {"auc": "AUC"}
    rows = {
        said.get(key, key.replace("_", " ")): [
            markup.number(value, form) for value in (numbers[key], by_chance, by_majority)
        ]
        for key, (by_chance, by_majority, form) in guesses.items()
        if key in numbers
    }
    note = (
        f"{_parts([part])}; <b>majority</b>: what the commonest answer would score. A class that "
        "no case has counts in no mean, and chance is 1 / the number of the others."
    )
    if numbers.get("absent"):
        note += f" No case is of class {escape(', '.join(map(repr, numbers['absent'])))}."
    if "calibration_error" in numbers:
        note += (
            " Calibration error: how far the probability of the answer is from how often it's "
            "right, on average."
        )
    return _with_note(markup.table([part, "chance", "majority"], rows), _count(numbers), note)


def _masks(results: Mapping[str, Numbers], description: dict[str, Any]) -> str:
    """Overlap and distance of the foreground, and of each region and label."""
    part = next(iter(results))
    numbers, values = results[part], description["values"]
    kinds = [kind for kind in MEASURES if any(key.startswith(f"{kind}_") for key in numbers)]

    def row(keys: Iterable[str]) -> list[str]:
        forms = [MEASURES[kind][1] for kind in kinds]
        return [markup.number(numbers.get(k), f) for k, f in zip(keys, forms, strict=True)]

    means = {"dice": "foreground_dice", "iou": "foreground_miou"}
    rows = {"foreground": row(means.get(kind, f"foreground_{kind}") for kind in kinds)}
    for name, said in names(numbers, values).items():
        rows[said] = row(f"{kind}_{name}" for kind in kinds)
    columns = [MEASURES[kind][0] for kind in kinds]
    if "cases_with_foreground_dice" in numbers:
        columns.append("cases")
        keys = ("foreground_dice", *(f"dice_{name}" for name in names(numbers, values)))
        for key, cells in zip(keys, rows.values(), strict=True):
            cells.append(f"{numbers[f'cases_with_{key}']:.0f}")
    note = (
        f"{_parts([part])}. Foreground: the mean over the labels but the background. "
        f"<b>mIoU</b>, with the background: {markup.number(numbers.get('miou'), '{:.3f}')}. "
    )
    if "cases" in numbers:
        note += (
            "Means over cases, each of which is in <code>cases.csv</code>. A label that is absent "
            "from mask and answer counts in no mean; absent from one of them alone it has Dice and "
            "IoU 0, and the volume's diagonal for a distance. <b>cases</b>: how many a mean is of. "
        )
    else:
        note += "Over the voxels of all windows together; whole cases are measured at the end."
    made = {
        name: " + ".join(map(str, labels))
        for name, labels in description.get("regions", {}).items()
    }
    if made:
        note += f" Regions: {escape('; '.join(f'{name} = {of}' for name, of in made.items()))}."
    table = markup.table(columns, rows)
    return _with_note(table, _count(numbers), note)


def _with_note(table: str, *sentences: str) -> str:
    return f"{table}\n<p>{' '.join(sentences)}</p>"


def _count(numbers: Numbers) -> str:
    if "cases" in numbers:
        return f"{numbers['cases']:.0f} cases."
    return f"{numbers['examples']:.0f} windows."


def _parts(results: Iterable[str]) -> str:
    """What the parts of the cohort and the probes are, as HTML."""
    return "; ".join(
        f"<b>{escape(name.replace('_', ' '))}</b>: {PARTS[name]}"
        for name in results
        if name in PARTS
    )
