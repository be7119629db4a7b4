"""The command: flags and config are read here and nowhere below."""

import importlib
import json
import platform
import shlex
import sys
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags

from rubik_jax import __version__, checkpoints, knobs, parallel, workdir
from rubik_jax.data import loader
from rubik_jax.data.cases import Case
from rubik_jax.data.sources import find_cases
from rubik_jax.data.split import Split, split
from rubik_jax.data.store import Store, build
from rubik_jax.errors import UserError
from rubik_jax.evaluate import make_evaluation
from rubik_jax.optim import make_optimiser
from rubik_jax.report import estimate, page
from rubik_jax.report.progress import say, track
from rubik_jax.step import EVALUATION, stream
from rubik_jax.tasks.pretrain import make_puzzle, pretrain
from rubik_jax.train import Data, DivergedError, Pace, fit, show
from rubik_jax.types import Task

MODES = ("train", "evaluate")
TASKS = ("pretrain",)
PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "nibabel")


def main(arguments: list[str]) -> int:
    """Runs the command line; returns the exit status, 2 with one sentence for a mistake."""
    try:
        mode, folder, config = _parse(arguments)
        _check(config)
        if mode == "train":
            _train(folder, config, shlex.join(["python", "-m", "rubik_jax.main", *arguments[1:]]))
        else:
            _evaluate(folder, config)
    except UserError as error:
        print(f"rubik_jax: {error}", file=sys.stderr)
        return 2
    except DivergedError as error:
        print(f"rubik_jax: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("rubik_jax: interrupted; the same command again goes on", file=sys.stderr)
        return 130
    return 0


class Run(NamedTuple):
    """What a config comes to: the task, and the cohort's volumes by the parts of its split."""

    task: Task
    store: Store
    split: Split

    def batches(self, part: str, config: ConfigDict) -> Any:
        """Fixed windows of a part's cases."""
        return loader.held_out_batches(
            self.store.only(getattr(self.split, part)),
            window=self.task.window,
            batch_size=config.batch_size,
            repeats=config.evaluate.repeats,
            seed=config.seed,
        )


def _parse(arguments: list[str]) -> tuple[str, Path, ConfigDict]:
    """Reads the command line; the later modes take the config that lies in the run."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config", None, "the experiment", flag_values=values, sys_argv=arguments
    )
    flags.DEFINE_string("workdir", None, "the run's folder", flag_values=values)
    flags.DEFINE_enum("mode", "train", MODES, "what to do", flag_values=values)
    try:
        rest = values(arguments)[1:]
    except Exception as error:  # a config is the user's code: whatever it raises is a mistake
        # ml_collections puts the traceback of a config's error into the message; its end counts.
        said = str(error).strip()
        said = said.splitlines()[-1] if "Traceback" in said else " ".join(said.split())
        raise UserError(said.removeprefix("ValueError: ") or type(error).__name__) from error
    if rest:
        raise UserError(f"unexpected argument {rest[0]!r}; expected --name=value")
    if not values.workdir:
        raise UserError("--workdir is missing; expected the folder of the run")
    folder = Path(values.workdir).expanduser()
    if values.mode == "train":
        if values.config is None:
            raise UserError("--config is missing; expected e.g. --config=configs/pretrain.py")
        return "train", folder, values.config
    if values.config is not None:
        raise UserError(f"--config={values['config'].config_filename} is for --mode=train alone")
    return values.mode, folder, ConfigDict(workdir.read(folder / workdir.CONFIG))


def _train(folder: Path, config: ConfigDict, command: str) -> None:
    """Trains, or goes on training, and reports."""
    resolved = json.loads(config.to_json())
    workdir.check(folder, resolved)
    if workdir.finished(folder):
        say(f"{folder} is finished; --mode=evaluate evaluates it again, another --workdir starts")
        return
    optimiser = make_optimiser(**config.optim, steps=config.steps)
    pace = Pace(
        steps=config.steps,
        batch_size=config.batch_size,
        accumulate=config.accumulate,
        steps_per_call=config.steps_per_call,
        **config.every,
    )
    pace.check()
    run = _open(config)
    data = _data(run, config)
    workdir.begin(folder, resolved, run.split._asdict())
    say(f"run {folder} on {parallel.describe()}: {config.steps} steps of {config.batch_size}")
    fit(
        run.task,
        optimiser,
        data,
        folder,
        description={
            "command": command,
            "config": resolved,
            "split": run.split._asdict(),
            "versions": _versions(),
            **run.task.about,
        },
        pace=pace,
        seed=config.seed,
    )
    _evaluate(folder, config, run)


def _evaluate(folder: Path, config: ConfigDict, run: Run | None = None) -> None:
    """Reports a run's best checkpoint on its test cases, and what the probes say."""
    checkpoint = checkpoints.find(folder)
    # The split of the run, whatever has been added to the cohort since.
    run = run or _open(config, Split(**workdir.read(folder / workdir.SPLIT)))
    part = "test" if run.split.test else "train"
    saved = checkpoints.read(checkpoint)
    variables = {"params": saved["params"]}
    if saved.get("batch_stats"):
        variables["batch_stats"] = saved["batch_stats"]
    replicated = parallel.replicate(variables)
    results = {}
    for name, evaluate in {"": run.task.evaluate, **run.task.probes}.items():
        totals = make_evaluation(evaluate, config.seed)(replicated, run.batches(part, config))
        results[name or part] = run.task.summarise(totals)
    for name, numbers in results.items():
        say(f"{name:>8}: {show(numbers)}")
    probes = {name: results[name] for name in run.task.probes}
    warnings = run.task.diagnose(results[part], probes)
    for warning in warnings:
        say(f"warning: {warning}")
    window = next(iter(run.batches(part, config)))["window"][0]
    key = stream(config.seed, EVALUATION)
    picture = jax.device_get(jax.jit(run.task.picture)(variables, window, key))
    description = checkpoints.describe(checkpoint)
    page.write(folder, description, results, warnings, picture)
    results["checkpoint"] = str(checkpoint.relative_to(folder))
    results["finished"] = int(checkpoints.find(folder, "latest").name) == config.steps
    workdir.write(folder / workdir.RESULTS, results)
    say(f"run         {folder}\ncheckpoint  {checkpoint}")
    say(f"curves      {folder / page.REPORT}, or tensorboard --logdir={folder}")


def _open(config: ConfigDict, parts: Split | None = None) -> Run:
    """Prepares the cohort and builds the task; whatever can't be is refused here.

    Args:
        config: the run's.
        parts: the split of a run that has begun; None draws it.

    Raises:
        UserError: knobs, files or cases that can't be used.
    """
    options = config.data
    parallel.per_device(config.batch_size, 1)
    make_puzzle(**config.proxy.to_dict(), seed=config.seed)  # refused before anything is read
    cases = find_cases(
        options.source,
        path=options.path,
        modalities=tuple(options.modalities),
        masks=options.masks,
        count=options.count,
        seed=0,
    )
    if parts is None:
        parts = split([case.name for case in cases], **options.split)
    else:
        cases = _listed(cases, parts)
    channels = cases[0].channels or len(cases[0].images)
    task = pretrain(
        channels=channels,
        proxy_options=config.proxy.to_dict(),
        model=config.model.to_dict(),
        loss=config.loss.to_dict(),
        seed=config.seed,
    )
    say(
        f"{len(task.about['orders'])} orders, Hamming distance at least "
        f"{task.about['order_distance_least']}, {task.about['order_distance_mean']:.2f} on average"
    )
    store = build(
        cases,
        Path(options.store).expanduser(),
        intensity=options.intensity.to_dict(),
        workers=options.workers,
        progress=partial(track, what="preparing volumes"),
    )
    loader.fits(store.shapes, store.names, task.window, pad=options.pad)
    say(
        f"{options.source}: {len(parts.train)} cases to train on, {len(parts.validation)} for "
        f"validation, {len(parts.test)} for test; prepared, they take "
        f"{estimate.size(store.size)} in {options.store}"
    )
    if not parts.test:
        say("nothing is held out: all figures are of the cases that were trained on")
    return Run(task, store, parts)


def _listed(cases: list[Case], parts: Split) -> list[Case]:
    """The cases of a split, out of those that are there; UserError names one that isn't."""
    by_name = {case.name: case for case in cases}
    names = [name for part in parts for name in part]
    for name in names:
        if name not in by_name:
            raise UserError(f"case {name!r} of the run's split is no longer in the cohort")
    return [by_name[name] for name in names]


def _data(run: Run, config: ConfigDict) -> Data:
    volumes = run.store.only(run.split.train)
    shards = parallel.count()
    return Data(
        training=lambda step: loader.training_batches(
            volumes,
            window=run.task.window,
            batch_size=config.batch_size,
            seed=config.seed,
            start=step,
            threads=config.data.workers,
        ),
        resident=loader.resident(volumes, window=run.task.window, shards=shards)
        if config.data.resident
        else None,
        validation=partial(run.batches, "validation", config) if run.split.validation else None,
    )


def _check(config: ConfigDict) -> None:
    """Holds a config against the shipped one of its task, which names every knob there is."""
    if not isinstance(config, ConfigDict):
        raise UserError(f"the config is a {type(config).__name__}; expected a ConfigDict")
    task = config.get("task")
    if task not in TASKS:
        raise UserError(f"config.task is {task!r}; expected one of {list(TASKS)}")
    shipped = importlib.import_module(f"configs.{task}").get_config()
    knobs.check(config.to_dict(), shipped.to_dict(), task)


def _versions() -> dict[str, str]:
    found = {name: metadata.version(name) for name in PACKAGES}
    return {"rubik_jax": __version__, "python": platform.python_version(), **found}


if __name__ == "__main__":
    sys.exit(main(sys.argv))
