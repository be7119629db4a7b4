"""Features of cases by a run's encoder, and what they tell of classes, in training and after."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PyTree
from ml_collections import ConfigDict

from rubik_jax import embed, export, metrics, parallel, workdir
from rubik_jax.data.cases import Case
from rubik_jax.data.store import Store
from rubik_jax.data.writing import replacing
from rubik_jax.errors import UserError
from rubik_jax.export import Source
from rubik_jax.metrics import for_json
from rubik_jax.modes import cohort
from rubik_jax.modes.comparing import expecting_own, note_changed
from rubik_jax.modes.opening import Run, window_of
from rubik_jax.modes.splitting import split_of
from rubik_jax.report import tables
from rubik_jax.report.progress import say, track

FOLDER = "embeddings"  # in the run's, where no other is named
ARRAYS, TABLE, PROBE = "embeddings.npz", "embeddings.csv", "probe.json"
COHORT = ("source", "path", "name", "modalities", "count")  # decide on which cases there are
MOST = 512  # cases of a part that are looked at while a run trains


def embed_cases(
    folder: Path, config: ConfigDict, output: Path | None, changed: Sequence[str]
) -> None:
    """Writes the features of each case that the config lists, and what a probe makes of them.

    Args:
        folder: the run's, whose best checkpoint is taken.
        config: the run's, maybe with another source of data.
        output: the folder for what is found; None for the run's own `embeddings`.
        changed: the knobs in which the config differs from the run's. Where they name other cases,
            these are in no part of the run's split.

    Raises:
        UserError: the run, or the cases, can't be read; or without an output, they are others.
    """
    own, output = output is None, output or folder / FOLDER
    source = export.load_source(folder)
    window = window_of(config)
    moved = config.data.path if own and "data.path" in changed else None
    with expecting_own(moved):
        store, cases, skipped = _open(config, source, window)
    forward = parallel.mapped_response(
        embed.make_response(config.model.to_dict()), embed.encoder_of(source.variables)
    )
    found = embed.embed(
        forward,
        track(store, len(store), what="embedding cases"),
        window=window,
        batch_size=config.batch_size,
    )
    stages = embed.by_stage(found, config.model.encoder.widths)
    if own:
        note_changed(source.description, store, store.names, moved=moved)
    other = not own and {f"data.{name}" for name in COHORT} & {*changed}
    parts = {} if other else split_of(folder)._asdict()
    part_of = {name: part for part, names in parts.items() for name in names}
    gone = part_of.keys() - {*store.names} - skipped.keys()
    if gone:
        say(f"warning: {len(gone)} cases of the run's split are not there, such as {min(gone)!r}")
    part = [part_of.get(name, "") for name in store.names]
    target = [case.target or "" for case in cases]
    numbers = _probe(stages[-1], target, part)
    _write(output, source, store.names, stages, part, target)
    if numbers:
        workdir.write(output / PROBE, for_json(numbers))
    else:
        (output / PROBE).unlink(missing_ok=True)  # that of an earlier call
    cohort.write_skipped(output, skipped)
    cohort.say_skipped(skipped)
    say(f"features    {output / ARRAYS}, {output / TABLE}: {len(store)} x {stages[-1].shape[1]}")


def probing(run: Run, config: ConfigDict) -> Callable[[PyTree], dict[str, float]] | None:
    """Variables of the run's network -> accuracies of the probes, fitted on training cases.

    They are judged on the validation cases; of each part up to `MOST` cases are looked at, evenly
    spread over their names. None where the config asks for no probes.

    Raises:
        UserError: there are no classes to be told apart, or nothing to judge on.
    """
    if not config.every.probe:
        return None
    targets = {case.name: case.target for case in run.cases if case.target is not None}
    fitted, judged = (
        _spread([name for name in names if name in targets])
        for names in (run.split.train, run.split.validation)
    )
    classes = sorted({targets[name] for name in (*fitted, *judged)})
    known = {targets[name] for name in fitted}
    if len(known) < 2:
        raise UserError.of(
            "{every.probe} is {}, but the training cases have {} class; expected two at least, by "
            "{data.labels} (a CSV with columns case and class, or folders), or 0",
            *(config.every.probe, len(known) or "no"),
        )
    if not judged:
        raise UserError.of(
            "{every.probe} is {}, but no validation case has a class; expected some, by "
            "{data.split.validation}, or 0",
            config.every.probe,
        )
    numbers = np.array([classes.index(targets[name]) for name in (*fitted, *judged)])
    respond = embed.make_response(config.model.to_dict())
    store = run.store.only([*fitted, *judged])

    def probe(variables: PyTree) -> dict[str, float]:
        found = embed.embed(
            parallel.mapped_response(respond, embed.encoder_of(variables)),
            store,
            window=run.task.window,
            batch_size=config.batch_size,
        )
        return metrics.probes.probe(
            embed.by_stage(found, config.model.encoder.widths)[-1],
            numbers,
            len(classes),
            fitted=range(len(fitted)),
            judged=range(len(fitted), len(numbers)),
        )

    return probe


def _open(
    config: ConfigDict, source: Source, window: tuple[int, int, int]
) -> tuple[Store, list[Case], Mapping[str, str]]:
    """The cases that can be embedded, prepared and as listed, and why the others can't be."""
    about = source.description
    listing = cohort.list_cases(config)
    how = cohort.preprocessing(config, listing.cases, about)
    store, bad = cohort.prepare(listing.cases, how, config)
    store, small = cohort.fitting(store, window, config)
    cohort.refuse_other_channels(store, about, config)
    by_name = {case.name: case for case in listing.cases}
    return store, [by_name[name] for name in store.names], listing.skipped | bad | small


def _probe(
    features: np.ndarray, target: Sequence[str], part: Sequence[str]
) -> dict[str, Any] | None:
    """What the probes make of the cases with a class, said in a line; None where there's nothing.

    Fitted on the training part and judged on the test part where both have classes.
    """
    rows = [i for i, name in enumerate(target) if name]
    classes = sorted({target[i] for i in rows})
    if len(classes) < 2:
        say(
            f"no probe: the cases have {classes or 'no class'}; config.data.labels names a table "
            "of classes"
        )
        return None
    numbers = np.array([classes.index(target[i]) for i in rows])
    fitted, judged = (
        [k for k, i in enumerate(rows) if part[i] == name] for name in ("train", "test")
    )
    if fitted and judged:
        how = f"fitted on {len(fitted)} training cases, judged on {len(judged)} test cases"
    else:
        fitted, judged = [], []
        how = f"{min(metrics.probes.FOLDS, len(rows))}-fold cross-validation over {len(rows)} cases"
    found = metrics.probes.probe(
        features[rows], numbers, len(classes), fitted=fitted, judged=judged
    )
    tested = {target[rows[k]] for k in judged} or {*classes}
    absent = [name for name in classes if name not in tested]
    if absent:
        how += f"; no test case is of class {', '.join(map(repr, absent))}"
    say(f"{metrics.probes.show(found)}\n{how}")
    return {"how": how, "classes": classes, "absent": absent, **found}


def _write(
    output: Path,
    source: Source,
    names: Sequence[str],
    stages: Sequence[np.ndarray],
    part: Sequence[str],
    target: Sequence[str],
) -> None:
    arrays = {f"stage{i}": stage for i, stage in enumerate(stages)}
    about = {
        "checkpoint": str(source.checkpoint),
        "config": json.dumps(source.description["config"]),
    }
    labels = {"names": names, "part": part, "target": target, **about}
    with replacing(output / ARRAYS) as file:
        text = {name: np.array(value, np.str_) for name, value in labels.items()}
        np.savez(file, features=stages[-1], **arrays, **text)
    rows = [
        {"case": name, "part": where, "class": of} | {f"f{i}": x for i, x in enumerate(features)}
        for name, where, of, features in zip(names, part, target, stages[-1].tolist(), strict=True)
    ]
    tables.write(output / TABLE, rows)


def _spread(names: Sequence[str]) -> list[str]:
    """Up to `MOST` of the names, evenly."""
    count = min(MOST, len(names))
    return [names[i] for i in np.linspace(0, len(names) - 1, count).round().astype(int)]
