"""Poses the task of a config: what is asked of a network, and which answers there are."""

import bisect
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any

from ml_collections import ConfigDict

from rubik_jax.data import regions as region
from rubik_jax.data.cases import Case
from rubik_jax.data.declaration import Declared
from rubik_jax.data.regions import Regions
from rubik_jax.data.split import Split
from rubik_jax.data.store import Store
from rubik_jax.errors import UserError, knobs
from rubik_jax.modes import labelling
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
        ignore = labelling.ignored(config.data.ignore, declared, about)
        values, shares = labelling.labels(store, parts, ignore, about.get("values"))
        regions = labelling.regions(config, store, values, ignore, declared, about)
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
