"""Prepares a cohort ahead of training: looks at it, says what it is, fills the store, reports."""

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from rubik_jax import workdir
from rubik_jax.data import entries, outliers
from rubik_jax.data.cases import Case
from rubik_jax.data.outliers import times
from rubik_jax.data.rehearsal import Looked, look
from rubik_jax.data.store import Store
from rubik_jax.errors import UserError
from rubik_jax.modes import cohort
from rubik_jax.modes.opening import window_of
from rubik_jax.modes.training import versions
from rubik_jax.report import cohort as page
from rubik_jax.report import estimate, survey
from rubik_jax.report.progress import clock, say, track

GLANCE = 20  # seconds of looking before the work begins; a dry run looks at all


def prepare(folder: Path, config: ConfigDict, command: str, *, dry_run: bool) -> None:
    """Prepares every case of a config's source, whatever task it is for.

    Args:
        folder: of the run to come; it gets the report and the list of skipped cases.
        config: the run's.
        command: as it was typed.
        dry_run: whether to stop after the table, with nothing written.

    Raises:
        UserError: whatever can't be used; a dry run lists all of that first.
    """
    workdir.check(folder, json.loads(config.to_json()))
    window = window_of(config)
    listing = cohort.list_cases(config)
    cases = listing.cases
    how = cohort.preprocessing(config, cases, {})
    entries.refuse_unequal_channels(cases)
    looked = look(
        cases,
        cohort.store_of(config),
        how=how,
        compress=config.data.compress,
        workers=config.data.workers,
        seconds=None if dry_run else GLANCE,
        progress=partial(track, what="looking at cases"),
    )
    bad = {each.name: each.reason for each in looked if each.facts is None}
    if bad and config.data.on_bad == "fail" and not dry_run:
        raise UserError(next(iter(bad.values())))
    sound = [each for each in looked if each.facts is not None]
    names, facts = [each.name for each in sound], [each.facts for each in sound]
    survey.show(
        names,
        facts,
        reasons=outliers.find(names, facts),
        skipped=listing.skipped | bad,
        estimate=[
            *_classes(cases),
            *_sizes(sound, window, config),
            *_cost(sound, len(cases), config),
        ],
    )
    if dry_run:
        if bad and config.data.on_bad == "fail":
            raise UserError(
                f"{len(bad)} of {len(cases)} cases can't be used: {next(iter(bad.values()))} "
                "(config.data.on_bad=skip leaves them out)"
            )
        say("this was a dry run: nothing was prepared")
        return
    store, bad = cohort.prepare(cases, how, config)
    skipped = listing.skipped | bad
    facts = [entry["facts"] for entry in store.entries]
    reasons = outliers.find(store.names, facts)
    if len(looked) < len(cases):  # there is more to show now
        survey.show(store.names, facts, reasons=reasons, skipped=skipped)
    report = folder / workdir.DATA_REPORT
    page.write(
        report,
        _shown(store, reasons),
        title=f"{config.data.source} {config.data.path or config.data.name}",
        about=", ".join(f"{name} {version}" for name, version in versions().items()),
        command=command,
        skipped=skipped,
        done=page.steps(how),
        orientation=how.orientation,
        progress=partial(track, what="drawing cases"),
    )
    cohort.write_skipped(folder, skipped)
    say(f"store       {store.root}: {len(store)} cases, {estimate.size(store.size)}")
    say(f"report      {report}")
    if skipped:  # the table above names them
        say(f"skipped     {folder / workdir.SKIPPED}: {len(skipped)}")


def _sizes(looked: Sequence[Looked], window: tuple[int, int, int], config: ConfigDict) -> list[str]:
    """Lines on what cropping and resampling leave, and whether the window fits into it."""
    if not looked:
        return []
    sizes = np.array([each.shape[:3] for each in looked])
    least, most = (times(of.tolist()) for of in (sizes.min(0), sizes.max(0)))
    lines = [f"prepared    {least} voxels" + (f" to {most}" if most != least else "")]
    small = int(np.any(sizes < window, axis=1).sum())
    fits = "fits into all"
    if small:
        refused = config.data.pad == "refuse"
        done = (
            "training refuses them" if refused else f"they are padded by data.pad={config.data.pad}"
        )
        fits = (
            f"larger than {small} of {len(looked)} cases: {done}; "
            f"{cohort.fitting_all(sizes, window, config)}"
        )
    return [*lines, f"window      {times(window)} voxels, {fits}"]


def _classes(cases: Sequence[Case]) -> list[str]:
    """A line on how many cases each class has, where there are classes."""
    counts = Counter(case.target for case in cases)
    without = counts.pop(None, 0)
    if not counts:
        return []
    said = [f"{count} {name!r}" for name, count in sorted(counts.items())]
    return [f"classes     {', '.join([*said, *[f'{without} without'] * bool(without)])}"]


def _cost(looked: Sequence[Looked], count: int, config: ConfigDict) -> list[str]:
    """Lines on what preparing takes, by the cases that were looked at."""
    if not looked:
        return []
    share = f"by {len(looked)} of {count} cases" if len(looked) < count else "by all cases"
    packed, workers = config.data.compress, max(1, config.data.workers)
    disk = count * np.mean([each.size for each in looked])
    lines = [f"disk        {estimate.size(disk)}{' before compression' * packed}, {share}"]
    new = [each for each in looked if not each.kept]
    if not new:
        return [*lines, "time        none: the store holds these cases"]
    memory = workers * max(each.memory for each in new)
    left = count * len(new) / len(looked) * np.mean([each.seconds for each in new])
    lines.append(f"memory      {estimate.size(memory)} at once, for {workers} workers")
    return [*lines, f"time        {clock(left / workers)}"]


def _shown(store: Store, reasons: dict[str, list[str]]) -> list[page.Shown]:
    """What the report draws, those that stand apart by their gravity, then the others."""
    order = {name: i for i, name in enumerate(dict.fromkeys([*reasons, *store.names]))}
    return [
        page.Shown(
            name=store.names[i],
            facts=store.entries[i]["facts"],
            reasons=reasons.get(store.names[i], ()),
            spacing=store.entries[i]["spacing"],
            volume=partial(store.volume, i),
            labels=partial(store.label, i),
        )
        for i in sorted(range(len(store)), key=lambda i: order[store.names[i]])
    ]
