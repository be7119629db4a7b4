"""The plan of the paper's tables: every run that they are made of, each with its own config."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from rubik_jax import knobs, workdir
from rubik_jax.errors import UserError

SCRATCH = "scratch"


class Strategy(NamedTuple):
    """How a network gets its first weights.

    Attributes:
        name: for people.
        run: which of the plan's kinds of run trains it, "" where nothing is trained before.
        game: the member of config.games that says how its proxy differs from that kind's.
    """

    name: str
    run: str = ""
    game: str = ""


STRATEGIES = {
    SCRATCH: Strategy("from scratch"),
    "action": Strategy("UCF101", "action"),
    "ordering": Strategy("cube ordering", "pretrain", "ordering"),
    "rubik": Strategy("Rubik's cube recovery", "pretrain", "rubik"),
    "rotation": Strategy("cube rotation", "pretrain", "rotation"),
    "plus": Strategy("Rubik's Cube+", "pretrain", "plus"),
    "reconstruct": Strategy("masked reconstruction", "reconstruct"),
    "restore": Strategy("restoration (Models Genesis)", "restore"),
    "contrast": Strategy("contrast (SimCLR)", "contrast"),
}


def name_of(key: str, config: ConfigDict) -> str:
    """A strategy's name for people, which says where generated clips stand in for UCF101."""
    if STRATEGIES[key].run == "action" and config.action.data.source == "clips":
        return "action clips (generated)"
    return STRATEGIES[key].name


class Target(NamedTuple):
    """What a network is fine-tuned to do.

    Attributes:
        run: which of the plan's kinds of run that is.
        knobs: in which it differs from that kind.
    """

    run: str
    knobs: dict[str, Any]


TARGETS = {
    "classify": Target("classify", {}),
    "unet": Target("segment", {"model.head": "unet"}),
    "duc": Target("segment", {"model.head": "duc"}),
}


class Cell(NamedTuple):
    """One run of the plan.

    Attributes:
        name: its folder below the plan's, e.g. "unet/rubik/8/seed0".
        strategy: a key of `STRATEGIES`.
        target: a key of `TARGETS`, "" for a pre-training.
        labelled: as config.data.labelled; "" for a pre-training.
        seed: of the run.
        config: the run's, whole.
        command: by which it can be had alone.
        needs: the names of the cells that come before it.
    """

    name: str
    strategy: str
    target: str
    labelled: str
    seed: int
    config: ConfigDict
    command: str
    needs: tuple[str, ...]

    @property
    def run(self) -> str:
        """Which of the plan's kinds of run it is."""
        return TARGETS[self.target].run if self.target else STRATEGIES[self.strategy].run

    @property
    def kind(self) -> str:
        """What takes the same time: the strategy of a pre-training, or the target."""
        return self.target or self.strategy


# Knobs of the runs that the plan gives by knobs of its own.
OF_PLAN = {"data.labelled": "labelled", "seed": "seeds", "model.head": "targets"}

Shipped = Callable[[str, str], ConfigDict]
"""A kind of run, by its file in configs/, and arguments -> the shipped config."""


def make_plan(folder: Path, config: ConfigDict, shipped: Shipped) -> list[Cell]:
    """Every cell, those that others need before them.

    Args:
        folder: the plan's, in which each cell has a folder.
        config: as configs/tables.py gives it.
        shipped: gives the configs that commands are told from.

    Raises:
        UserError: a strategy or target there isn't, or numbers that can't be.
    """
    _check(config)
    folder = folder.absolute()  # cells name each other, wherever they are gone on with
    trained = [key for key in config.strategies if STRATEGIES[key].run]
    first = [
        _pretraining(folder, config, shipped, key, seed)
        for key in trained
        for seed in config.seeds[: config.pretrainings]
    ]
    cells = first + [
        _fine_tuning(folder, config, shipped, key, target, labelled, place)
        for place in range(len(config.seeds))
        for labelled in config.labelled
        for target in config.targets
        for key in config.strategies
    ]
    for cell in cells:
        task = cell.config.task
        try:
            knobs.check(cell.config.to_dict(), shipped(task, "").to_dict(), task)
        except UserError as error:
            raise in_plan(error, cell.run, config) from error
    return cells


def in_plan(error: UserError, run: str, config: ConfigDict) -> UserError:
    """The mistake in a run, with the plan's knobs in the place of the run's own.

    A sentence that keeps no knob apart is left as it is, and the kind of run is named before it.

    Args:
        error: what the run was refused with.
        run: the kind of run.
        config: as configs/tables.py gives it.
    """
    shared = {} if run == "action" else {f"data.{knob}" for knob in config.data}

    def of_plan(knob: str) -> str:
        if knob in OF_PLAN:
            return OF_PLAN[knob]
        return knob if ".".join(knob.split(".")[:2]) in shared else f"{run}.{knob}"

    if error.knob in error.parts:
        return error.renamed(of_plan)
    return UserError(f"in the runs of config.{run}: {error}")


def _pretraining(folder: Path, config: ConfigDict, shipped: Shipped, key: str, seed: int) -> Cell:
    strategy, name = STRATEGIES[key], f"pretrain/{key}/seed{seed}"
    arguments, game = config.arguments[strategy.run], {}
    if strategy.game:
        arguments += f",proxy={strategy.game}"
        game = {f"proxy.{knob}": value for knob, value in config.games[strategy.game].items()}
    split = {} if strategy.run == "action" else {"data.split.file": str(folder / workdir.SPLIT)}
    whole = _config(config[strategy.run], game | split | {"data.split.folds": 0, "seed": seed})
    command = _command(folder / name, whole, strategy.run, arguments, shipped)
    return Cell(name, key, "", "", seed, whole, command, ())


def _fine_tuning(
    folder: Path,
    config: ConfigDict,
    shipped: Shipped,
    key: str,
    target: str,
    labelled: str,
    place: int,
) -> Cell:
    seed = config.seeds[place]
    name = f"{target}/{key}/{labelled}/seed{seed}"
    before = ""
    if STRATEGIES[key].run:
        before = f"pretrain/{key}/seed{config.seeds[place % config.pretrainings]}"
    run, knobs = TARGETS[target]
    whole = _config(
        config[run],
        knobs
        | {"seed": seed, "data.labelled": labelled}
        # The plan has a split as a run has, which all cells take over, whoever is first.
        | {"data.split.run": str(folder), "data.split.folds": 0, "data.split.file": ""}
        | ({"init_from": str(folder / before)} if before else {}),
    )
    command = _command(folder / name, whole, run, config.arguments[run], shipped)
    return Cell(name, key, target, labelled, seed, whole, command, (before,) if before else ())


def _config(config: ConfigDict, knobs: dict[str, Any]) -> ConfigDict:
    """A config of its own, with those knobs."""
    whole = config.copy_and_resolve_references()
    whole.update_from_flattened_dict(knobs)
    return whole


def _command(folder: Path, config: ConfigDict, kind: str, arguments: str, shipped: Shipped) -> str:
    """How the run is had by itself, told by the knobs in which it differs from what is shipped."""
    known = workdir.flat(shipped(kind, arguments).to_dict())
    given = workdir.flat(config.to_dict())
    words = [f"--config=configs/{kind}.py:{arguments}", f"--workdir={folder}"]
    words += [f"--config.{k}={v}" for k, v in given.items() if v != known[k]]
    return shlex.join(["python", "-m", "rubik_jax.main", *words])


def _check(config: ConfigDict) -> None:
    """Raises UserError for a row, a column or a number that there can't be."""
    for knob, known in (("strategies", STRATEGIES), ("targets", TARGETS)):
        given = tuple(config[knob])
        if not given or len({*given}) < len(given) or not {*given} <= known.keys():
            raise UserError(
                f"config.{knob} is {given}; expected some of {', '.join(known)}, each once"
            )
    if SCRATCH not in config.strategies:
        raise UserError(
            f"config.strategies is {tuple(config.strategies)}; expected {SCRATCH} among them, "
            "which the others are compared with"
        )
    for knob in ("labelled", "seeds"):
        given = tuple(config[knob])
        if not given or len({*given}) < len(given):
            raise UserError(f"config.{knob} is {given}; expected one at least, and each once")
    if not 1 <= config.pretrainings <= len(config.seeds):
        raise UserError(
            f"config.pretrainings is {config.pretrainings}; expected 1 to {len(config.seeds)}, as "
            "many as config.seeds has"
        )
