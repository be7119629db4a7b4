"""Reads what a CSV or TSV file says of each case."""

import csv
from pathlib import Path

from rubik_jax.data.cases import stem
from rubik_jax.errors import UserError

_DELIMITERS = (",", ";", "\t")


def read(path: Path, column: str, *, knob: str) -> dict[str, str]:
    """Case name → what stands in its `column`, both stripped.

    The delimiter is the one of comma, semicolon and tab that makes a `case` and this column out
    of the header, whatever its upper and lower case; other columns and empty lines are passed
    over. A case may be given as its file's name.

    Args:
        path: the file, UTF-8 with or without a byte order mark.
        column: lower-case name of the column, next to `case`.
        knob: the knob that names the file, for the sentences.

    Raises:
        UserError: no such file, not text, other columns, a line without a case, a case twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = file.readlines()
        delimiter, places = _header(path, lines[0] if lines else "", column, knob)
        rows = list(csv.reader(lines, delimiter=delimiter))[1:]
    except OSError as error:
        raise UserError(f"{knob} is {path}, which cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{knob} is {path}, which is no CSV in UTF-8: {error}") from error

    found: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        if not any(cell.strip() for cell in row):
            continue
        name, value = (row[place].strip() if place < len(row) else "" for place in places)
        name = stem(name)
        if not name:
            raise UserError(f"row {number} of {path} names no case")
        if name in found:
            raise UserError(f"{path} lists case {name!r} twice: expected one row for each case")
        found[name] = value
    return found


def _header(path: Path, line: str, column: str, knob: str) -> tuple[str, tuple[int, int]]:
    """The delimiter, and where the case and the column stand."""
    wanted = ("case", column)
    headers = {
        delimiter: [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
        for delimiter in _DELIMITERS
    }
    for delimiter, names in headers.items():
        lower = [name.lower() for name in names]
        if all(name in lower for name in wanted):
            return delimiter, tuple(lower.index(name) for name in wanted)
    found = max(headers.values(), key=len)
    raise UserError(
        f"{knob} is {path}, whose columns are {found}: expected a header with {list(wanted)}"
    )
