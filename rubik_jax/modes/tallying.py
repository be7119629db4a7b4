"""What the runs of a plan have come to, as the rows of the paper's tables."""

import csv
import datetime
import math
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from rubik_jax import workdir
from rubik_jax.metrics.paired import Result
from rubik_jax.modes.planning import SCRATCH, STRATEGIES, Cell, name_of
from rubik_jax.modes.splitting import split_of
from rubik_jax.modes.training import versions
from rubik_jax.modes.working import Plan
from rubik_jax.report import tables
from rubik_jax.report.strategies import Answer, Proxy, Strategy, Tables, Target

# The paper's own figures (tables 1 and 2), as shares.
CT, MR = "haemorrhage CT", "BraTS-2018"
PROXIES = {
    "ordering": {"order": {CT: 0.997, MR: 0.995}},
    "rubik": {"order": {CT: 0.920, MR: 0.929}, "orientation": {CT: 0.931, MR: 0.821}},
}
# What a proxy is asked, for people -> its measure in the results, and what that is by chance; 0
# where none is named.
# Half turns are told as the paper tells them, by two labels each.
ANSWERS = {
    "order": ("order_accuracy", "order_chance"),
    "orientation": ("orientation_accuracy", "orientation_chance"),
    "turn": ("turn_accuracy", "turn_chance"),
    "masked cubes": ("mask_accuracy", "mask_chance"),
    "action": ("accuracy", "chance"),
    "explained share of the squared error": ("explained", ""),
    "other view found": ("retrieval_accuracy", "retrieval_chance"),
}
TARGETS = {
    "classify": Target(
        "classify",
        "Classification",
        "ACC",
        f"{CT}, ACC",
        {SCRATCH: 0.726, "action": 0.753, "ordering": 0.811, "rubik": 0.838},
    ),
    "unet": Target(
        "unet",
        "U-Net segmentation",
        "foreground mIoU",
        f"{MR}, mIoU",
        {SCRATCH: 0.733, "action": 0.752, "ordering": 0.739, "rubik": 0.762},
    ),
    "duc": Target(
        "duc",
        "DUC segmentation",
        "foreground mIoU",
        f"{MR}, mIoU",
        {SCRATCH: 0.740, "action": 0.768, "ordering": 0.750, "rubik": 0.773},
    ),
}


def tally(plan: Plan, config: ConfigDict, command: str) -> Tables:
    """The tables as they stand.

    Args:
        plan: whose finished cells are read.
        config: as configs/tables.py gives it.
        command: that was given.
    """
    finished = [cell for cell in plan.cells if plan.finished(cell)]
    tuned = [cell for cell in finished if cell.target]
    return Tables(
        title=f"{config.data.source}: {Path(config.data.path or config.data.name).name}",
        about=_about(plan),
        strategies=tuple(_strategy(config, key) for key in config.strategies),
        proxies=tuple(_proxy(plan, key) for key in config.strategies if STRATEGIES[key].run),
        targets=tuple(TARGETS[key] for key in config.targets),
        labelled=tuple(config.labelled),
        counts={c.labelled: len(split_of(plan.folder / c.name).train) for c in tuned},
        seeds=tuple(config.seeds),
        results=tuple(_result(plan, cell) for cell in tuned),
        states=dict(_states(plan)),
        scratch=SCRATCH,
        command=command,
        runs={cell.name: cell.command for cell in plan.cells},
    )


def _about(plan: Plan) -> str:
    """The parts of the cohort, the budget, the day and the versions, in a line."""
    sizes = [f"{len(names)} {part}" for part, names in split_of(plan.folder)._asdict().items()]
    trained = {cell.seed for cell in plan.cells if not cell.target}
    budgets = dict.fromkeys(
        f"{cell.config.steps} steps of {cell.config.batch_size} to {_doing(cell)}"
        for cell in plan.runnable
    )
    made = ", ".join(f"{name} {version}" for name, version in versions().items())
    often = f"each strategy was pre-trained {len(trained)} times" if len(trained) > 1 else ""
    said = [
        f"cases: {', '.join(sizes)}",
        ", ".join(budgets),
        often,
        datetime.date.today().isoformat(),
        made,
    ]
    return "; ".join(filter(None, said))


def _doing(cell: Cell) -> str:
    if cell.strategy == "action" and not cell.target:
        return "pre-train on videos"
    return {"classify": "classify", "segment": "segment"}.get(cell.config.task, "pre-train")


def _strategy(config: ConfigDict, key: str) -> Strategy:
    name, note = name_of(key, config), ""  # what is missing, the states of its cells say
    if name != STRATEGIES[key].name:
        note = (
            "UCF101 is absent: generated clips of moving shapes stand in for it, in its own "
            "layout; this is no measure of what UCF101 is worth"
        )
    return Strategy(key, name, note)


def _proxy(plan: Plan, key: str) -> Proxy:
    """What a pre-training reached on its own test cases, by its answers beside chance."""
    cells = [cell for cell in plan.cells if cell.strategy == key and not cell.target]
    done = [workdir.read(plan.folder / c.name / workdir.RESULTS) for c in cells if plan.finished(c)]
    parts = [results.get("test") or results["train"] for results in done]
    answers = tuple(
        Answer(
            name=name,
            chance=parts[0].get(chance, 0.0),
            values=tuple(part[measure] for part in parts),
            paper=PROXIES.get(key, {}).get(name, {}),
        )
        for name, (measure, chance) in ANSWERS.items()
        if parts
        and measure in parts[0]
        and not (name == "turn" and "orientation_accuracy" in parts[0])
    )
    return Proxy(key, answers, _state(plan, cells))


def _result(plan: Plan, cell: Cell) -> Result:
    with (plan.folder / cell.name / tables.CASES).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if cell.target == "classify":
        cases = {row["case"]: float(row["class"] == row["answer"]) for row in rows}
    else:
        cases = {row["case"]: float(row["foreground_miou"] or math.nan) for row in rows}
    return Result(cell.strategy, cell.target, cell.labelled, cell.seed, cases)


def _states(plan: Plan) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Why a place of the table isn't whole, of each that isn't."""
    places = dict.fromkeys((c.strategy, c.target, c.labelled) for c in plan.cells if c.target)
    for place in places:
        cells = [c for c in plan.cells if (c.strategy, c.target, c.labelled) == place]
        state = _state(plan, cells)
        if state:
            yield place, state


def _state(plan: Plan, cells: list[Cell]) -> str:
    """Why those runs of one place aren't all there; "" where they are."""
    for key in (cells[0].strategy, cells[0].target):
        if key in plan.missing:
            return plan.missing[key]
    names = {cell.name for cell in cells}.union(*(cell.needs for cell in cells))
    for cell in (cell for cell in plan.cells if cell.name in names):
        if plan.failure(cell):
            return f"{cell.name} failed: {plan.failure(cell).splitlines()[0]}"
    done = sum(map(plan.finished, cells))
    return "" if done == len(cells) else f"{done} of {len(cells)} runs"
