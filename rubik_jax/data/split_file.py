"""Reads a split that somebody else has drawn: a table, a JSON file, or nnU-Net's folds."""

import json
from collections import Counter
from collections.abc import Collection, Set
from pathlib import Path

from rubik_jax.data import table
from rubik_jax.data.cases import canonical, stem
from rubik_jax.errors import UserError

PARTS = ("train", "validation", "test")
_KNOB = "config.data.split.file"


def read(
    file: str | Path, fold: int, names: Set[str], absent: Collection[str] = ()
) -> dict[str, list[str]]:
    """The cases of each part that the file speaks of.

    Args:
        file: a CSV or TSV with the columns `case` and `part`, a JSON object with a list of names
            for each part, or nnU-Net's `splits_final.json`, a list of folds with `train` and
            `val`, whose `val` are our test cases, since nothing may be chosen on them.
        fold: which of nnU-Net's folds.
        names: of all cases of the cohort; the file may give them as names of files.
        absent: further cases, which the file may list or not.

    Returns:
        Part → names, "validation" only where the file has such a part.

    Raises:
        UserError: no such file, another form, cases that are in no part or in two, that the cohort
            lacks, or none to train on.
    """
    path = Path(file).expanduser()
    parts = _read_json(path, fold) if path.suffix.lower() == ".json" else _read_table(path)
    count = Counter(name for part in parts.values() for name in part)
    for problem, found in (
        ("lists twice", [name for name, times in count.items() if times > 1]),
        ("lists, but the cohort lacks,", [name for name in count if name not in {*names, *absent}]),
        ("has no part for", sorted(set(names) - count.keys())),
    ):
        if found:
            raise UserError(
                f"{path} {problem} case {found[0]!r} ({len(found)} such cases): expected the cases "
                "of the cohort, each in one part"
            )
    if not parts.get("train"):
        raise UserError(f"{_KNOB} is {path}, which leaves no case to train on")
    return parts


def _read_table(path: Path) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    for name, part in table.read(path, "part", knob=_KNOB).items():
        if part.lower() not in PARTS:
            raise UserError(
                f"{path} has case {name!r} in part {part!r}: expected one of {', '.join(PARTS)}"
            )
        parts.setdefault(part.lower(), []).append(name)
    return parts


def _read_json(path: Path, fold: int) -> dict[str, list[str]]:
    content = table.text(path, knob=_KNOB)
    try:
        content = json.loads(content)
    except ValueError as error:
        raise UserError(f"{_KNOB} is {path}, which is not JSON: {error}") from error
    allowed = PARTS
    if isinstance(content, list):
        if not 0 <= fold < len(content):
            raise UserError(
                f"config.data.split.fold is {fold}, but {path} holds {len(content)} folds: "
                f"expected 0 to {len(content) - 1}"
            )
        content, allowed = content[fold], ("train", "val")
    if (
        not isinstance(content, dict)
        or not set(content) <= set(allowed)
        or not all(_is_names(part) for part in content.values())
    ):
        raise UserError(
            f"{path} is no split: expected lists of names under {', '.join(PARTS)}, or a list of "
            "folds with train and val, as in nnU-Net's splits_final.json"
        )
    return {
        "test" if part == "val" else part: [canonical(stem(name)) for name in names]
        for part, names in content.items()
    }


def _is_names(part: object) -> bool:
    return isinstance(part, list) and all(isinstance(name, str) for name in part)
