"""Folders whose files are generated once: whole, resumed, and never mixed with anything else."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rubik_jax import failures, interrupts
from rubik_jax.data.writing import whole
from rubik_jax.errors import UserError

Files = tuple[Sequence[Path], Callable[[], Sequence[bytes]]]
"""Paths of files, and what makes the content of each."""


def fill(folder: Path, what: str, wanted: dict[str, Any], files: Iterable[Files]) -> None:
    """Writes what isn't there yet, and last a file that says that all is there.

    The same call again writes nothing, or what an interrupted one has left to do; several
    processes may fill the same folder at once.

    Args:
        folder: made where it is missing.
        what: a word for what it holds; `<what>.json` says that it is there, `<what>.started.json`
            that it is being made.
        wanted: what both say: whatever the contents depend on, as JSON has it.
        files: all that there shall be beside those.

    Raises:
        UserError: the folder holds anything else, or others of its kind, or can't be written.
    """
    done, started = folder / f"{what}.json", folder / f"{what}.started.json"
    try:
        if _is_done(folder, done, started, wanted):
            return
        _put(started, json.dumps(wanted).encode())
        for paths, make in files:
            interrupts.check()
            if not all(path.exists() for path in paths):
                for path, content in zip(paths, make(), strict=True):
                    _put(path, content)
        _put(done, json.dumps(wanted).encode())
        started.unlink(missing_ok=True)
    except OSError as error:
        raise failures.of_file(error, folder) or UserError(
            f"{what}s can't be written to {folder}: {error.strerror}"
        ) from error


def _is_done(folder: Path, done: Path, started: Path, wanted: dict[str, Any]) -> bool:
    """Whether these very files are all there; UserError where anything else is."""
    names = {file.name for file in folder.iterdir()} if folder.exists() else set()
    # A call killed before its first file was whole leaves that file's temporary name at most.
    others = [name for name in names if not name.startswith(f".{started.name}.")]
    marker = done if done.name in names else started
    if marker.name in names:
        found = _read_json(marker)
        if found != wanted:
            raise UserError.of(
                "{} says {}, but {} is asked for: ask for what is there, set {data.path} to "
                "another folder, or delete this one",
                *(marker, found, wanted),
            )
    elif others:
        raise UserError.of(
            "{} holds {!r} but no {}: expected a folder that is new, empty or of {}s; set "
            "{data.path} to such a one",
            *(folder, min(others), done.name, done.stem),
        )
    return done.name in names


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except ValueError:
        return "nothing readable"


def _put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole(file) as new:
        new.write(content)
