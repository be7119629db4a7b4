"""The page that compares strategies, `tables.md` and `tables.html`: the paper's two tables."""

import itertools
import math
import string
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import NamedTuple

from rubik_jax.data.writing import replacing
from rubik_jax.metrics.paired import over_seeds
from rubik_jax.report import efficiency, markup
from rubik_jax.report.comparison import (
    Answer,
    Cell,
    Proxy,
    Strategy,
    Tables,
    Target,
    cases,
    cells,
    explained,
    interval,
    labels,
    percent,
    points,
    spread,
    stands_out,
    times,
)

__all__ = ["Answer", "Proxy", "Strategy", "Tables", "Target", "html", "markdown", "write"]

MARKDOWN, HTML = "tables.md", "tables.html"
RAISED = str.maketrans(string.digits, "⁰¹²³⁴⁵⁶⁷⁸⁹")

BOLD = "Bold: 0 is outside the interval, as it is for one in twenty or more by chance alone."


Cells = Mapping[tuple[str, str, str], Cell]


class Text(NamedTuple):
    """What stands in a cell, or at the head of a column: a line, perhaps another below it."""

    above: str
    below: str = ""
    bold: bool = False  # the line below


class Grid(NamedTuple):
    """A table as it's printed; a mark in it, as ², stands for the second of the notes below.

    groups: what stands over so many neighbouring columns; there may be none.
    """

    title: str
    groups: tuple[tuple[Text, int], ...]
    columns: tuple[Text, ...]
    rows: tuple[tuple[str, tuple[Text, ...]], ...]
    notes: tuple[str, ...]
    remark: str = ""


def write(folder: Path, tables: Tables) -> None:
    """Writes `tables.md` and `tables.html` into a folder, each whole or not at all.

    Raises:
        UserError: the folder can't be written.
    """
    of_cells = cells(tables)  # whose intervals take most of the time
    texts = {MARKDOWN: _markdown(tables, of_cells), HTML: _html(tables, of_cells)}
    for name, text in texts.items():
        with replacing(folder / name) as file:
            file.write(text.encode())


def markdown(tables: Tables) -> str:
    """The tables as Markdown, without the pictures."""
    return _markdown(tables, cells(tables))


def html(tables: Tables) -> str:
    """The tables, and pictures of what labels are worth, as one page that needs no network."""
    return _html(tables, cells(tables))


def _markdown(tables: Tables, of_cells: Cells) -> str:
    parts = [f"# {tables.title}", tables.about]
    for grid in _grids(tables, of_cells):
        numbered = "\n".join(f"{i}. {note}" for i, note in enumerate(grid.notes, 1))
        parts += [f"## {grid.title}", _piped(grid), grid.remark, numbered]
    parts += ["## How to read this", *explained(tables, of_cells)]
    parts += ["## How it was run", f"```\n{tables.command}\n```"]
    parts += [f"```\n{_commands(tables)}\n```" if tables.runs else ""]
    return "\n\n".join(filter(None, parts)) + "\n"


def _html(tables: Tables, of_cells: Cells) -> str:
    sections = []
    for grid in _grids(tables, of_cells):
        notes = "".join(f"<li>{escape(note)}</li>" for note in grid.notes)
        listed = f"<ol>{notes}</ol>" if notes else ""
        remark = f"<p>{escape(grid.remark)}</p>" if grid.remark else ""
        sections.append(markup.section(grid.title, _marked_up(grid), remark, listed))
    drawn = ((target.name, efficiency.draw(tables, target)) for target in tables.targets)
    figures = [f"<h3>{escape(name)}</h3><figure>{svg}</figure>" for name, svg in drawn if svg]
    if figures:
        note = "<p>Bars: the standard deviation over seeds, where there are several.</p>"
        sections.append(markup.section("What labels are worth", note, *figures))
    paragraphs = (f"<p>{escape(said)}</p>" for said in explained(tables, of_cells))
    sections.append(markup.section("How to read this", *paragraphs))
    told = f"The command of each of its {times(len(tables.runs), 'run')}"
    commands = markup.details(told, _commands(tables)) if tables.runs else ""
    command = f"<pre>{escape(tables.command)}</pre>"
    sections.append(markup.section("How it was run", command, commands))
    return "".join(markup.stream(tables.title, tables.about, sections, _STYLE))


def _grids(tables: Tables, of_cells: Cells) -> list[Grid]:
    """The table of the proxies, if there are any, and that of each number of labels."""
    letters = string.ascii_lowercase if len(tables.labelled) > 1 else ("",)
    compared = [
        _compared(tables, of_cells, labelled, f"Table 2{letters[i]}")
        for i, labelled in enumerate(tables.labelled)
    ]
    return ([_proxies(tables)] if tables.proxies else []) + compared


def _proxies(tables: Tables) -> Grid:
    """A row for each answer of each proxy, or one that says why there are none."""
    strategies = {strategy.key: strategy for strategy in tables.strategies}
    answers = [answer for proxy in tables.proxies for answer in proxy.answers]
    cohorts = list(dict.fromkeys(cohort for answer in answers for cohort in answer.paper))
    columns = ["answer", "mean ± spread (n)", "chance", *(f"paper: {c}" for c in cohorts)]
    rows, numbers = [], {}
    for proxy in tables.proxies:
        strategy = strategies[proxy.strategy]
        name = strategy.name + _mark(numbers, strategy.note, proxy.state)
        for answer in proxy.answers:
            of_paper = (percent(answer.paper.get(cohort, math.nan)) for cohort in cohorts)
            accuracy = spread(over_seeds(answer.values))
            texts = (answer.name, accuracy, percent(answer.chance), *of_paper)
            rows.append((name, tuple(map(Text, texts))))
            name = ""
        if not proxy.answers:
            rows.append((name, (Text("–"),) * len(columns)))
    title = "Table 1. The proxies' own tasks: test scores, %"
    return Grid(title, (), tuple(map(Text, columns)), tuple(rows), tuple(numbers))


def _compared(tables: Tables, of_cells: Cells, labelled: str, number: str) -> Grid:
    """A row for each strategy, with what it came to on each target."""
    groups, columns, rows, numbers = [], [], [], {}
    for target in tables.targets:
        about = ", ".join(filter(None, [target.measure, cases(tables, target.key)]))
        about += f"; paper: {target.paper_of}" if target.paper else ""
        groups.append((Text(target.name, about), 2 if target.paper else 1))
        columns.append(Text("mean ± spread (n)", "to scratch [95 %]"))
        columns += [Text("paper", "to scratch")] if target.paper else []
    for strategy in tables.strategies:
        name = strategy.name + _mark(numbers, strategy.note)
        texts = []
        for target in tables.targets:
            cell = of_cells[strategy.key, target.key, labelled]
            value = spread(cell.summary) + _mark(numbers, *cell.notes)
            reference = strategy.key == tables.scratch
            gain = "" if reference or not cell.summary.seeds else interval(cell.gain)
            texts.append(Text(value, gain, stands_out(cell.gain)))
            if target.paper:
                above = "" if math.isnan(cell.paper_gain) else points(cell.paper_gain)
                texts.append(Text(percent(cell.paper), above))
        rows.append((name, tuple(texts)))
    title = f"{number}. The strategies with {labels(tables, labelled)}, %"
    remark = BOLD if any(text.bold for _, texts in rows for text in texts) else ""
    return Grid(title, tuple(groups), tuple(columns), tuple(rows), tuple(numbers), remark)


def _mark(numbers: dict[str, int], *notes: str) -> str:
    """The numbers of notes, which those that are new here get."""
    marks = (numbers.setdefault(note, len(numbers) + 1) for note in notes if note)
    return "˒".join(str(mark).translate(RAISED) for mark in marks)


def _commands(tables: Tables) -> str:
    return "\n\n".join(f"# {name}\n{command}" for name, command in tables.runs.items())


def _piped(grid: Grid) -> str:
    """A table of Markdown, in which what stands below has a column of its own."""
    heads = list(grid.columns)
    starts = itertools.accumulate((n for _, n in grid.groups), initial=0)
    for start, (group, _) in zip(starts, grid.groups, strict=False):
        first = heads[start]
        heads[start] = Text(f"{group.above} ({group.below}): {first.above}", first.below)
    double = [bool(column.below) for column in grid.columns]

    def line(name: str, texts: Iterable[Text]) -> str:
        parts = [name]
        for text, two in zip(texts, double, strict=True):
            below = f"**{text.below}**" if text.bold else text.below
            parts += [text.above, below] if two else [text.above]
        return "| " + " | ".join(part.replace("|", "\\|") for part in parts) + " |"

    rule = "| --- " + "| ---: " * sum(1 + two for two in double) + "|"
    return "\n".join([line("", heads), rule, *(line(*row) for row in grid.rows)])


def _marked_up(grid: Grid) -> str:
    """A table of HTML, in which what stands below is small."""
    over = "".join(f'<th colspan="{n}">{_lines(group)}</th>' for group, n in grid.groups)
    head = f"<tr><th></th>{over}</tr>\n" if over else ""
    columns = "".join(f"<th>{_lines(text)}</th>" for text in grid.columns)
    rows = "\n".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{_lines(text)}</td>' for text in texts)}</tr>"
        for name, texts in grid.rows
    )
    body = f"{head}<tr><th></th>{columns}</tr>\n{rows}"
    return f'<div class="wide"><table class="strategies">{body}</table></div>'


def _lines(text: Text) -> str:
    below = f"<b>{escape(text.below)}</b>" if text.bold else escape(text.below)
    return escape(text.above) + (f"<small>{below}</small>" if below else "")


_STYLE = """
.strategies { font-size: .95rem }
.strategies th, .strategies td { padding: .3rem .75rem .3rem 0; vertical-align: top }
.strategies [colspan], .strategies th:first-child { white-space: normal }
.strategies th:first-child { min-width: 9rem }
.strategies [colspan] { color: inherit; padding-left: 1.5rem }
.strategies small { display: block; font-size: .8rem; color: var(--faint) }
.strategies b { color: CanvasText }
.strategies td:nth-child(2) { font-weight: inherit }
h3 { margin: 1.5rem 0 .25rem; font-size: 1rem }
ol { font-size: .9rem; color: var(--faint); padding-left: 1.5rem }
"""
