"""Gives cases their classes: from a table, or from the folders they lie in."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from rubik_jax.data import table
from rubik_jax.data.cases import Case
from rubik_jax.errors import UserError

_KNOB = "config.data.labels"


def attach(cases: Sequence[Case], labels: str, path: str | Path | None) -> list[Case]:
    """The cases with their `target` set.

    Args:
        cases: as a source lists them, at least one.
        labels: where classes stand; a case that has none there gets None. "" leaves them as they
            are; "folders" takes the folder right below `path` that a case lies in; anything else
            is a CSV or TSV file with the columns `case` and `class`, absolute or relative to
            `path`.
        path: where the data lie, a folder or one file.

    Raises:
        UserError: a file that cannot be read as such a table, or classes without a case.
    """
    if not labels:
        return list(cases)
    root = Path(path or "").expanduser()
    root = root.parent if root.is_file() else root
    if labels == "folders":
        classes = {case.name: _folder(case, root) for case in cases}
    else:
        file = root / Path(labels).expanduser()
        classes = table.read(file, "class", knob=_KNOB)
        _refuse_strangers(file, classes, cases)
    return [case._replace(target=classes.get(case.name) or None) for case in cases]


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
