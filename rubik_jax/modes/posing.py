"""Poses the task of a config: what is asked of a network, and which answers there are."""

import bisect
import json
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any

from ml_collections import ConfigDict

from rubik_jax.data import regions as region
from rubik_jax.data.cases import Case
from rubik_jax.data.declaration import Declared
from rubik_jax.data.editions import listed
from rubik_jax.data.regions import Regions
from rubik_jax.data.split import Split
from rubik_jax.data.store import Store
from rubik_jax.errors import UserError, knobs
from rubik_jax.report.progress import say
from rubik_jax.tasks.classify import classify
from rubik_jax.tasks.contrast import contrast
from rubik_jax.tasks.pretrain import pretrain
from rubik_jax.tasks.reconstruct import reconstruct
from rubik_jax.tasks.restore import restore
from rubik_jax.tasks.segment import segment
from rubik_jax.types import Task

WINDOWED = {"reconstruct": reconstruct, "restore": restore, "contrast": contrast}
TASKS = ("pretrain", *WINDOWED, "classify", "segment")
SAID = 12  # classes that are named on the terminal
# Those that need answers, and may start from another run -> where a case has its answer.
SUPERVISED = {"classify": "target", "segment": "label"}


def pose(
    config: ConfigDict,
    channels: int,
    store: Store,
    cases: Sequence[Case],
    parts: Split,
    declared: Declared,
    about: Mapping[str, Any],
) -> tuple[Task, dict[str, int] | None]:
    """The task, and the number of each case's class where classes are asked for.

    Args:
        config: the run's.
        channels: modalities of a volume.
        store: the cases, prepared.
        cases: the same, as they were listed.
        parts: their split; shares of classes and labels are those of the training part.
        declared: what the source says of the masks' labels.
        about: what the run's checkpoints say of the classes or labels, where there are any.

    Raises:
        UserError: knobs that can't be used, or fewer than two answers.
    """
    if config.task == "classify":
        classes, shares, targets = find_classes(cases, parts, about.get("classes"))
        return build_task(config, channels, classes, shares), targets
    if config.task == "segment":
        ignore = _ignored(config.data.ignore, declared, about)
        values, shares = _labels(store, parts, ignore, about.get("values"))
        regions = _regions(config, store, values, ignore, declared, about)
        for label in sorted({*regions.order} - {*values}):  # which is painted, and occurs nowhere
            place = bisect.bisect(values, label)
            values = (*values[:place], label, *values[place:])
            shares.insert(place, 0.0)
        return build_task(config, channels, values, shares, regions, ignore), None
    task = build_task(config, channels)
    if len(task.about.get("orders", ())) > 1:
        say(
            f"{len(task.about['orders'])} orders, Hamming distance at least "
            f"{task.about['order_distance_least']}, "
            f"{task.about['order_distance_mean']:.2f} on average"
        )
    return task, None


def build_task(
    config: ConfigDict,
    channels: int,
    answers: Sequence = (),
    shares: Sequence[float] | None = None,
    regions: Regions = region.NONE,
    ignore: int = -1,
) -> Task:
    """The task of a config.

    Args:
        config: the run's.
        channels: modalities of a volume.
        answers: the names of the classes, or the labels.
        shares: of the training cases or voxels that each has; None for equal ones.
        regions: what is scored, or learned, beside labels.
        ignore: the label that says nothing; -1 for none.

    Raises:
        UserError: knobs that can't be used.
    """
    options = {
        "channels": channels,
        "model": config.model.to_dict(),
        "augmentation": config.augment.to_dict(),
    }
    with knobs(proxy_options="proxy", augmentation="augment"):
        if config.task not in SUPERVISED:
            options |= {"proxy_options": config.proxy.to_dict()}
            if config.task == "pretrain":
                return pretrain(loss=config.loss.to_dict(), seed=config.seed, **options)
            return WINDOWED[config.task](window=tuple(config.window), **options)
        options |= {
            "frequencies": tuple(shares or [1 / len(answers)] * len(answers)),
            "window": tuple(config.window),
            "loss": config.loss.to_dict(),
        }
        if config.task == "classify":
            return classify(classes=tuple(answers), **options)
        return segment(values=tuple(answers), regions=regions, ignore=ignore, **options)


def find_classes(
    cases: Sequence[Case], parts: Split, known: Sequence[str] | None
) -> tuple[tuple[str, ...], list[float], dict[str, int]]:
    """The classes, each's share of the training cases, and the number of each case's class."""
    names = {case.name: case.target for case in cases}
    found = set(names.values())
    # Numbers by their size, and names as they are sorted.
    ordered = sorted(found, key=lambda name: (not name.isdecimal(), name.zfill(9), name))
    classes = tuple(known or ordered)
    if found - set(classes):
        raise UserError(
            f"class {min(found - set(classes))!r} is none of those that the run knows, {classes}; "
            "expected the same names"
        )
    targets = {name: classes.index(of) for name, of in names.items()}
    counts = Counter(targets[name] for name in parts.train)
    if parts.train:
        said = [f"{counts[k]} of {name!r}" for k, name in enumerate(classes)]
        more = [f"and {len(said) - SAID} more classes"] if len(said) > SAID else []
        say(f"to train on: {', '.join([*said[:SAID], *more])}")
    for part in ("validation", "test"):
        if note := _note_absent(part, {targets[name] for name in getattr(parts, part)}, classes):
            say(note)
    shares = [counts[k] / max(1, len(parts.train)) for k in range(len(classes))]
    return classes, shares, targets


def _note_absent(part: str, occurring: Set[int], classes: Sequence[str]) -> str:
    """Which classes no case of a part has, and what its scores are then; "" where all occur."""
    absent = [repr(name) for k, name in enumerate(classes) if k not in occurring]
    if not occurring or not absent:
        return ""
    more = [f"{len(absent) - SAID} more"] if len(absent) > SAID else []
    scores = (
        f"balanced accuracy there is the mean of the other {len(occurring)} (chance "
        f"{1 / len(occurring):.1%})"
        if len(occurring) > 1
        else f"with {classes[min(occurring)]!r} alone, accuracy there tells nothing (chance 100%)"
    )
    return f"note: no {part} case is of class {', '.join([*absent[:SAID], *more])}; {scores}"


def _ignored(given: int, declared: Declared, about: Mapping[str, Any]) -> int:
    """The label that says nothing, -1 for none: the config's, or else the source's."""
    if given >= 0 and declared.ignore >= 0 and given != declared.ignore:
        raise UserError(
            f"config.data.ignore is {given}, but the source declares {declared.ignore} as the "
            f"label to be ignored; expected -1 or {declared.ignore}",
            knob="data.ignore",
        )
    ignore = about.get("ignore", -1) if given < 0 and "ignore" in about else given
    if ignore < 0 and declared.ignore >= 0:
        if declared.ignore in about.get("values", ()):
            say(f"note: this run learned label {declared.ignore}, which the source has ignored")
        else:
            say(f"label {declared.ignore} is ignored, as the source declares")
            ignore = declared.ignore
    return ignore


def _regions(
    config: ConfigDict,
    store: Store,
    values: Sequence[int],
    ignore: int,
    declared: Declared,
    about: Mapping[str, Any],
) -> Regions:
    """The regions of the run, held against the masks; those that it was trained on, where it was.

    Raises:
        UserError: as `regions.resolve`, or a cohort where a region is made of other labels than
            in the run.
    """
    knobs, before = config.regions.to_dict(), region.of_run(about)
    same = json.loads(json.dumps(knobs)) == about.get("config", {}).get("regions")
    if "regions" in about and not same and (before.order or knobs["train"]):
        raise UserError(
            "config.regions was settled when the run was trained on regions; expected it unchanged",
            knob="regions",
        )
    if same and knobs["preset"] == "brats" and before.edition:
        knobs["preset"] = before.edition
    if same and knobs["define"]:  # by numbers, for another source may know no names
        knobs["define"] = tuple(before.labels.items())
    present = {
        entry["name"]: {int(label) for label in entry["labels"]} - {0, ignore}
        for entry in store.entries
        if entry["label"] is not None
    }
    found, notes = region.resolve(**knobs, declared=declared, present=present, values=values)
    if same:
        for name in found.labels.keys() & before.labels.keys():
            if {*found.labels[name]} != {*before.labels[name]}:
                raise UserError(
                    f"the region {name!r} is made of {listed(found.labels[name])} in these cases, "
                    f"of {listed(before.labels[name])} in the run; expected the same labels"
                )
        found = before
    for note in notes:
        say(f"note: {note}")
    if found.labels:
        say(f"regions: {region.show(found, declared.names)}")
    return found


def _labels(
    store: Store, parts: Split, ignore: int, known: Sequence[int] | None
) -> tuple[tuple[int, ...], list[float]]:
    """The labels, and each's share of the training voxels."""
    values = tuple(known or (value for value in store.values if value != ignore))
    strangers = sorted({*store.values} - {*values, ignore})
    if strangers:
        raise UserError(
            f"the masks hold the labels {strangers}, which the run doesn't know: expected some of "
            f"{list(values)}"
        )
    if len(values) < 2:
        raise UserError(f"the masks hold the labels {values} alone; expected at least two")
    counts = store.only(parts.train).counts
    voxels = max(1, sum(counts.get(value, 0) for value in values))
    shares = [counts.get(value, 0) / voxels for value in values]
    if parts.train:
        said = (f"{value}: {share:.2%}" for value, share in zip(values, shares, strict=True))
        say(f"labels, and their share of the training voxels: {', '.join(said)}")
    return values, shares
