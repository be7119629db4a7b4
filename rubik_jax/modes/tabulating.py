"""The paper's tables on a cohort: says the plan, works it off, writes what the runs came to."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from rubik_jax import workdir
from rubik_jax.data.cases import Case
from rubik_jax.data.sources import Listing
from rubik_jax.data.split import Split, check_classes, limit, make_split
from rubik_jax.errors import UserError
from rubik_jax.modes import cohort
from rubik_jax.modes.opening import answered_by
from rubik_jax.modes.planning import STRATEGIES, TARGETS, Shipped, in_plan, make_plan, name_of
from rubik_jax.modes.splitting import split_of
from rubik_jax.modes.tallying import tally
from rubik_jax.modes.working import Plan, estimate, left, work
from rubik_jax.report import strategies
from rubik_jax.report.progress import clock, say

ANSWERS = {
    "classify": "classes: expected them in config.data.labels",
    "segment": "masks: expected them in config.data.masks",
}


def tabulate(
    folder: Path, config: ConfigDict, command: str, shipped: Shipped, *, dry_run: bool
) -> int:
    """Runs what of the plan isn't done yet, and writes the tables anew after each run.

    Args:
        folder: the plan's; each cell is an ordinary run below it.
        config: as configs/tables.py gives it.
        command: that was given.
        shipped: gives the configs that the cells' commands are told from.
        dry_run: whether to say the plan and what it takes, and leave it at that.

    Returns:
        How many cells failed.

    Raises:
        UserError: a folder that is a run, a plan that can't be, another split than the plan was
            begun with, a run below it that has another config than the plan's, or a cohort that
            can't be read.
    """
    if workdir.begun(folder):
        raise UserError(f"--workdir={folder} is a run; expected a folder of the plan's own")
    cells = make_plan(folder, config, shipped)
    for cell in cells:  # also one that is finished, which nobody would look at again
        workdir.check(folder / cell.name, json.loads(cell.config.to_json()))
    listing = cohort.list_cases(config.pretrain)
    plan = Plan(folder, cells, find_missing(config, listing.cases))
    if not plan.runnable:
        raise UserError(f"nothing of the plan can be run: {next(iter(plan.missing.values()))}")
    _divide(plan, config, listing)
    costs = estimate(plan, config)
    _say_plan(plan, config, costs)
    if dry_run:
        say("this was a dry run: nothing was trained")
        return 0
    workdir.write(folder / workdir.CONFIG, config.to_dict())
    write = partial(_write, plan, config, command)
    write()
    work(plan, costs, write)
    write()  # others' last runs may have ended since
    failed = [cell for cell in plan.runnable if plan.failure(cell)]
    for cell in failed:
        say(f"warning: {cell.name} failed: {plan.failure(cell).splitlines()[0]}")
    say(f"tables      {folder / strategies.HTML}, {folder / strategies.MARKDOWN}")
    return len(failed)


def _divide(plan: Plan, config: ConfigDict, listing: Listing) -> None:
    """Draws the split that all cells on the cohort take over, or keeps that of a plan begun.

    Raises:
        UserError: no split comes of it, it isn't drawn as the plan's was, or it leaves fewer cases
            to train on than are asked for.
    """
    begun = plan.folder / workdir.CONFIG
    options = json.loads(config.data.split.to_json())
    new = not begun.exists()
    if not new:
        # The runs take the split from the plan, so that their own configs don't tell.
        then, now = (workdir.flat({"data": {"split": of}}) for of in (_split_of(begun), options))
        if workdir.differing(plan.folder, then, now):
            raise UserError(
                f"--workdir={plan.folder} holds a plan with another config.data.split; expected "
                "the same, or another folder"
            )
        parts = split_of(plan.folder)
    else:  # what a dry run left may be of other knobs
        options["classify"] = any(cell.run == "classify" for cell in plan.runnable)
        parts = make_split(listing.cases, **options, absent=listing.skipped.keys())
    for task in {cell.run for cell in plan.runnable if cell.target}:
        answered = answered_by(listing.cases, task)
        there = {case.name for case in answered}
        labelled = Split(*(tuple(name for name in part if name in there) for part in parts))
        checked = new and task == "classify"  # what began otherwise goes on
        targets = {c.name: c.target for c in answered} if checked else None
        try:
            if targets:
                check_classes(labelled, targets)
            for amount in config.labelled:
                limit(labelled, amount, config.data.split.seed, targets)
        except UserError as error:
            raise in_plan(error, task, config) from error
    if new:
        workdir.write(plan.folder / workdir.SPLIT, parts._asdict())


def _split_of(config: Path) -> dict[str, Any]:
    return workdir.read(config)["data"]["split"]


def _write(plan: Plan, config: ConfigDict, command: str) -> None:
    strategies.write(plan.folder, tally(plan, config, command))


def find_missing(config: ConfigDict, cases: Sequence[Case]) -> dict[str, str]:
    """The strategies whose data, and the targets whose answers, aren't there -> what is missing."""
    missing = {}
    for key in config.strategies:
        if STRATEGIES[key].run == "action":
            try:
                cohort.list_cases(config.action)
            except UserError as error:
                missing[key] = str(in_plan(error, "action", config))
    for key in config.targets:
        task = TARGETS[key].run
        if not answered_by(cases, task):
            missing[key] = f"the cohort has no {ANSWERS[task]}"
    return missing


def _say_plan(plan: Plan, config: ConfigDict, costs: Mapping[str, float]) -> None:
    """A line for each kind of run, and what all take that are left."""
    say(f"the plan of {plan.folder}: {len(plan.cells)} runs")
    counts = Counter(cell.kind for cell in plan.cells)
    done = Counter(cell.kind for cell in plan.runnable if plan.finished(cell))
    for kind, count in counts.items():
        cell = next(cell for cell in plan.cells if cell.kind == kind)
        name = kind if cell.target else f"pre-training by {name_of(kind, config)}"
        size = f"{cell.config.steps} steps of {cell.config.batch_size}"
        said = f"about {clock(costs[kind])} each" if kind in costs else "can't be run"
        say(f"  {name:43} {count:3} x {size:18} {done[kind]:3} done, {said}")
    for key, reason in plan.missing.items():
        say(f"  {key} is left open: {reason}")
    say(
        f"about {clock(left(plan, costs))} for what is left, one run after another; judging test "
        "cases comes on top for kinds of which none is done"
    )
