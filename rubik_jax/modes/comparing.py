"""Compares the cases of a run with those that it was begun with, by what their files hold."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rubik_jax.data.identity import Content
from rubik_jax.data.store import Store
from rubik_jax.errors import UserError
from rubik_jax.report.progress import say

CASES = "cases"  # what a checkpoint's description calls them


def contents(store: Store, classes: Mapping[str, str] | None = None) -> dict[str, Content]:
    """What each case is made of, wherever its files lie.

    Args:
        store: holds the cases.
        classes: case -> its class, where classes are trained on.
    """
    named = classes or {}
    return {
        entry["name"]: Content(**entry["content"])._replace(target=named.get(entry["name"]))
        for entry in store.entries
    }


def described(store: Store, classes: Mapping[str, str] | None) -> dict[str, dict[str, Any]]:
    """The same, as the checkpoints of a run keep it under `CASES`."""
    return {name: content._asdict() for name, content in contents(store, classes).items()}


def changes(
    about: Mapping[str, Any],
    store: Store,
    names: Collection[str],
    classes: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Cases that aren't what they were when a run began -> what is another.

    Args:
        about: what the run's checkpoints say of it.
        store: holds the cases that there are now.
        names: of the cases that are compared; those that the run doesn't know are passed over.
        classes: as `contents` takes; classes that the run is too old to tell of are passed over.
    """
    before, now = about.get(CASES, {}), contents(store, classes)
    found = {}
    for name in names:
        if name in before:
            then = Content(**{"target": now[name].target} | before[name])
            found[name] = _change(then, now[name])
    return {name: what for name, what in found.items() if what}


def refuse_changed(
    folder: Path,
    about: Mapping[str, Any],
    store: Store,
    classes: Mapping[str, str] | None = None,
) -> None:
    """Lets a run go on with the cases that it was begun with alone.

    Args:
        folder: the run's.
        about: what its latest checkpoint says of it.
        store: holds its cases.
        classes: as `contents` takes.

    Raises:
        UserError: the files of a case hold something else by now, or its class is another.
    """
    if _is_older(about):
        return
    found = changes(about, store, store.names, classes)
    if found:
        raise UserError(
            f"--workdir={folder} holds a run that was begun with other data: {_first(found)} since "
            f"({len(found)} of {len(store)} cases changed); expected the same files, or another "
            "--workdir"
        )


@contextmanager
def expecting_own(moved: str | None) -> Iterator[None]:
    """Adds to a mistake from within that other cases than the run's need a folder of their own.

    Args:
        moved: where the data are looked for, if that isn't where the run had them; else None.
    """
    try:
        yield
    except UserError as error:
        if moved is None:
            raise
        more = f"config.data.path={moved} isn't the run's own; expected --output=FOLDER for others"
        raise UserError(f"{error} ({more})", knob=error.knob) from error


def note_changed(
    about: Mapping[str, Any],
    store: Store,
    names: Sequence[str],
    *,
    moved: str | None,
    classes: Mapping[str, str] | None = None,
) -> None:
    """Says which of a run's cases are no longer what they were, before they are evaluated.

    Args:
        about: what the run's checkpoint says of it.
        store: holds the cases that there are now.
        names: of those that are evaluated; those that the run doesn't know are passed over.
        moved: where the data are looked for, if that isn't where the run had them.
        classes: as `contents` takes.

    Raises:
        UserError: data at another place than the run's are others.
    """
    if _is_older(about):
        return
    if moved is not None and about[CASES].keys().isdisjoint(names):
        raise UserError(
            f"config.data.path={moved} holds none of the cases that the run had; expected "
            "--output=FOLDER for others"
        )
    found = changes(about, store, names, classes)
    if not found:
        return
    if moved is not None:
        raise UserError(
            f"config.data.path={moved} holds other data than the run had: {_first(found)} "
            f"({len(found)} of {len(names)} cases differ); expected --output=FOLDER for others"
        )
    say(
        f"note: {len(found)} of {len(names)} cases changed since the run was trained: "
        f"{_first(found)}; what follows is of the files as they are now"
    )


def _is_older(about: Mapping[str, Any]) -> bool:
    if CASES in about:
        return False
    say("note: the run is older than the comparison of data; it takes the files that are there now")
    return True


def _first(found: Mapping[str, str]) -> str:
    name, what = next(iter(found.items()))
    return f"case {name!r} has {what}"


def _change(before: Content, now: Content) -> str:
    """What of a case is another; "" where nothing is."""
    count = len(now.images)
    if count != len(before.images):
        return f"{count} images, not {len(before.images)},"
    for i, (one, other) in enumerate(zip(before.images, now.images, strict=True), start=1):
        if one != other:
            return "another image" + (f" (of its {count}, the one at place {i})" * (count > 1))
    if before.label != now.label:
        both = before.label and now.label
        return "another mask" if both else "a mask" if now.label else "no mask"
    if before.target != now.target:
        return f"the class {now.target!r}, not {before.target!r},"
    return "" if before == now else "other labels or channels by its source"
