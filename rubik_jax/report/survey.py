"""What a cohort consists of, to be taken in at a glance before an hour goes into preparing it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from rubik_jax.data.outliers import amount, called, times
from rubik_jax.report import progress

WORST = 10  # cases that stand apart, or were skipped
REASONS = 3  # of a case
SHOWN = 20  # labels
MANY = 8  # labels, too many to name in a line
SAMPLE = 3  # cases that are as they should be
INTENSITIES = ("least", "0.5 %", "mean", "99.5 %", "most", "foreground")
MEDIANS = "least and most of all cases, the rest of the median case"
LABELS = ("cases", "voxels", "share", "mm³, least", "median", "most")

Facts = Mapping[str, Any]


def show(
    names: Sequence[str],
    facts: Sequence[Facts],
    *,
    reasons: Mapping[str, Sequence[str]],
    skipped: Mapping[str, str],
    estimate: Sequence[str] = (),
) -> None:
    """Prints the cohort in figures, the cases that stand apart, those left out, and the cost.

    Args:
        names: of the cases.
        facts: of each, as `data.facts.describe` gives them.
        reasons: what sets cases apart, the gravest first, as `data.outliers.find` gives it.
        skipped: the cases that can't be used, and why.
        estimate: lines on what preparing them takes.
    """
    if facts:
        _print(_pairs(summary(facts).items()))
        _print(_columns("intensities", INTENSITIES, intensities(facts)))
        progress.say(f"({MEDIANS})")
        if any(of["labels"] is not None for of in facts):
            _print(_columns("labels", LABELS, labels(facts)))
        _cases(dict(zip(names, facts, strict=True)), reasons)
    if skipped:
        progress.say(f"\n{_plural(len(skipped), 'case')} can't be used:")
        _print(_pairs([*skipped.items()][:WORST], style="bold red"), gap=False)
        _more(len(skipped), WORST)
    if estimate:
        progress.say("\n" + "\n".join(estimate))


def summary(facts: Sequence[Facts]) -> dict[str, str]:
    """Name -> what the cases have of it: their number, shapes, spacings, kinds of files."""
    channels = len(facts[0]["channels"])
    masks = sum(of["labels"] is not None for of in facts)
    spacing = np.array([of["spacing"] for of in facts])
    shape = np.array([of["shape"] for of in facts])
    strangers = passed_over(facts)
    return {
        "cases": f"{len(facts)} of {_plural(channels, 'modality', 'modalities')}, "
        f"{masks or 'none'} with a mask",
        "voxels": _spread(shape),
        "spacing, mm": _spread(spacing),
        "extent, mm": _spread(shape * spacing),
        "format": _counted(of["format"] for of in facts),
        "type": _counted(of["dtype"] for of in facts),
        "orientation": _counted(of["orientation"] for of in facts),
        **({"passed over": strangers} if strangers else {}),
    }


def passed_over(facts: Sequence[Facts]) -> str:
    """How many files of which kinds lie beside volumes and are no part of them; "" for none."""
    names = [name for of in facts for name in of.get("passed_over", ())]
    if not names:
        return ""
    kinds = _counted(name.rpartition("(")[2].rstrip(")") for name in names)
    return f"{_plural(len(names), 'file')} beside volumes: {kinds}; the first is {names[0]}"


def intensities(facts: Sequence[Facts]) -> dict[str, tuple[str, ...]]:
    """Channel -> `INTENSITIES`: the least and the most of all cases, the rest in their median."""
    rows = {}
    for k in range(len(facts[0]["channels"])):
        channels = [of["channels"][k] for of in facts]
        low, mean, high, share = (
            np.median([channel[key] for channel in channels])
            for key in ("low", "mean", "high", "foreground")
        )
        least = min(channel["min"] for channel in channels)
        most = max(channel["max"] for channel in channels)
        rows[called(facts[0], k)] = (*map(amount, (least, low, mean, high, most)), f"{share:.0%}")
    return rows


def labels(facts: Sequence[Facts]) -> dict[str, tuple[str, ...]]:
    """Label -> `LABELS`: in how many cases, how much of all masks, and how large in one case."""
    masks = [of for of in facts if of["labels"] is not None]
    total = sum(sum(of["labels"].values()) for of in masks)
    rows = {}
    for label in sorted({label for of in masks for label in of["labels"]}, key=int):
        there = [of for of in masks if label in of["labels"]]
        voxels = sum(of["labels"][label] for of in there)
        volumes = [of["labels"][label] * np.prod(of["spacing"]) for of in there]
        sizes = (np.min(volumes), np.median(volumes), np.max(volumes))
        share = f"{amount(100 * voxels / total)} %"
        rows[label] = (str(len(there)), f"{voxels:,}", share, *map(amount, sizes))
    return rows


def line(facts: Facts, *, intensities: bool = True) -> str:
    """A case in one line, with its channels' ranges or without."""
    said = [
        f"{times(facts['shape'])} voxels of {times(facts['spacing'])} mm",
        f"{facts['format']} {facts['dtype']} {facts['orientation']}",
    ]
    if intensities:
        ranges = (f"{amount(of['low'])} to {amount(of['high'])}" for of in facts["channels"])
        said.append(", ".join(ranges))
    if facts["labels"] is not None:
        found = sorted(map(int, facts["labels"]))
        listed, span = ", ".join(map(str, found)), f"{found[0]} to {found[-1]}"
        if len(found) > 2 and found[-1] - found[0] + 1 == len(found):
            listed = span
        many = len(found) > MANY
        said.append(f"{len(found)} labels from {span}" if many else f"labels {listed}")
    return "; ".join(said)


def headline(reasons: Mapping[str, Sequence[str]], count: int) -> str:
    """How many cases stand apart."""
    if not reasons:
        return "No case stands apart from the others."
    verb = "stands" if len(reasons) == 1 else "stand"
    return f"{len(reasons)} of {_plural(count, 'case')} {verb} apart:"


def _cases(facts: Mapping[str, Facts], reasons: Mapping[str, Sequence[str]]) -> None:
    """Why some stand apart, and a few of the others."""
    progress.say(f"\n{headline(reasons, len(facts))}")
    alike: dict[str, list[str]] = {}
    for name, why in reasons.items():
        alike.setdefault(_joined(why), []).append(name)
    rows = [(names[0], why + _likewise(names[1:])) for why, names in alike.items()][:WORST]
    _print(_pairs(rows, style="bold yellow"), gap=False)
    shown = sum(map(len, [*alike.values()][:WORST]))
    _more(len(reasons), shown, ", in data_report.html, which preparing writes")
    others = [name for name in facts if name not in reasons][:SAMPLE]
    if others:
        progress.say("\nOf the others:" if reasons else "\nThe first of them:")
        _print(_pairs((name, line(facts[name])) for name in others), gap=False)


def _likewise(names: Sequence[str]) -> str:
    """The other cases of the same reasons, the first of them by name."""
    if not names:
        return ""
    more = f" and {len(names) - REASONS} more" if len(names) > REASONS else ""
    return f"\nlikewise {', '.join(names[:REASONS])}{more}"


def _spread(values: np.ndarray) -> str:
    """Sizes along the axes, [n, 3], by their median, least and most on each axis."""
    middle, least, most = (times(of) for of in np.quantile(values, (0.5, 0, 1), axis=0))
    return f"{middle} in all" if least == most else f"{middle}, from {least} to {most}"


def _counted(values: Iterable[str]) -> str:
    return ", ".join(f"{value} ({count})" for value, count in Counter(values).most_common())


def _plural(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _joined(reasons: Sequence[str]) -> str:
    more = len(reasons) - REASONS
    return "\n".join([*reasons[:REASONS], *([f"and {more} more"] if more > 0 else [])])


def _more(count: int, shown: int, where: str = "") -> None:
    if count > shown:
        progress.say(f"… and {count - shown} more{where}")


def _pairs(rows: Iterable[tuple[str, str]], style: str = "") -> Table:
    """Names, and beside each what's said of it, wrapped where it's long."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(overflow="fold", max_width=28)
    grid.add_column(overflow="fold")
    for name, said in rows:
        grid.add_row(Text(name, style), Text(said))
    return grid


def _columns(what: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Table:
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    grid.add_column(what)
    for column in columns:
        grid.add_column(column, justify="right")
    for name, cells in [*rows.items()][:SHOWN]:
        grid.add_row(Text(name), *cells)
    if len(rows) > SHOWN:
        grid.add_row(f"… {len(rows) - SHOWN} more")
    return grid


def _print(table: Table, gap: bool = True) -> None:
    if gap:
        progress.say("")
    progress.console.print(table, soft_wrap=False)
