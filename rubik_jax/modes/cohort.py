"""The cohort of a config: its cases, what is done to their volumes, the store that holds them."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from rubik_jax import interrupts, workdir
from rubik_jax.data import declaration, entries, labels, loader, outliers, spacing
from rubik_jax.data.cases import Case, Where
from rubik_jax.data.entries import Built
from rubik_jax.data.formats import Clip
from rubik_jax.data.preprocess import Preprocessing, make_preprocessing
from rubik_jax.data.sources import Listing, find_cases
from rubik_jax.data.split import Split
from rubik_jax.data.store import Store
from rubik_jax.errors import UserError, knobs
from rubik_jax.report import survey, tables
from rubik_jax.report.progress import say, track

MOST_SAID = 10  # skipped cases that are named on the terminal; files name them all


def list_cases(config: ConfigDict) -> Listing:
    """The cases of the config's source, and those that it can't take, with the reason."""
    options = config.data
    listing = find_cases(
        options.source,
        Where(
            options.path,
            name=options.name,
            modalities=tuple(options.modalities),
            masks=options.masks,
            count=options.count,
            clip=clip_of(config),
            division=options.video.split,
        ),
        labels=options.labels,
        missing=options.missing,
    )
    if note := labels.note(listing.cases, options.labels, options.path):
        say(note)
    for note in (*listing.declared.notes, *_scaled_otherwise(listing.cases, config)):
        say(f"note: {note}")
    interrupts.check()
    return listing


def _scaled_otherwise(cases: Sequence[Case], config: ConfigDict) -> list[str]:
    """What a source's names of channels ask for that the config's intensities don't do."""
    kind = config.data.intensity.kind
    named = [name for name in cases[0].modalities if name.casefold() in declaration.SCALED]
    if config.data.source != "msd" or not named or kind == "window":
        return []
    if any(name.casefold() == "ct" for name in named):
        return [
            f"the source declares CT, whose numbers are Hounsfield units, but {kind} scales case "
            "by case; config.data.intensity.kind=window with .low and .high, such as -160.0 and "
            "240.0, keeps what they mean"
        ]
    return [
        f"the source declares {', '.join(named)}, but {kind} scales case by case; "
        "config.data.intensity.kind=window with .low and .high keeps what the numbers mean"
    ]


def clip_of(config: ConfigDict) -> Clip:
    """What is taken of a video, where the cohort is made of such."""
    return Clip(config.data.video.frames, config.data.video.side)


def preprocessing(
    config: ConfigDict, cases: Sequence[Case], about: Mapping[str, Any]
) -> Preprocessing:
    """What is done to every volume of a run.

    Args:
        config: the run's.
        cases: all that the source lists, whatever their part in the split.
        about: what the run's checkpoints say, where there are any: what was done once is done
            again, whatever the cases' median spacing is by now.

    Raises:
        UserError: knobs that can't be used.
    """
    if about.get("preprocessing"):
        return _preprocessing(**about["preprocessing"])
    options = config.data
    kind, wanted = options.resample.kind, tuple(options.resample.spacing)
    if kind not in ("none", "median", "value"):
        raise UserError.of(
            "{data.resample.kind} is {!r}; expected 'none', 'median' or 'value'", kind
        )
    make = partial(
        _preprocessing,
        orientation=options.orientation,
        crop=options.crop,
        geometry=options.geometry,
        intensity=options.intensity.to_dict(),
    )
    how = make(spacing=wanted if kind == "value" else None)
    if kind == "median":
        found = spacing.median(
            cases,
            orientation=how.orientation,
            geometry=how.geometry,
            workers=options.workers,
        )
        say(f"median spacing {' x '.join(f'{mm:g}' for mm in found)} mm, which all get")
        how = make(spacing=found)
    return how


def _preprocessing(**options: Any) -> Preprocessing:
    with knobs("data", spacing="data.resample.spacing"):
        return make_preprocessing(**options)


def prepare(cases: Sequence[Case], how: Preprocessing, config: ConfigDict) -> Built:
    """The store of those cases, prepared as far as they aren't yet."""
    return entries.build(
        cases,
        store_of(config),
        how=how,
        compress=config.data.compress,
        workers=config.data.workers,
        on_bad=config.data.on_bad,
        progress=partial(track, what="preparing volumes"),
    )


def fitting(
    store: Store, window: tuple[int, int, int], config: ConfigDict
) -> tuple[Store, dict[str, str]]:
    """The cases that the window fits into, and why the others are left out, if they may be.

    Raises:
        UserError: a case is too small, and neither padding nor leaving it out was asked for; or
            all are.
    """
    small = too_small(store.shapes, store.names, window, config)
    if small and (config.data.on_bad == "fail" or len(small) == len(store)):
        first = next(iter(small.values()))
        sizes = np.array([shape[:3] for shape in store.shapes])
        fits = fitting_all(sizes, window, config)
        raise UserError((*first.parts, f" ({len(small)} of {len(store)} cases are; {fits})"))
    reasons = {name: str(error) for name, error in small.items()}
    return store.only([name for name in store.names if name not in small]), reasons


def fitting_all(
    sizes: Int[np.ndarray, "n 3"], window: tuple[int, int, int], config: ConfigDict
) -> str:
    """The largest window, up to the config's, that fits into all cases, as a knob; in words."""
    least = np.minimum(sizes.min(axis=0), window)
    if config.task != "pretrain":
        return f"config.window=({','.join(map(str, least))}) fits into all"
    counts, gap = np.array(config.proxy.counts), np.array(config.proxy.gap)
    cube = (least - (counts - 1) * gap) // counts
    if cube.min() < 1:
        return f"the thinnest has {'x'.join(map(str, sizes.min(axis=0)))} voxels"
    return f"config.proxy.cube=({','.join(map(str, cube))}) fits into all"


def too_small(
    shapes: Sequence[tuple[int, ...]],
    names: Sequence[str],
    window: tuple[int, int, int],
    config: ConfigDict,
) -> dict[str, UserError]:
    """The cases that the window doesn't fit into, and why, unless the config has them padded."""
    with knobs("data"):
        small = loader.too_small(shapes, names, window, pad=config.data.pad)
    knob = "{proxy.cube}" if config.task == "pretrain" else "{window}"
    advice = f"make {knob} smaller, or set {{data.pad}}=edge, though of cubes padding gives away"
    return {
        name: UserError.of(f"case {{!r}} is {{}}: {advice} where they belong", name, sizes)
        for name, sizes in small.items()
    }


def refuse_other_channels(store: Store, about: Mapping[str, Any], config: ConfigDict) -> None:
    """Raises UserError where the cases have another number of modalities than the run's had."""
    channels = store.shapes[0][-1]
    if about.get("channels", channels) != channels:
        raise UserError.of(
            "the cases of {} have {} modalities, those of the run {}; expected as many, by "
            "{data.modalities}",
            *(config.data.path, channels, about["channels"]),
        )


def say_apart(store: Store, parts: Split) -> None:
    """Warns of scans that are in two parts, and says what was passed over and who stands apart."""
    part_of = {name: part for part, names in parts._asdict().items() for name in names}
    first: dict[str, str] = {}
    pairs = [(first.setdefault(e["facts"]["digest"], e["name"]), e["name"]) for e in store.entries]
    twins = [pair for pair in pairs if part_of[pair[0]] != part_of[pair[1]]]
    if twins:
        one, other = twins[0]
        say(
            f"warning: {len(twins)} of {len(store)} cases are in another part as well: {other!r} "
            f"({part_of[other]}) has the same voxels as {one!r} ({part_of[one]})"
        )
    facts = [entry["facts"] for entry in store.entries]
    if strangers := survey.passed_over(facts):
        say(f"passed over {strangers}")
    reasons = outliers.find(store.names, facts)
    if reasons:
        name, why = next(iter(reasons.items()))
        several = len(reasons) > 1
        say(
            f"{len(reasons)} of {len(store)} cases {'stand' if several else 'stands'} apart from "
            f"the others{', such as' if several else ':'} {name!r}: {why[0]}"
            f"{'; --mode=prepare shows them all' * several}"
        )


def store_of(config: ConfigDict) -> Path:
    """The folder of the store."""
    return Path(config.data.store).expanduser()


def write_skipped(folder: Path, skipped: Mapping[str, str]) -> None:
    """Writes the cases that are left out, with the reason of each; no file where there are none."""
    if not skipped:
        (folder / workdir.SKIPPED).unlink(missing_ok=True)  # that of an earlier call
        return
    rows = [{"case": name, "reason": reason} for name, reason in skipped.items()]
    tables.write(folder / workdir.SKIPPED, rows)


def say_skipped(skipped: Mapping[str, str]) -> None:
    """Names the cases that are left out, with the reason of each."""
    if not skipped:
        return
    say(f"skipped: {len(skipped)} {'case' if len(skipped) == 1 else 'cases'}")
    for name, reason in list(skipped.items())[:MOST_SAID]:
        say(f"  {name}: {reason}")
    if len(skipped) > MOST_SAID:
        say(f"  and {len(skipped) - MOST_SAID} more")
