"""What a config comes to: the cases and their split, the store, and the task."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from rubik_jax import inference, parallel
from rubik_jax.data import loader, regions
from rubik_jax.data.cases import Case
from rubik_jax.data.examples import Examples
from rubik_jax.data.preprocess import Preprocessing
from rubik_jax.data.split import Split, check_classes
from rubik_jax.data.store import Store
from rubik_jax.errors import UserError, knobs
from rubik_jax.modes import cohort
from rubik_jax.modes.posing import SUPERVISED, build_task, pose
from rubik_jax.modes.splitting import Division
from rubik_jax.report import estimate
from rubik_jax.report.progress import say
from rubik_jax.types import Task


class Run(NamedTuple):
    """A task, and the cohort's volumes by the parts of its split.

    Attributes:
        task: the problem.
        cases: of all parts.
        store: them, prepared.
        split: which case is in which part.
        how: what was done to their volumes.
        skipped: cases that can't be used -> why not.
        targets: the number of each case's class, where classes are the task.
        foreground: the share of windows that must hold a labelled voxel.
        ignore: the label that says nothing, -1 for none.
    """

    task: Task
    cases: Sequence[Case]
    store: Store
    split: Split
    how: Preprocessing
    skipped: Mapping[str, str]
    targets: Mapping[str, int] | None = None
    foreground: float = 0.0
    ignore: int = -1

    @property
    def classes(self) -> dict[str, str]:
        """Case -> its class, where classes are the task."""
        return {} if self.targets is None else {case.name: case.target for case in self.cases}

    def examples(self, names: Sequence[str]) -> Examples:
        """Those cases, with the answers that the task asks for."""
        masks = "values" in self.task.about
        return Examples(
            self.store.only(names), masks=masks, ignore=self.ignore, targets=self.targets
        )

    def windows(self, part: str, config: ConfigDict) -> Any:
        """Fixed windows of a part's cases, in batches."""
        batches = partial(
            loader.held_out_batches,
            self.examples(getattr(self.split, part)),
            window=self.task.window,
            batch_size=config.batch_size,
            foreground=self.foreground,
        )
        repeats, seed = config.evaluate.repeats, config.seed
        if config.task == "contrast":
            # A case is told from the others of its batch, and so may be in it but once.
            rounds = (batches(repeats=1, seed=seed + repeat) for repeat in range(repeats))
            return chain.from_iterable(rounds)
        return batches(repeats=repeats, seed=seed)


def open_run(
    config: ConfigDict,
    divide: Callable[[Sequence[Case], Collection[str]], Division],
    about: Mapping[str, Any] | None = None,
) -> Run:
    """Prepares the cohort and builds the task; whatever can't be is refused here.

    Args:
        config: the run's.
        divide: the split of the cases, given also the names of those that can't be used; cases in
            no part of it are left out.
        about: what the run's checkpoints say of its classes, its labels, and what was done to its
            volumes; None finds them in the cohort.

    Raises:
        UserError: knobs, files or cases that can't be used.
    """
    window, about = window_of(config), about or {}
    listing = cohort.list_cases(config)
    how = cohort.preprocessing(config, listing.cases, about)
    cases = _answered(listing.cases, config.task)
    parts, left = divide(cases, listing.skipped.keys())
    classes = {case.name: case.target for case in cases}
    cases = _listed(cases, parts)
    store, bad = cohort.prepare(cases, how, config)
    store, small = cohort.fitting(store, window, config)
    skipped = left | listing.skipped | bad | small
    cohort.say_skipped(skipped)
    parts, cases = _without(parts, skipped), [c for c in cases if c.name not in skipped]
    if config.task == "classify" and not about:  # again, without the cases that can't be used
        check_classes(parts, classes)
    cohort.refuse_other_channels(store, about, config)
    cohort.say_apart(store, parts)
    task, targets = pose(config, store.shapes[0][-1], store, cases, parts, listing.declared, about)
    shares = ", ".join(f"{len(names)} {part}" for part, names in parts._asdict().items())
    say(
        f"{config.data.source}: cases: {shares}; prepared, they take "
        f"{estimate.size(store.size)} in {config.data.store}"
    )
    if not parts.test:
        say("nothing is held out: all figures are of the cases that were trained on")
    run = Run(task, cases, store, parts, how, skipped, targets)
    if config.task not in SUPERVISED:
        return run
    ignore = task.about.get("ignore", -1)
    return run._replace(foreground=config.data.foreground, ignore=ignore)


def window_of(config: ConfigDict) -> tuple[int, int, int]:
    """The voxels along x, y, z that a step takes; knobs are refused before anything is read.

    Raises:
        UserError: a puzzle, a window or a way of inference that can't be.
    """
    with knobs():
        parallel.per_device(config.batch_size, 1)
    window = tuple(config.get("window", ()))
    if "window" in config and not (
        len(window) == 3 and all(isinstance(n, int) and n > 0 for n in window)
    ):
        raise UserError.of(
            "{window} is {}; expected three whole numbers (x, y, z), each at least 1", window
        )
    if config.task == "contrast" and config.batch_size // config.accumulate < 2:
        raise UserError.of(
            "{batch_size} is {} in {accumulate}={} parts, which leaves a volume nothing to be told "
            "from; expected at least 2 in each",
            *(config.batch_size, config.accumulate),
        )
    if config.task not in SUPERVISED:
        return build_task(config, channels=1).window
    check_inference(config)
    if config.task == "segment":
        regions.check(**config.regions.to_dict())
    return window


def check_inference(config: ConfigDict) -> None:
    """Raises UserError for a way of inference that can't be."""
    with knobs("inference"):
        inference.check(config.inference.overlap, tuple(config.inference.mirror))


def answered_by(cases: Sequence[Case], task: str) -> list[Case]:
    """The cases that have what the task is trained on, one of `SUPERVISED`."""
    return [case for case in cases if getattr(case, SUPERVISED[task]) is not None]


def _answered(cases: Sequence[Case], task: str) -> list[Case]:
    """The cases that have what the task is trained on; UserError where none has."""
    if task not in SUPERVISED:
        return cases
    answered = answered_by(cases, task)
    noun, wanted = {
        "classify": ("class", "{data.labels} (a CSV with columns case and class, or folders)"),
        "segment": ("mask", "{data.masks} (a glob), or a source that lists masks"),
    }[task]
    if not answered:
        raise UserError.of("none of the {} cases has a {}; expected " + wanted, len(cases), noun)
    if len(answered) < len(cases):
        say(f"{len(cases) - len(answered)} of {len(cases)} cases have no {noun} and are left out")
    return answered


def _without(parts: Split, skipped: Mapping[str, str]) -> Split:
    """The split without the cases that can't be used.

    Raises:
        UserError: none is left to train on, or to test, though there were some.
    """
    left = Split(*(tuple(name for name in part if name not in skipped) for part in parts))
    for part, what in ((parts.train, "training"), (parts.test, "test")):
        if part and not {*part} - skipped.keys():
            raise UserError(
                f"none of the {len(part)} {what} cases can be used, the first because "
                f"{skipped[part[0]]}"
            )
    return left


def _listed(cases: list[Case], parts: Split) -> list[Case]:
    """The cases of a split, out of those that are there; UserError names one that isn't."""
    by_name = {case.name: case for case in cases}
    names = [name for part in parts for name in part]
    for name in names:
        if name not in by_name:
            raise UserError(f"case {name!r} of the run's split is no longer in the cohort")
    return [by_name[name] for name in names]
