"""What a run has cost: its time by what went on, its rate over the steps, its memory."""

from collections.abc import Sequence
from html import escape

import matplotlib

from rubik_jax.report import markup
from rubik_jax.report.curves import Line, Record, lines, panels
from rubik_jax.report.drawing import AMBER, BLUE, OTHERS, STYLE, svg
from rubik_jax.report.estimate import size
from rubik_jax.report.progress import clock
from rubik_jax.report.stopwatch import ACTIVITIES

COLOURS = dict(zip(ACTIVITIES, (BLUE, AMBER, *OTHERS), strict=False))
MEMORY = {"device_bytes": "of a device's own memory", "process_bytes": "of the host's memory"}
RATE = "_per_second"


def section(records: Sequence[Record]) -> str:
    """Time, rate and memory as HTML; empty where none was recorded.

    Args:
        records: as `report.records.read` gives them. Those of part "time" hold the seconds by
            activity since the one before, and the most memory so far.
    """
    spent = [record for record in records if record["part"] == "time"]
    train = [record for record in records if record["part"] == "train"]
    parts = [_times(spent), _memory(spent)] if spent else []
    rates = list(dict.fromkeys(k for record in train for k in record if k.endswith(RATE)))
    if rates:
        note = "Rate of training between two records, evaluating and saving apart."
        parts.append(markup.figure(draw(train, rates[0]), note))
    return markup.section("Cost", *parts) if parts else ""


def seconds(records: Sequence[Record]) -> dict[str, float]:
    """The seconds of each activity over all records, those that took none left out."""
    sums = {name: sum(record.get(name, 0.0) for record in records) for name in ACTIVITIES}
    return {name: of for name, of in sums.items() if of > 0}


def draw(train: Sequence[Record], key: str) -> str:
    """A rate over the steps, e.g. of "cubes_per_second", as an `<svg>` element."""
    unit = key.removesuffix(RATE)
    with matplotlib.rc_context(STYLE):
        (axes,) = panels(1, max(record["step"] for record in train), height=2.0)
        axes.set_title(f"{unit} per second", loc="left", fontweight="bold")
        axes.set_ylim(0, 1.1 * max(record.get(key, 0.0) for record in train) or 1)
        lines(axes, [], train, [Line(key, "last", BLUE)], "{:.3g}")
        return svg(axes.figure)


def _times(spent: Sequence[Record]) -> str:
    """One bar of all activities, and a row for each."""
    found = seconds(spent)
    whole = sum(found.values())
    bar = "".join(
        f'<span style="width:{of / whole:.3%};background:{COLOURS[name]}"></span>'
        for name, of in found.items()
    )
    rows = "".join(
        f'<tr><th><span class="sample" style="background:{COLOURS[name]}"></span>'
        f"{escape(ACTIVITIES[name])}</th><td>{clock(of)}</td><td>{of / whole:.1%}</td></tr>\n"
        for name, of in found.items()
    )
    return (
        f'<div class="bar">{bar}</div>\n<div class="wide"><table class="time">'
        f"<tr><th></th><th>time</th><th>share</th></tr>\n{rows}"
        f"<tr><th>in all</th><td>{clock(whole)}</td><td></td></tr></table></div>"
    )


def _memory(spent: Sequence[Record]) -> str:
    most = {key: max((record.get(key, 0) for record in spent), default=0) for key in MEMORY}
    said = [f"{size(of)} {MEMORY[key]}" for key, of in most.items() if of]
    return (
        "<p>Of the training up to the last stop; judging the test cases comes on top. At most "
        f"{' and '.join(said)} was in use.</p>"
    )
