"""Reads what a CSV or TSV file says of each case."""

import csv
import io
import re
import unicodedata
from pathlib import Path

from rubik_jax.data.cases import canonical, stem
from rubik_jax.errors import UserError

_DELIMITERS = (",", ";", "\t", "|")
_SEPARATOR = re.compile(r"""\s*["']?sep=([^\w\s"']|\t)["']?[^\w\r\n]*(?:\r\n|\n|\r)""", re.I)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def text(path: Path, *, knob: str) -> str:
    """The text of a file, UTF-8 with or without a byte order mark, its line ends as they are.

    Args:
        path: the file.
        knob: the knob that names it, for the sentences.

    Raises:
        UserError: no such file, a workbook, or another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{knob} is {path}, which cannot be read: {error.strerror}") from error
    if content.startswith(_WORKBOOKS):
        raise UserError(
            f"{knob} is {path}, which is a workbook of Excel or the like: expected it saved as CSV "
            "in UTF-8"
        )
    if content.startswith(_UTF16) or b"\0" in content:
        raise UserError(f"{knob} is {path}, which is no text in UTF-8 but in UTF-16, or no text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{knob} is {path}, whose line {line} is not in UTF-8: expected it saved in that "
            "encoding"
        ) from error


def read(path: Path, column: str, *, knob: str) -> dict[str, str]:
    """Case name → what stands in its `column`, both stripped and their Unicode composed.

    The delimiter is the one that a first line such as "sep=;" names, as Excel writes it, or that
    one of comma, semicolon, tab and bar that makes a `case` and this column out of the header,
    whatever its upper and lower case; other columns and empty lines are passed over. A case may be
    given as its file's name.

    Args:
        path: the file.
        column: lower-case name of the column, next to `case`.
        knob: the knob that names the file, for the sentences.

    Raises:
        UserError: as `text`; other columns, one of them twice, more cells than columns, an open
            quote, a line without a case, a case twice.
    """
    content = text(path, knob=knob)
    named = _SEPARATOR.match(content)
    skipped = content.count("\n", 0, named.end()) if named else 0
    content = content[named.end() :] if named else content
    lines = io.StringIO(content, newline="")
    try:
        delimiter, header = _header(path, content, column, knob, named and named[1])
        # Strict, since a quote that nobody closes would swallow the rows behind it.
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise UserError(f"{knob} is {path}, which is no CSV: {error}") from error

    places = header.index("case"), header.index(column)
    found: dict[str, tuple[int, str]] = {}
    filled = [
        (number, row)
        for number, row in enumerate(rows, start=1 + skipped)
        if any(map(str.strip, row))
    ]
    for number, row in filled[1:]:
        if any(cell.strip() for cell in row[len(header) :]):
            raise UserError(
                f"row {number} of {path} has {len(row)} cells, the header {len(header)}: expected "
                "as many, and quotes around a cell that holds the delimiter"
            )
        name, value = (row[place].strip() if place < len(row) else "" for place in places)
        name = canonical(stem(name))
        if not name:
            raise UserError(f"row {number} of {path} names no case")
        if name in found:
            raise UserError(
                f"{path} lists case {name!r} twice, in rows {found[name][0]} and {number}: "
                "expected one row for each case"
            )
        found[name] = number, unicodedata.normalize("NFC", value)
    return {name: value for name, (_, value) in found.items()}


def _header(
    path: Path, content: str, column: str, knob: str, delimiter: str | None
) -> tuple[str, list[str]]:
    """The delimiter, the one given or any, and the names of the columns in lower case."""
    line = next((line for line in io.StringIO(content, newline=None) if line.strip()), "")
    headers = {
        delimiter: [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
        for delimiter in ([delimiter] if delimiter else _DELIMITERS)
    }
    for delimiter, names in headers.items():
        lower = [name.lower() for name in names]
        if "case" in lower and column in lower:
            _refuse_twice(path, names, column, knob)
            return delimiter, lower
    found = max(headers.values(), key=len)
    raise UserError(
        f"{knob} is {path}, whose columns are {found}: expected a header with {['case', column]}"
    )


def _refuse_twice(path: Path, names: list[str], column: str, knob: str) -> None:
    for wanted in ("case", column):
        places = [place for place, name in enumerate(names, start=1) if name.lower() == wanted]
        if len(places) > 1:
            found = " and ".join(f"{names[place - 1]!r} (column {place})" for place in places)
            raise UserError(f"{knob} is {path}, whose columns {found} are one name: expected one")
