"""Regions that are made of several labels: which they are, and how they become labels again."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from rubik_jax.data import editions
from rubik_jax.data.declaration import Declared
from rubik_jax.data.editions import EDITIONS, TISSUES, listed, regions_of
from rubik_jax.errors import UserError

# What isn't an edition: no regions; those that the source declares; the edition that it is of.
PRESETS = ("none", "source", "brats", *EDITIONS)
_RESERVED = re.compile(r"\d+|loss|foreground|background|cross_entropy")


class Regions(NamedTuple):
    """What is scored beside the labels.

    labels: name -> the labels that it is made of.
    order: where the network answers regions, the label that is painted for each, one after the
        other; () where it answers labels.
    edition: of BraTS, whose regions they are; "" for none.
    """

    labels: Mapping[str, tuple[int, ...]] = {}
    order: tuple[int, ...] = ()
    edition: str = ""

    def about(self) -> dict:
        """What a checkpoint says of them."""
        return {
            "regions": {name: list(labels) for name, labels in self.labels.items()},
            "order": list(self.order),
            "edition": self.edition,
        }


NONE = Regions()


def of_run(about: Mapping) -> Regions:
    """Those that a checkpoint tells of; none where it is from before there were any."""
    labels = {name: tuple(these) for name, these in about.get("regions", {}).items()}
    return Regions(labels, tuple(about.get("order", ())), about.get("edition", ""))


def check(*, preset: str, define: Sequence, order: Sequence, train: bool) -> None:
    """Raises UserError for knobs of `config.regions` that can't be, whatever the masks hold."""
    if preset not in PRESETS:
        raise UserError(
            f"config.regions.preset is {preset!r}; expected one of {', '.join(PRESETS)}",
            knob="regions.preset",
        )
    for each in define:
        pair = isinstance(each, tuple | list) and len(each) == 2
        if not (
            pair
            and isinstance(each[0], str)
            and isinstance(each[1], tuple | list)
            and each[1]
            and all(isinstance(label, str) or type(label) is int for label in each[1])
        ):
            raise UserError(
                f"config.regions.define holds {each!r}; expected a name and its labels, such as "
                "('core', (1, 4)) or ('core', ('necrosis', 'enhancing'))",
                knob="regions.define",
            )
    names = [name for name, _ in define]
    if len({*names}) < len(names):
        raise UserError(
            f"config.regions.define has the names {names}; expected each once",
            knob="regions.define",
        )
    _refuse_reserved(names)
    if not all(type(label) is int and label > 0 for label in order):
        raise UserError(
            f"config.regions.order is {tuple(order)}; expected labels above 0",
            knob="regions.order",
        )
    if order and not train:
        raise UserError(
            f"config.regions.order is {tuple(order)}, which says how regions that are trained on "
            "become labels; expected config.regions.train=True beside it",
            knob="regions.order",
        )


def resolve(
    *,
    preset: str,
    define: Sequence,
    order: Sequence,
    train: bool,
    declared: Declared,
    present: Mapping[str, Collection[int]],
    values: Sequence[int],
) -> tuple[Regions, list[str]]:
    """The regions of a cohort, held against its masks and what its source says of them.

    Args:
        preset: one of `PRESETS`, an edition or how to find it.
        define: regions instead of the preset's: pairs of a name and labels, as numbers or names.
        order: the label to paint for each region; () for the source's, or what follows from the
            regions, of which a smaller one lies within a larger one.
        train: whether the network answers regions.
        declared: what the source says.
        present: case -> the labels above 0 of its mask, without what is ignored.
        values: the labels that are scored, the background first.

    Returns:
        The regions, and sentences for the terminal.

    Raises:
        UserError: a preset that masks or names contradict or that can't be told, a region without
            labels, or regions that don't make up the labels.
    """
    check(preset=preset, define=define, order=order, train=train)
    edition, notes, painted = "", [], tuple(order)
    if define:
        found = {name: _numbers(name, labels, declared, values) for name, labels in define}
    elif preset == "none":
        found = {}
    elif preset == "source":
        found, painted = dict(declared.regions), painted or declared.order
        _refuse_reserved(found)
    else:
        labels = sorted(set().union(*present.values()))
        edition = editions.told_by(declared, present) if preset == "brats" else preset
        editions.refuse_contradicted(edition, preset, labels, declared)
        editions.refuse_named(edition, preset, present, declared)
        found = regions_of(edition)
        named = {each for editions in declared.editions.values() for each in editions}
        if named and edition not in named:
            notes.append(f"files are named as of {' or '.join(sorted(named))}, not of {edition}")
        lacking = [label for label in EDITIONS[edition] if label not in labels]
        notes += [
            f"no mask holds label {label}, {TISSUES[EDITIONS[edition][label]]} in {edition}"
            for label in lacking
        ]
    if train:
        painted = _painted(found, painted, values, define or preset)
    return Regions(found, painted if train else (), edition), notes


def paint(
    probabilities: Float[np.ndarray, "*voxels r"], order: Sequence[int]
) -> Int[np.ndarray, "*voxels"]:
    """The labels of voxels, each region's painted where it is more probable than not.

    As nnU-Net's `regions_class_order`: what comes later covers what came before, 0 is the rest.
    """
    labels = np.zeros(probabilities.shape[:-1], np.int16)
    for region, label in enumerate(order):
        labels[probabilities[..., region] > 0.5] = label
    return labels


def show(regions: Regions, names: Mapping[int, str]) -> str:
    """Which labels make each region, in a line."""

    def called(label: int) -> str:
        said = TISSUES.get(EDITIONS.get(regions.edition, {}).get(label, ""), names.get(label))
        return f"{label} ({said})" if said else str(label)

    parts = [f"{name} = {' + '.join(map(called, each))}" for name, each in regions.labels.items()]
    return "; ".join(parts) + (f", by {regions.edition}" if regions.edition else "")


def _refuse_reserved(names: Collection[str]) -> None:
    for name in names:
        if not name.strip() or _RESERVED.fullmatch(name):
            raise UserError(
                f"a region is called {name!r}, which its measures can't be; expected another name, "
                "by config.regions.define",
                knob="regions.define",
            )


def _numbers(
    region: str, labels: Sequence, declared: Declared, values: Sequence[int]
) -> tuple[int, ...]:
    """The numbers of labels that are given by number or by name."""
    by_name = {name.casefold(): label for label, name in declared.names.items()}
    for label in labels:
        if isinstance(label, str) and label.casefold() not in by_name:
            known = ", ".join(map(repr, declared.names.values())) or "none"
            raise UserError(
                f"config.regions.define makes {region!r} of {label!r}; expected a number, or a "
                f"name that the source gives: {known}",
                knob="regions.define",
            )
    found = [by_name[label.casefold()] if isinstance(label, str) else label for label in labels]
    known = {*values, *declared.names}
    if 0 in found or declared.ignore in found or not {*found} & known:
        raise UserError(
            f"config.regions.define makes {region!r} of {tuple(found)}; expected some of the "
            f"labels {[value for value in values if value]}",
            knob="regions.define",
        )
    return tuple(dict.fromkeys(found))


def _painted(
    regions: Mapping[str, tuple[int, ...]],
    order: tuple[int, ...],
    values: Sequence[int],
    origin: object,
) -> tuple[int, ...]:
    """The label that is painted for each region; UserError where it doesn't follow."""
    if not regions:
        raise UserError(
            f"config.regions.train is True, but {origin!r} gives no regions; expected some by "
            "config.regions.preset or .define",
            knob="regions.train",
        )
    outside = sorted({*values} - {0} - set().union(*regions.values()))
    if outside:
        raise UserError(
            f"config.regions.train is True, but label {listed(outside)} is in no region and would "
            "be learned as background; expected a region that holds it",
            knob="regions.define",
        )
    if order and len(order) != len(regions):
        raise UserError(
            f"config.regions.order has {len(order)} labels for the regions {', '.join(regions)}; "
            "expected one for each",
            knob="regions.order",
        )
    found = []
    for place, (name, labels) in enumerate(regions.items()):
        within = [other for other in regions.values() if {*other} < {*labels}]
        if order:
            own = ({order[place]} & {*labels}).difference(*within)
        else:
            own = {*labels}.difference(*within)
            own = own if len(own) == 1 else own & {*values}
        if len(own) != 1:
            raise UserError(
                f"config.regions.order does not say which label is painted for the region {name!r} "
                f"of {listed(labels)}; expected one of them for each of {', '.join(regions)}",
                knob="regions.order",
            )
        found.extend(own)
    for place, (name, labels) in enumerate(regions.items()):
        for after, other in list(regions.items())[place + 1 :]:
            if {*labels} < {*other}:
                raise UserError(
                    f"the region {after!r} is painted after {name!r}, which lies within it; "
                    "expected the larger first, in config.regions.define",
                    knob="regions.define",
                )
    return tuple(found)
