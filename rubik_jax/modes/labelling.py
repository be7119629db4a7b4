"""What the labels of a cohort's masks are: which are scored, ignored, and make regions together."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from rubik_jax.data import regions as region
from rubik_jax.data.declaration import Declared
from rubik_jax.data.editions import listed
from rubik_jax.data.regions import Regions
from rubik_jax.data.split import Split
from rubik_jax.data.store import Store
from rubik_jax.errors import UserError
from rubik_jax.report.progress import say


def ignored(given: int, declared: Declared, about: Mapping[str, Any]) -> int:
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


def regions(
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


def labels(
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
