"""Works off the cells of a plan, one by one, beside any other processes that do the same."""

import hashlib
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from rubik_jax import failures, interrupts, workdir
from rubik_jax.claims import claim, holder
from rubik_jax.errors import RunError, UserError
from rubik_jax.modes.planning import Cell, in_plan
from rubik_jax.modes.training import check, rehearsal, train
from rubik_jax.report.progress import clock, say, silent

STATE = "state"  # the folder of durations and failures, outside of the runs' own
ESTIMATES, TOOK, FAILED = "estimates.json", "seconds.json", "failed.txt"
WAIT = 5  # seconds between looks at what other processes work on


class Plan(NamedTuple):
    """What is to be done.

    Attributes:
        folder: in which each cell has a folder.
        cells: those that others need before them.
        missing: a strategy or a target -> what it lacks; its cells can't be run.
    """

    folder: Path
    cells: Sequence[Cell]
    missing: Mapping[str, str]

    @property
    def runnable(self) -> list[Cell]:
        """The cells that lack nothing, finished or not."""
        return [c for c in self.cells if not {c.strategy, c.target} & self.missing.keys()]

    def finished(self, cell: Cell) -> bool:
        """Whether that run has ended and was evaluated."""
        return workdir.finished(self.folder / cell.name)

    def failure(self, cell: Cell) -> str:
        """What a run ended with, in a sentence; "" where it didn't."""
        file = self.folder / STATE / cell.name / FAILED
        return file.read_text(encoding="utf-8") if file.exists() else ""


def work(plan: Plan, costs: Mapping[str, float], after: Callable[[], None]) -> None:
    """Runs each cell that isn't finished and that nobody else is at, until none is left.

    A cell that fails is left, and so are those that need it; the next call tries them again.

    Args:
        plan: what is to be done.
        costs: the seconds that a run of each kind takes, about.
        after: called after each cell.
    """
    for cell in plan.runnable:
        (plan.folder / STATE / cell.name / FAILED).unlink(missing_ok=True)
    said = ""
    while True:
        open_cells = [c for c in plan.runnable if not plan.finished(c) and not _hopeless(plan, c)]
        if not open_cells:
            return
        if any(_take(plan, cell, open_cells, costs, after) for cell in open_cells):
            continue
        # Others are at all that is left, or at what it needs.
        holders = {c.name: holder(plan.folder / c.name) for c in open_cells}
        waiting = ", ".join(f"{name} ({who})" for name, who in holders.items() if who)
        if waiting not in ("", said):
            say(f"waiting for the runs that others are at: {waiting}")
            said = waiting
        interrupts.pause(WAIT)


def estimate(plan: Plan, config: ConfigDict) -> dict[str, float]:
    """The seconds that a run of each kind takes, by those that are finished or by a few steps.

    Args:
        plan: what is to be done.
        config: the plan's, in whose knobs is said what keeps a run from being begun.

    Raises:
        UserError: a run that can't be begun, which is better known before the first one is.
    """
    took: dict[str, list[float]] = {}
    for cell in plan.runnable:
        lasted = plan.folder / STATE / cell.name / TOOK
        if lasted.exists():
            took.setdefault(cell.kind, []).append(workdir.read(lasted)["seconds"])
    file = plan.folder / STATE / ESTIMATES
    known: dict[str, float] = workdir.read(file) if file.exists() else {}
    firsts = {c.kind: c for c in reversed(plan.runnable) if c.kind not in took}
    unknown = [cell for cell in firsts.values() if _told_apart(cell) not in known]
    for cell in unknown:
        with _refusals_in_plan(cell, config):
            check(cell.config)
    if unknown:
        kinds = ", ".join(cell.kind for cell in unknown)
        say(f"estimating by a few steps of each kind of run: {kinds}")
    for cell in unknown:
        begun = time.monotonic()
        with _refusals_in_plan(cell, config), silent():
            seconds = rehearsal(cell.config)
        known[_told_apart(cell)] = time.monotonic() - begun + seconds * cell.config.steps
        workdir.write(file, known)
    rehearsed = {kind: known[_told_apart(cell)] for kind, cell in firsts.items()}
    return rehearsed | {kind: statistics.median(each) for kind, each in took.items()}


@contextmanager
def _refusals_in_plan(cell: Cell, config: ConfigDict) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise in_plan(error, cell.run, config) from error


def _told_apart(cell: Cell) -> str:
    """A name of a cell's kind that changes with any of its knobs."""
    return f"{cell.kind} {hashlib.sha256(cell.config.to_json().encode()).hexdigest()[:12]}"


def left(plan: Plan, costs: Mapping[str, float]) -> float:
    """The seconds that the cells which aren't finished take, one after another."""
    return sum(costs[cell.kind] for cell in plan.runnable if not plan.finished(cell))


def _hopeless(plan: Plan, cell: Cell) -> bool:
    """Whether it has failed, or what it needs."""
    needed = [each for each in plan.cells if each.name in cell.needs]
    return any(plan.failure(each) or each not in plan.runnable for each in [cell, *needed])


def _take(
    plan: Plan,
    cell: Cell,
    open_cells: Sequence[Cell],
    costs: Mapping[str, float],
    after: Callable[[], None],
) -> bool:
    """Runs a cell, if it can be run and nobody else is at it; returns whether it did."""
    if any(other.name in cell.needs for other in open_cells):
        return False
    home = plan.folder / STATE / cell.name
    with claim(plan.folder / cell.name) as mine:
        if not mine or plan.finished(cell) or plan.failure(cell):
            return False
        place = len(plan.runnable) - len(open_cells) + 1
        about = clock(left(plan, costs))
        say(f"\n{cell.name}: run {place} of {len(plan.runnable)}, about {about} left for all")
        fresh, begun = not workdir.begun(plan.folder / cell.name), time.monotonic()
        reason = _run(plan.folder / cell.name, cell)
        if reason:
            say(f"warning: {cell.name} failed: {reason.splitlines()[0]}")
            home.mkdir(parents=True, exist_ok=True)
            home.joinpath(FAILED).write_text(reason, encoding="utf-8")
        elif fresh:
            workdir.write(home / TOOK, {"seconds": time.monotonic() - begun})
    after()
    return True


def _run(folder: Path, cell: Cell) -> str:
    """Trains and evaluates; returns why it failed, if it did, the first line a sentence."""
    try:
        train(folder, cell.config, cell.command, dry_run=False)
    except (UserError, RunError) as error:
        return str(error)
    except Exception as error:  # one run that is out of memory, say, is not the others' end
        known = failures.known(error, folder, cell.config.to_dict())
        return f"{known or f'{type(error).__name__}: {error}'}\n\n{traceback.format_exc()}"
    finally:
        jax.clear_caches()  # what was compiled for this run is of no use to the next
    return ""
