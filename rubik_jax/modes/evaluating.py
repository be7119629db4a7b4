"""Reports what a run's best checkpoint is worth: on its test cases, or on any labelled cases."""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from rubik_jax import checkpoints, export, parallel, workdir
from rubik_jax.data import regions
from rubik_jax.data.cases import Case
from rubik_jax.data.split import Split
from rubik_jax.errors import UserError
from rubik_jax.evaluate import make_evaluation
from rubik_jax.export import Source
from rubik_jax.judge import Judged, Sliding, judge_classes, judge_masks
from rubik_jax.metrics import for_json
from rubik_jax.modes import cohort
from rubik_jax.modes.comparing import contents, expecting_own, note_changed
from rubik_jax.modes.opening import Run, open_run
from rubik_jax.modes.splitting import Division, split_of
from rubik_jax.report import tables
from rubik_jax.report.progress import say, track
from rubik_jax.step import EVALUATION, stream


def evaluate(
    folder: Path, config: ConfigDict, output: Path | None, changed: Collection[str]
) -> None:
    """Evaluates a run again; with `output`, on the cases that its config now names.

    Args:
        folder: the run's.
        config: the run's, where `output` is given with another source of data.
        output: the folder for what is found of another source's cases; None for the run's own.
        changed: the knobs in which the config differs from the run's.

    Raises:
        UserError: the run, or its cases, can't be read; or without an output, they are others.
    """
    if output is None:
        report(folder, config, _open_again(folder, config, changed))
        return
    source = export.load_source(folder)
    run = open_run(config, _all_to_test, source.description)
    names = run.split.test
    seen, found = source.description["seen"], contents(run.store)
    known = {*seen, *seen.values()}
    again = [name for name in names if name in known or found[name].first in known]
    if again:
        say(f"warning: {len(again)} cases have the name or the image of one seen in training")
    judged = _judge(run, config, source, names)
    say(run.task.show(judged.numbers))
    tables.write(output / tables.CASES, judged.cases)
    workdir.write(output / workdir.RESULTS, {"all": for_json(judged.numbers)} | _meaning(run))
    cohort.write_skipped(output, run.skipped)
    say(f"cases       {output / tables.CASES}\nmeans       {output / workdir.RESULTS}")


def report(folder: Path, config: ConfigDict, run: Run) -> None:
    """Evaluates a run on its test cases, and writes its results and its page.

    Args:
        folder: the run's.
        config: the run's.
        run: what the config comes to.

    Raises:
        UserError: the run can't be read.
    """
    from rubik_jax.report import page  # here, as `mistakes`: matplotlib can wait till then

    source = export.load_source(folder)
    part = _part(run)
    if run.task.respond is None:
        results, pictures = _play(run, config, source, part)
    else:
        judged = _judge(run, config, source, getattr(run.split, part))
        results = {part: judged.numbers}
        pictures = judged.pictures | {"cases": judged.cases}
        tables.write(folder / tables.CASES, judged.cases)
    for name, numbers in results.items():
        say(f"{name:>8}: {run.task.show(numbers)}")
    probes = {name: results[name] for name in run.task.probes}
    warnings = run.task.diagnose(results[part], probes)
    for warning in warnings:
        say(f"warning: {warning}")
    page.write(folder, source.description, results, warnings, pictures)
    latest = checkpoints.find(folder, "latest")
    owed = checkpoints.describe(latest).get("pending", {}).get("owed", False)
    done = {
        "checkpoint": str(source.checkpoint.relative_to(folder)),
        "finished": int(latest.name) == config.steps and not owed,
    }
    clean = {name: for_json(numbers) for name, numbers in results.items()}
    counts = pictures.get("mistakes", {})
    clean[part] |= {name: of.tolist() for name, of in counts.items()}
    workdir.write(folder / workdir.RESULTS, clean | _meaning(run) | done)
    say(f"checkpoint  {source.checkpoint}")
    say(f"curves      {folder / page.REPORT}, or tensorboard --logdir={folder}")


def _open_again(folder: Path, config: ConfigDict, changed: Collection[str]) -> Run:
    """The run with the split that it has, whatever has been added to the cohort since."""
    about = checkpoints.describe(checkpoints.find(folder))
    moved = config.data.path if "data.path" in changed else None
    with expecting_own(moved):
        run = open_run(config, lambda *_: Division(split_of(folder), {}), about)
    names = getattr(run.split, _part(run))
    note_changed(about, run.store, names, moved=moved, classes=run.classes)
    return run


def _part(run: Run) -> str:
    """Which cases a run is evaluated on."""
    return "test" if run.split.test else "train"


def _meaning(run: Run) -> dict[str, Any]:
    """Which labels the measures of regions are of, where there are any."""
    return {"regions": made} if (made := run.task.about.get("regions")) else {}


def _all_to_test(cases: Sequence[Case], absent: Collection[str]) -> Division:
    del absent
    return Division(Split((), (), tuple(case.name for case in cases)), {})


def _play(run: Run, config: ConfigDict, source: Source, part: str) -> tuple[dict, dict[str, Any]]:
    """The numbers of a pre-training and of its probes; some of its windows and its mistakes."""
    from rubik_jax.report import mistakes

    replicated = parallel.replicate(source.variables)
    results, mistaken = {}, {}
    for name, evaluation in {"": run.task.evaluate, **run.task.probes}.items():
        totals = make_evaluation(evaluation, config.seed)(replicated, run.windows(part, config))
        results[name or part] = run.task.summarise(totals)
        mistaken = mistaken if name else mistakes.counted(totals)
    batch = next(iter(run.windows(part, config)))
    windows, key = batch["window"][batch["weight"] > 0], stream(config.seed, EVALUATION)
    picture = jax.device_get(jax.jit(run.task.picture)(source.variables, windows, key))
    return results, {run.task.drawing: picture, **({"mistakes": mistaken} if mistaken else {})}


def _judge(run: Run, config: ConfigDict, source: Source, names: tuple[str, ...]) -> Judged:
    """Measures of those cases, one by one."""
    if run.task.respond is None:
        raise UserError(
            f"the run is a {config.task}, which has no answers to judge; expected one that "
            "classifies or segments"
        )
    forward = parallel.mapped_response(run.task.respond, source.variables)
    how = sliding(run.task.window, config)
    store, progress = run.store.only(names), partial(track, what="evaluating cases")
    if run.targets is not None:
        return judge_classes(
            forward,
            store,
            how,
            classes=run.task.about["classes"],
            targets=run.targets,
            progress=progress,
        )
    return judge_masks(
        forward,
        store,
        how,
        values=tuple(run.task.about["values"]),
        ignore=run.ignore,
        regions=regions.of_run(run.task.about),
        progress=progress,
    )


def sliding(window: tuple[int, int, int], config: ConfigDict) -> Sliding:
    """How the config has volumes worked off."""
    options = config.inference
    return Sliding(window, options.overlap, options.batch_size, tuple(options.mirror))
