"""What the page of strategies is made from, and what of it each row and cell says."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from rubik_jax.metrics.paired import Difference, Result, Summary, difference, summarise

LEAST = 10  # test cases, for an interval that something can be said by


class Strategy(NamedTuple):
    """A row: how the encoder was pre-trained, if it was.

    note: what is missing or what stands in, as a sentence under the table.
    """

    key: str
    name: str
    note: str = ""


class Answer(NamedTuple):
    """The test accuracy of one answer of a proxy task, as shares in [0, 1].

    values: one for each pre-training, that is each seed.
    paper: the paper's by its cohort.
    """

    name: str
    chance: float
    values: tuple[float, ...]
    paper: Mapping[str, float] = {}


class Proxy(NamedTuple):
    """What a strategy's own task came to; `state` says why it's open, or partly."""

    strategy: str
    answers: tuple[Answer, ...]
    state: str = ""


class Target(NamedTuple):
    """What the strategies are for.

    measure: of a case, as "foreground mIoU".
    paper_of: what the paper measured, as "BraTS-2018 mIoU".
    paper: key of a strategy -> the paper's figure, a share in [0, 1].
    """

    key: str
    name: str
    measure: str
    paper_of: str
    paper: Mapping[str, float]


class Tables(NamedTuple):
    """All that the page shows.

    title: of the page.
    about: cohort, cases of each part, versions and date in a line.
    strategies: the rows of the second table, in their order.
    proxies: the rows of the first.
    targets: the groups of columns.
    labelled: how many labels there were, each "8", "10%" or "all": a table each.
    counts: the labelled cases that these are, where it's known.
    seeds: that were planned.
    results: of the runs that are finished.
    states: (strategy, target, labelled) -> why its cell is open, or partly; without it only how
        many of its runs are finished is said.
    scratch: key of the strategy that the others are compared with.
    command: of the whole plan.
    runs: name of each run -> its exact command.
    """

    title: str
    about: str
    strategies: tuple[Strategy, ...]
    proxies: tuple[Proxy, ...]
    targets: tuple[Target, ...]
    labelled: tuple[str, ...]
    counts: Mapping[str, int]
    seeds: tuple[int, ...]
    results: tuple[Result, ...]
    states: Mapping[tuple[str, str, str], str]
    scratch: str
    command: str
    runs: Mapping[str, str]


class Cell(NamedTuple):
    """What a strategy came to on a target with so many labels.

    gain: over scratch; None for scratch itself, and without runs of the same seed to compare.
    paper, paper_gain: the paper's figure, and by how much it is above the paper's scratch; NaN
        where it has none.
    notes: sentences on what is open or partial.
    """

    summary: Summary
    gain: Difference | None
    paper: float
    paper_gain: float
    notes: tuple[str, ...]


def results(tables: Tables, strategy: str, target: str, labelled: str) -> list[Result]:
    """The finished runs of a cell."""
    return [r for r in tables.results if r[:3] == (strategy, target, labelled)]


def cells(tables: Tables) -> dict[tuple[str, str, str], Cell]:
    """(strategy, target, labelled) -> the cell, finished or open."""
    return {
        (strategy.key, target.key, labelled): _cell(tables, strategy.key, target, labelled)
        for labelled in tables.labelled
        for strategy in tables.strategies
        for target in tables.targets
    }


def _cell(tables: Tables, strategy: str, target: Target, labelled: str) -> Cell:
    ours = results(tables, strategy, target.key, labelled)
    summary, gain = summarise(ours), None
    if strategy != tables.scratch:
        gain = difference(ours, results(tables, tables.scratch, target.key, labelled))
    paper, of_scratch = (target.paper.get(key, math.nan) for key in (strategy, tables.scratch))
    few = f"{summary.seeds} of {times(len(tables.seeds), 'run')}"
    complete = summary.seeds >= len(tables.seeds)
    state = tables.states.get((strategy, target.key, labelled)) or ("" if complete else few)
    notes = [state] if state else []
    if gain and gain.seeds < summary.seeds:
        notes.append(f"the difference is over {times(gain.seeds, 'seed')}, which scratch has too")
    above = math.nan if strategy == tables.scratch else paper - of_scratch
    return Cell(summary, gain, paper, above, tuple(notes))


def stands_out(gain: Difference | None) -> bool:
    """Whether the interval of a difference excludes 0, as it is printed, and can be believed."""
    if gain is None or not with_interval(gain) or gain.cases < LEAST:
        return False
    return round(100 * gain.low, 1) > 0 or round(100 * gain.high, 1) < 0


def with_interval(gain: Difference | None) -> bool:
    """Whether a difference has an interval at all."""
    return gain is not None and not math.isnan(gain.low)


def labels(tables: Tables, labelled: str) -> str:
    """So many labels, in words."""
    count = tables.counts.get(labelled)
    if labelled.isdigit():
        return times(int(labelled), "labelled case")
    said = "all labels" if labelled == "all" else f"{labelled} of the labels"
    return said if count is None else f"{said} ({times(count, 'case')})"


def cases(tables: Tables, target: str) -> str:
    """How many test cases its runs have a measure of, in words; nothing if there are no runs."""
    counts = {
        sum(not math.isnan(x) for x in r.cases.values())
        for r in tables.results
        if r.target == target
    }
    if not counts:
        return ""
    least, most = min(counts), max(counts)
    return times(most, "test case") if least == most else f"{least} to {most} test cases"


def times(count: int, what: str) -> str:
    """So many of it."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def percent(share: float) -> str:
    """As the paper prints it: 83.8 for 0.838."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}".replace("-", "−")


def points(share: float) -> str:
    """A difference in points of a hundred, with its sign; a minus as wide as a plus."""
    if math.isnan(share):
        return "–"
    return f"{round(100 * share, 1) + 0.0:+.1f}".replace("-", "−")  # and no −0.0


def spread(summary: Summary) -> str:
    """Mean ± standard deviation (seeds), as 83.8 ± 0.4 (3)."""
    if not summary.seeds:
        return "–"
    deviation = "" if math.isnan(summary.spread) else f" ± {percent(summary.spread)}"
    return f"{percent(summary.mean)}{deviation} ({summary.seeds})"


def interval(gain: Difference | None) -> str:
    """A difference with its interval, as +2.1 [+0.4, +3.9]."""
    if gain is None:
        return "–"
    ends = f" [{points(gain.low)}, {points(gain.high)}]" if with_interval(gain) else ""
    return points(gain.mean) + ends


def explained(tables: Tables, of_cells: Mapping[tuple[str, str, str], Cell]) -> list[str]:
    """How the tables are to be read, a paragraph each."""
    gains = [cell.gain for cell in of_cells.values() if with_interval(cell.gain)]
    bold, scratch = sum(map(stands_out, gains)), {s.key: s.name for s in tables.strategies}
    return [
        "Each row is another start of the same network. The labelled cases, the steps, the "
        "augmentations, the seeds and the test cases are the same in every row. Labelled are those "
        "cases that are trained on; the best step is chosen on the validation cases, which have "
        "answers too. A raised number is that of a note below the table.",
        "83.8 ± 0.4 (3) is the mean over the test cases and over n = 3 runs, which differ in their "
        "seed, in percent; 0.4 is the sample standard deviation of the three means.",
        f"+2.1 [+0.4, +3.9] is the difference to {scratch[tables.scratch]!r} in points, paired: "
        "runs of the same seed on the same test cases. In brackets is its 95 % interval, by "
        "bootstrap over the test cases. It says how far the difference would move with other test "
        "cases. It does not say how far it would with other seeds, labelled cases or "
        "pre-trainings, which may be further.",
        f"This page has {times(len(gains), 'such interval')}; 0 is outside {bold} of those over "
        f"{LEAST} test cases or more, printed bold: fewer have too few different draws. If no "
        "strategy differed from scratch at all, it would be outside one in twenty by the draw of "
        f"test cases, about {len(gains) / 20:.2g} here, and outside more by that of seeds. A bold "
        "one is worth a second look with more seeds, and no more than that.",
        "The paper's figures come from its own data and networks, with all of its labels. How far "
        "it is above its own scratch can be set beside our difference; its figures can't be set "
        "beside ours.",
    ]
