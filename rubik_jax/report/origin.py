"""The weights a run started from: what became of every array, in sum and one by one."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rubik_jax.report import markup
from rubik_jax.report.estimate import number

MEANINGS = {
    "loaded": "as they were",
    "adapted": "to another number of channels",
    "new": "initialised, not in the source",
    "differs": "initialised, of another shape in the source",
    "unused": "in the source alone",
}

Row = Mapping[str, Any]


def section(description: Mapping[str, Any]) -> str:
    """The transfer as HTML; empty for a run from scratch.

    Args:
        description: what the evaluated checkpoint says of itself. Its "transfer" is the table as
            it was printed, its "transfer_rows" the same as data, the members of `transfer.Row`;
            runs of earlier versions have the former alone.
    """
    if "transfer" not in description:
        return ""
    title, rows = "Where the weights come from", description.get("transfer_rows")
    if rows is None:
        return markup.section(title, markup.details("Array by array", description["transfer"]))
    source = description["transfer"].partition("\n")[0].removesuffix(":")
    whole = markup.table(
        ["status", "source", "target", "norm", ""], {row["name"]: _cells(row) for row in rows}
    )
    return markup.section(
        title,
        markup.words(f"{source[:1].upper()}{source[1:]}."),
        markup.table(["arrays", "parameters", "which are"], _summary(rows)),
        markup.fold(f"All {len(rows)} arrays", whole),
    )


def _summary(rows: Sequence[Row]) -> dict[str, list[str]]:
    """A row for each status and each part of a network, with counts; what was loaded first."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: [*MEANINGS].index(row["status"])):
        found.setdefault((row["name"].partition("/")[0], row["status"]), []).append(row)
    return {
        f"{part}, {status}": [
            str(len(those)),
            number(sum(math.prod(_shape(row)) for row in those)),
            MEANINGS[status],
        ]
        for (part, status), those in found.items()
    }


def _shape(row: Row) -> Sequence[int]:
    return row["source"] if row["target"] is None else row["target"]


def _cells(row: Row) -> list[str]:
    shapes = ("–" if s is None else "×".join(map(str, s)) for s in (row["source"], row["target"]))
    return [row["status"], *shapes, f"{row['norm']:.4g}", row["note"]]
