"""Which cases a run trains on and is tested on, and what its weights have seen before."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from rubik_jax import checkpoints, workdir
from rubik_jax.data import entries
from rubik_jax.data.cases import Case, file_of
from rubik_jax.data.digests import remembered
from rubik_jax.data.identity import first_of
from rubik_jax.data.split import Split, check_classes, check_seen, inherit, limit, make_split
from rubik_jax.data.store import Store
from rubik_jax.errors import UserError
from rubik_jax.modes import cohort
from rubik_jax.modes.comparing import contents
from rubik_jax.modes.posing import SUPERVISED
from rubik_jax.report.progress import say, track


class Division(NamedTuple):
    """A split, and the cases that an earlier run left out, and so this one does: name -> why."""

    parts: Split
    skipped: dict[str, str]


def split_of(run_dir: Path) -> Split:
    """The split that a run was begun with."""
    return Split(**{k: tuple(v) for k, v in workdir.read(run_dir / workdir.SPLIT).items()})


def keep_split(
    config: ConfigDict, folder: Path, cases: Sequence[Case], absent: Collection[str]
) -> Division:
    """The split of a run that goes on; UserError where cases have come since it began."""
    del absent  # it knows its own
    parts, skipped = split_of(folder), skipped_by(folder)
    known = {name for part in parts for name in part} | skipped.keys()
    new = [case.name for case in cases if case.name not in known]
    whole = config.task not in SUPERVISED or config.data.labelled == "all"
    if new and whole:
        raise UserError(
            f"{folder / workdir.SPLIT} no longer fits the cohort: case {new[0]!r} was added since "
            "the run began; expected the same cases, or another --workdir"
        )
    return Division(parts, skipped)


def draw_split(config: ConfigDict, cases: Sequence[Case], absent: Collection[str]) -> Division:
    """The split of a run that begins: that of the run it starts from, else as the config says.

    Args:
        config: the run's.
        cases: that can be used, as far as is known.
        absent: names of those that can't, which a file may list nevertheless.

    Raises:
        UserError: no split comes of it, or one that leaves a class without training cases.
    """
    classifies = config.task == "classify"
    options = config.data.split.to_dict() | {"absent": absent, "classify": classifies}
    if config.task not in SUPERVISED:
        return Division(make_split(cases, **options), {})
    seen, like = options.pop("seen"), options.pop("run") or config.init_from
    parts, skipped = None, {}
    if like and not (options["folds"] or options["file"]):
        like = Path(like).expanduser()
        before, left = split_of(like), skipped_by(like)
        fit = [case for case in cases if case.name not in left]
        parts = inherit(fit, before, options["group"])
        if parts:
            skipped = {case.name: left[case.name] for case in cases if case.name in left}
            say(f"the split is that of {like}, whatever config.data.split says")
    parts = parts or make_split(cases, **options)
    if not parts.train:
        raise UserError(f"none of {len(cases)} cases is left to train on; expected one at least")
    targets = {case.name: case.target for case in cases} if classifies else None
    if targets:
        check_classes(parts, targets)
    parts = limit(parts, config.data.labelled, options["seed"], targets)
    if options["validation"] and not parts.validation:
        say("note: no case is left for validation, so the latest checkpoint is reported on")
    if config.init_from:
        before = seen_by(Path(config.init_from).expanduser())
        files = _identities(config, cases, parts, before)
        check_seen(parts, before, files, tuple(seen))
        known = {*before, *before.values()}
        if known.isdisjoint(files) and known.isdisjoint(chain(*files.values())):
            say(f"{config.init_from} has seen none of these cases, by name or by file")
    return Division(parts, skipped)


def skipped_by(run_dir: Path) -> dict[str, str]:
    """Case → why it can't be used, of those that a run has left out; a plan of runs leaves none."""
    if not workdir.begun(run_dir):
        return {}
    return checkpoints.describe(checkpoints.find(run_dir)).get("skipped", {})


def seen_by(run_dir: Path) -> dict[str, str]:
    """Case → a digest of its first image, of all that a run's weights were trained on or chosen by.

    A run that is older has the image's place instead, as `file_of` gives it.
    """
    return checkpoints.describe(checkpoints.find(run_dir))["seen"]


def seen_after(config: ConfigDict, store: Store, parts: Split) -> dict[str, str]:
    """The same of a run that is about to begin: what it will see, and what it came from has."""
    files = {name: content.first for name, content in contents(store).items()}
    before = {}
    if config.task in SUPERVISED and config.init_from:
        before = seen_by(Path(config.init_from).expanduser())
    return before | {name: files[name] for name in (*parts.train, *parts.validation)}


def _identities(
    config: ConfigDict, cases: Sequence[Case], parts: Split, seen: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Case of a split → its first image's place and, where the other run knows digests, digest."""
    wanted = {name for part in parts for name in part}
    listed = [case for case in cases if case.name in wanted]
    places = {case.name: (file_of(case),) for case in listed}
    if all(Path(each).is_absolute() for each in seen.values()):
        return places

    def one(case: Case) -> tuple[str, tuple[str, ...]]:
        try:
            return case.name, (*places[case.name], first_of(case, digests))
        except UserError:  # preparing the case will refuse it, or leave it out
            return case.name, places[case.name]

    with remembered(cohort.store_of(config)) as digests:
        return dict(
            entries.in_threads(
                one,
                listed,
                workers=config.data.workers,
                progress=partial(track, what="comparing with seen cases"),
            )
        )
