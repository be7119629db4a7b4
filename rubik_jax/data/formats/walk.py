"""Lists what lies below a folder, by one rule on links, hidden files and endings for all sources.

Links are followed. A folder is known by its device and inode, so that a loop of links ends, and
what several paths lead to is listed once: by the path of the fewest links, then the first by name.
Hidden files and folders are left out, and a folder that can't be listed is refused.
"""

import errno
import fnmatch
import functools
import heapq
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rubik_jax.data.formats.scan import lowered
from rubik_jax.errors import UserError

# What a system keeps for itself at the root of a disk, and lets no one else list.
_SYSTEM = ("lost+found", "System Volume Information", "$RECYCLE.BIN")
_MAGIC = r"[*?[]"
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

Identity = tuple[int, int] | str


class Folder(NamedTuple):
    """A folder and the names of the files in it, sorted; links to nothing are among them."""

    path: Path
    files: tuple[str, ...]


class _Entry(NamedTuple):
    """A file or folder, in the order in which it is preferred to another path to the same.

    links: how many there are on the way to it.
    path: relative to where the walk began.
    states: the parts of the glob that what lies in it has to match next.
    identity: of folders, and of files to which a link leads.
    """

    links: int
    path: str
    is_folder: bool
    states: frozenset[int]
    identity: Identity | None


def folders(root: Path) -> list[Folder]:
    """A folder and all folders below it, sorted by path.

    A link to a file counts only where that file isn't listed itself.

    Raises:
        UserError: a folder that can't be listed.
    """
    found: dict[str, list[str]] = {"": []}
    for entry in _without_links(root, _below(root, ("**",))):
        folder, _, name = entry.path.rpartition("/")
        if entry.is_folder:
            found.setdefault(entry.path, [])
        else:
            found.setdefault(folder, []).append(name)
    return [Folder(root / path, tuple(sorted(found[path]))) for path in sorted(found)]


def files(root: Path) -> list[Path]:
    """All files below a folder, sorted; as `folders` has them."""
    return sorted(folder.path / name for folder in folders(root) for name in folder.files)


def match(root: Path, pattern: str) -> list[str]:
    """The files and folders that a glob matches, relative to the root or absolute as the glob is.

    Wildcards mean what they do to `glob.glob`, but the endings of known formats match in upper and
    lower case. Only folders in which something may match are listed. Links to files count.

    Args:
        root: a folder.
        pattern: normalised, as by `os.path.normpath`; it may begin with "..".

    Raises:
        UserError: a folder that can't be listed.
    """
    if not re.search(_MAGIC, pattern) and os.path.lexists(root / pattern):
        return [pattern]
    parts = Path(lowered(pattern)).parts
    plain = (i for i, part in enumerate(parts) if re.search(_MAGIC, part))
    fixed = min(next(plain, len(parts)), len(parts) - 1)
    base = os.path.join("", *parts[:fixed])
    if not (root / base).is_dir():
        return []
    found = _below(root / base, parts[fixed:])
    return sorted(os.path.join(base, entry.path) for entry in found)


def identity(path: str) -> Identity:
    """Device and inode of what a path leads to, or the path itself where there are none."""
    try:
        status = os.stat(path)
    except OSError:  # a link to nothing
        return path
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


def _below(root: Path, parts: Sequence[str]) -> list[_Entry]:
    """What the parts of a glob match, no folder twice."""
    found: dict[Identity, _Entry] = {}
    for entry in sorted(_matches(root, parts)):
        found.setdefault(entry.identity if entry.is_folder else entry.path, entry)
    return list(found.values())


def _matches(root: Path, parts: Sequence[str]) -> Iterator[_Entry]:
    above = frozenset(identity(str(each)) for each in root.resolve().parents)
    start = _Entry(0, "", True, _closed({0}, parts), identity(str(root)))
    waiting, seen = [(start, above)], set()
    while waiting:
        folder, above = heapq.heappop(waiting)
        if (folder.identity, folder.states) in seen:
            continue
        seen.add((folder.identity, folder.states))
        above |= {folder.identity}
        for entry in _children(root, folder, parts):
            if entry.is_folder and entry.identity in above:
                continue  # a loop
            if len(parts) in entry.states:
                yield entry
            if entry.is_folder and entry.states - {len(parts)}:
                heapq.heappush(waiting, (entry, above))


def _children(root: Path, folder: _Entry, parts: Sequence[str]) -> Iterator[_Entry]:
    """What in a folder matches so far."""
    path = root / folder.path
    if not os.access(path, os.X_OK):  # else its names are listed, and none of its files is found
        raise UserError(f"{path} is a folder that can't be entered: Permission denied")
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                states = _after(entry.name, folder.states, parts)
                if states and entry.name not in _SYSTEM:
                    yield _entry(entry, folder, states)
    except OSError as error:
        raise UserError(f"{path} is a folder that can't be listed: {error.strerror}") from error


def _entry(entry: os.DirEntry, folder: _Entry, states: frozenset[int]) -> _Entry:
    link = entry.is_symlink()
    is_folder = _is_folder(entry)
    path = f"{folder.path}/{entry.name}" if folder.path else entry.name
    links = folder.links + link
    known = identity(entry.path) if is_folder or links else None
    return _Entry(links, path, is_folder, states, known)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno in _NOWHERE:
            return False
        raise UserError(f"{entry.path} is a link that can't be read: {error.strerror}") from error


def _without_links(root: Path, entries: Sequence[_Entry]) -> Iterator[_Entry]:
    """The entries without links to files that are among them; two links to another both stay."""
    linked = {entry for entry in entries if entry.links and not entry.is_folder}
    plain = (entry for entry in entries if not entry.links and not entry.is_folder)
    known = {identity(str(root / entry.path)) for entry in plain} if linked else ()
    return (entry for entry in entries if entry not in linked or entry.identity not in known)


def _after(name: str, states: frozenset[int], parts: Sequence[str]) -> frozenset[int]:
    """The parts that may come next, once a name has been matched; none where it doesn't match."""
    reached = set()
    for state in states - {len(parts)}:
        if parts[state] == "**":
            reached |= set() if name.startswith(".") else {state}
        elif _fits(name, parts[state]):
            reached.add(state + 1)
    return _closed(reached, parts)


def _closed(states: Iterable[int], parts: Sequence[str]) -> frozenset[int]:
    """These and what comes next where "**" stands for no folder."""
    closed = set()
    for state in states:
        closed.add(state)
        while state < len(parts) and parts[state] == "**":
            state += 1
            closed.add(state)
    return frozenset(closed)


def _fits(name: str, part: str) -> bool:
    if name.startswith(".") and not part.startswith("."):
        return False
    expression = _expression(part)
    return bool(expression.match(name) or expression.match(lowered(name)))


@functools.lru_cache(maxsize=256)
def _expression(part: str) -> re.Pattern:
    return re.compile(fnmatch.translate(part))
