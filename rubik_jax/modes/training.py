"""Trains a run, or goes on with it, and reports; or says what it would take, and trains nothing."""

import json
import os
import platform
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from jaxtyping import PyTree
from ml_collections import ConfigDict

from rubik_jax import __version__, checkpoints, export, parallel, workdir
from rubik_jax.data import loader
from rubik_jax.data.preprocess import to_json
from rubik_jax.errors import UserError, knobs
from rubik_jax.modes import cohort
from rubik_jax.modes.comparing import CASES, described, refuse_changed
from rubik_jax.modes.embedding import probing
from rubik_jax.modes.evaluating import report
from rubik_jax.modes.opening import Run, open_run, window_of
from rubik_jax.modes.splitting import draw_split, keep_split, seen_after
from rubik_jax.optim import Optimiser, make_optimiser
from rubik_jax.report import estimate
from rubik_jax.report.progress import say
from rubik_jax.step import initialise
from rubik_jax.tasks.segment import decoder_sizes, outputs
from rubik_jax.train import Data, Pace, fit, rehearse
from rubik_jax.transfer import summary, table, transfer

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "nibabel")


def train(folder: Path, config: ConfigDict, command: str, *, dry_run: bool) -> None:
    """Trains up to `config.steps` and evaluates; with `dry_run` leaves no run behind.

    Raises:
        UserError: whatever can't be used.
        DivergedError: the loss or the gradient is no longer finite.
    """
    resolved = json.loads(config.to_json())
    workdir.check(folder, resolved)
    if workdir.finished(folder):
        say(
            f"{folder} is finished; --mode=evaluate evaluates it again, another --workdir starts "
            "a new run"
        )
        return
    optimiser, pace = _optimiser_and_pace(config)
    # A run that has begun keeps its split, and finds its weights in its own checkpoints.
    begun = workdir.begun(folder)
    before = checkpoints.describe(checkpoints.find(folder, "latest")) if begun else {}
    divide = partial(keep_split, config, folder) if begun else partial(draw_split, config)
    run = open_run(config, divide, before)
    data = _data(run, config)
    say(f"run {folder} on {parallel.describe()}: {config.steps} steps of {config.batch_size}")
    if config.task == "segment":
        sizes = decoder_sizes(outputs(run.task.about), run.task.channels, config.model.to_dict())
        said = ", ".join(f"{head} {estimate.number(size)}" for head, size in sizes.items())
        say(f"new parameters of a decoder: {said}; here {config.model.head}")
    if begun:
        kept = ("transfer", "transfer_rows")
        initial, origin = None, {name: before[name] for name in kept if name in before}
        seen = before["seen"]
        refuse_changed(folder, before, run.store, run.classes)
    else:
        initial, origin = _begin(config, run, whole=dry_run)
        seen = seen_after(config, run.store, run.split)
    if dry_run:
        rehearse(run.task, optimiser, data, pace=pace, seed=config.seed, initial=initial)
        say("this was a dry run: nothing was trained")
        return
    workdir.begin(folder, resolved, run.split._asdict())
    cohort.write_skipped(folder, run.skipped)
    fit(
        run.task,
        optimiser,
        data,
        folder,
        description={
            "command": command,
            "config": resolved,
            "split": run.split._asdict(),
            "versions": versions(),
            "preprocessing": to_json(run.how),
            "skipped": dict(run.skipped),
            "channels": run.task.channels,
            "seen": seen,
            CASES: described(run.store, run.classes),
            "machine": machine(),
            **origin,
        },
        pace=pace,
        seed=config.seed,
        initial=initial,
    )
    report(folder, config, run)
    cohort.say_skipped(run.skipped)


def check(config: ConfigDict) -> None:
    """Raises UserError for what a run refuses before it reads a file."""
    _optimiser_and_pace(config)
    window_of(config)


def rehearsal(config: ConfigDict) -> float:
    """The seconds of a step, by a few that are forgotten; the weights are new in any case.

    Raises:
        UserError: whatever can't be used.
    """
    config = config.copy_and_resolve_references()
    if "init_from" in config:
        config.init_from = config.data.split.run = None
    optimiser, pace = _optimiser_and_pace(config)
    run = open_run(config, partial(draw_split, config))
    return rehearse(run.task, optimiser, _data(run, config), pace=pace, seed=config.seed)


def _optimiser_and_pace(config: ConfigDict) -> tuple[Optimiser, Pace]:
    pace = Pace(
        steps=config.steps,
        batch_size=config.batch_size,
        accumulate=config.accumulate,
        steps_per_call=config.steps_per_call,
        **config.every,
    )
    with knobs(**{name: f"every.{name}" for name in config.every}):
        pace.check()
    with knobs("optim", steps="steps"):
        return make_optimiser(**config.optim.to_dict(), steps=config.steps), pace


def _begin(config: ConfigDict, run: Run, *, whole: bool) -> tuple[PyTree | None, dict[str, Any]]:
    """The variables that a run begins with, and where they come from, as a text and as data.

    What became of every array is printed where `whole` says so; the page of the run has it anyway.

    Both are empty for a run from scratch, which makes its own from the seed.
    """
    if not config.get("init_from"):
        if "init_from" in config:
            say("no config.init_from: all weights are new")
        return None, {}
    options = config.transfer.to_dict()
    kind = options.pop("checkpoint")
    if kind not in ("best", "latest"):
        raise UserError.of("{transfer.checkpoint} is {!r}; expected best or latest", kind)
    for knob in ("partial", "unused"):
        if not all(isinstance(name, str) for name in options[knob]):
            raise UserError(
                f"config.transfer.{knob} is {options[knob]}; expected names, such as ('stage2',)",
                knob=f"transfer.{knob}",
            )
    source = export.load_source(
        Path(config.init_from).expanduser(), kind="latest" if kind == "latest" else None
    )
    _note_differences(config, run, source.description)
    mine = initialise(run.task, config.seed)
    with knobs("transfer", source="init_from", target="model", encoder="model.encoder"):
        loaded, rows = transfer(mine, source.variables, parts=("encoder",), **options)
    title = f"weights of {source.checkpoint}:"
    origin = f"{title}\n{table(rows)}"
    say(origin if whole else f"{title}\n{summary(rows)}")
    return loaded, {"transfer": origin, "transfer_rows": [row._asdict() for row in rows]}


def _note_differences(config: ConfigDict, run: Run, before: dict[str, Any]) -> None:
    """Says what leaves no trace in the weights' names and shapes, and yet changes what they see."""

    def seen(config: dict[str, Any], preprocessing: dict[str, Any]) -> dict[str, Any]:
        encoder = config["model"]["encoder"]
        return {
            "strides": encoder["strides"],
            "dtype": encoder["dtype"],
            "scaling": config["model"].get("scaling", "cube"),  # as a pre-training does
            "modalities": config["data"]["modalities"],
            **preprocessing,
        }

    here = seen(json.loads(config.to_json()), to_json(run.how))
    there = seen(before["config"], before.get("preprocessing", {}))
    for name in here.keys() & there.keys():
        if here[name] != there[name]:
            say(f"note: {name} is {here[name]} here, {there[name]} in {config.init_from}")


def _data(run: Run, config: ConfigDict) -> Data:
    examples, resident = run.examples(run.split.train), None
    if config.data.resident:
        with knobs(shards="data.resident"):
            resident = loader.resident(examples, window=run.task.window, shards=parallel.count())
    return Data(
        training=lambda step, together: loader.training_batches(
            examples,
            window=run.task.window,
            batch_size=config.batch_size,
            seed=config.seed,
            start=step,
            threads=config.data.workers,
            foreground=run.foreground,
            together=together,
        ),
        resident=resident,
        validation=partial(run.windows, "validation", config) if run.split.validation else None,
        foreground=run.foreground,
        probe=probing(run, config),
    )


def machine() -> str:
    """What a run was made on."""
    cores, system = os.cpu_count(), f"{platform.system()} on {platform.machine()}"
    return f"{parallel.describe()}; {cores} CPU core{'s' if cores != 1 else ''}, {system}"


def versions() -> dict[str, Any]:
    """Of what a run was made with."""
    found = {name: metadata.version(name) for name in PACKAGES}
    return {"rubik_jax": __version__, "python": platform.python_version(), **found}
