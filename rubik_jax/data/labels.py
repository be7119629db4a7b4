"""Gives cases their classes: from a table, or from the folders they lie in."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from rubik_jax.data import table
from rubik_jax.data.cases import Case, canonical, stem
from rubik_jax.errors import UserError

_KNOB = "config.data.labels"
# What spreadsheets, pandas and R write where nothing is known. Exactly so: "none" is a word.
MISSING = (
    *("", "NaN", "nan", "NAN", "-NaN", "-nan", "NA", "N/A", "n/a", "<NA>", "NaT", "None"),
    *("NULL", "Null", "null", "#N/A", "#N/A N/A", "#NA", "#NV", "#NULL!", "#VALUE!", "#WERT!"),
    *("#REF!", "#BEZUG!", "#DIV/0!", "#NUM!", "#ZAHL!"),
    *("#NAME?", "1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND"),
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]{1,2})?")
_PADDED = re.compile(r"[+-]?0[0-9]")
_LONG = 28  # characters, beyond which decimals would be rounded
_MOST_NAMED = 5


def attach(cases: Sequence[Case], labels: str, path: str | Path | None) -> list[Case]:
    """The cases with their `target` set.

    Args:
        cases: as a source lists them, at least one.
        labels: where classes stand; a case that has none there, or one of `MISSING`, gets None. ""
            leaves them as they are; "folders" takes the folder right below `path` that a case lies
            in; anything else is a CSV or TSV file with the columns `case` and `class`, absolute or
            relative to `path`, in which a number is one class however it is written.
        path: where the data lie, a folder or one file.

    Raises:
        UserError: a file that cannot be read as such a table, or classes without a case.
    """
    if not labels:
        return list(cases)
    root = _root(path)
    if labels == "folders":
        found = {case.name: _folder(case, root) for case in cases}
        return [case._replace(target=found[case.name]) for case in cases]
    file = root / Path(labels).expanduser()
    written = _read(file, cases)
    _refuse_strangers(file, written, cases)
    known = {name: value for name, value in written.items() if value not in MISSING}
    if not known:
        raise UserError(f"{_lacking(file, cases, written)}: expected a class for some of them")
    named = _by_number(known.values())
    classes = {name: named.get(value, value) for name, value in known.items()}
    return [case._replace(target=classes.get(case.name)) for case in cases]


def note(cases: Sequence[Case], labels: str, path: str | Path | None) -> str:
    """Which of the cases a table gives no class, and what stands there instead; "" for none.

    Args:
        cases: as `attach` gives them.
        labels, path: as `attach` takes them.

    Raises:
        UserError: as `attach`.
    """
    if labels in ("", "folders") or all(case.target is not None for case in cases):
        return ""
    file = _root(path) / Path(labels).expanduser()
    return _lacking(file, cases, _read(file, cases))


def _read(file: Path, cases: Sequence[Case]) -> dict[str, str]:
    """Case → what stands in its row, or in the rows of its files, which agree.

    A case of several modalities goes by what its files' names have in common.
    """
    names, holders = {case.name for case in cases}, defaultdict(set)
    for case in cases:
        for image in filter(None, case.images):
            holders[canonical(stem(image.name))].add(case.name)
    found: dict[str, str] = {}
    for row, value in table.read(file, "class", knob=_KNOB).items():
        of = {row} if row in names else holders.get(row, {row})
        case = of.pop() if len(of) == 1 else row
        if found.setdefault(case, value) != value:
            raise UserError(
                f"{file} gives case {case!r} the classes {found[case]!r} and {value!r} by its "
                "files: expected one"
            )
    return found


def _root(path: str | Path | None) -> Path:
    root = Path(path or "").expanduser()
    return root.parent if root.is_file() else root


def _by_number(written: Iterable[str]) -> dict[str, str]:
    """What is written -> the class, of what is a number; 1, 1.0 and 1,00 are one.

    Codes such as 01 keep their zeros, unless the same number is written in another way as well.
    """
    written = {value for value in written if _NUMBER.fullmatch(value) and len(value) <= _LONG}
    spellings: dict[Decimal, set[str]] = defaultdict(set)
    for value in written:
        spellings[Decimal(value.replace(",", "."))].add(value)
    return {
        value: f"{number.normalize() if number else Decimal():f}"
        for number, values in spellings.items()
        for value in values
        if len(values) > 1 or not _PADDED.match(value)
    }


def _lacking(file: Path, cases: Sequence[Case], written: Mapping[str, str]) -> str:
    """The cases without a class, by what stands in its place."""
    found: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        value = written.get(case.name)
        if value is None:
            found["no row"].append(case.name)
        elif value in MISSING:
            found[repr(value) if value else "empty"].append(case.name)
    number = sum(map(len, found.values()))
    listed = ", ".join(f"{what} ({_first(names)})" for what, names in found.items())
    return f"{file} gives {number} of {len(cases)} cases no class: {listed}"


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _folder(case: Case, root: Path) -> str | None:
    file = next((image for image in case.images if image is not None), None)
    below = file.relative_to(root).parts if file and file.is_relative_to(root) else ()
    return unicodedata.normalize("NFC", below[0]) if len(below) > 1 else None


def _refuse_strangers(file: Path, classes: dict[str, str], cases: Sequence[Case]) -> None:
    """Refuses a table that is of other cases."""
    if not classes:
        raise UserError(f"{_KNOB} is {file}, which lists no case")
    names = {case.name for case in cases}
    strangers = [name for name in classes if name not in names]
    if len(strangers) == len(classes):
        raise UserError(
            f"none of the {len(classes)} cases that {file} lists is in the cohort: the first there "
            f"is {strangers[0]!r}, the first in the cohort {cases[0].name!r}"
        )
    if strangers:
        raise UserError(
            f"{file} lists case {strangers[0]!r}, which has no files in the cohort "
            f"({len(strangers)} of its {len(classes)} cases have none; the first in the cohort is "
            f"{cases[0].name!r})"
        )
