"""Digests of files, remembered by what `stat` reports, so that an unchanged file is read but once.

As git's index does it: a digest is taken again when a file's size, times or inode are no longer
those that it was taken at, or when they are so recent that a later change may not show in them.
"""

import hashlib
import json
import os
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rubik_jax.data.writing import whole
from rubik_jax.errors import UserError

FILE = ".digests"  # in the folder of a store
SIZE = 12  # bytes of a digest
# Nanoseconds: some file systems keep times to two seconds.
_GRAIN = 2_000_000_000
_TRIES = 3  # of a file that changes while it is read
_PENDING, _PAUSE = 256, 5.0  # digests, and seconds, after which they are written down
_SPARE = 1000  # outdated lines that a file may hold beyond as many as there are others


class State(NamedTuple):
    """What `stat` reports of a file; another content gives another.

    Attributes:
        path: absolute; links are followed, but not replaced.
        size: in bytes.
        mtime: of its content's change, ns.
        ctime: of any change, which nothing but the system's clock sets, ns.
        inode: which tells a file from one that took its place.
    """

    path: str
    size: int
    mtime: int
    ctime: int
    inode: int


class Digests:
    """Digests by files' states; threads may share one, and processes the file that it is kept in.

    Lines are appended; one that is torn, or was written over by another host, fails its checksum
    and is passed over, which costs taking that digest again.
    """

    def __init__(self, folder: Path, *, keep: bool):
        self._file, self._keep = folder / FILE, keep
        self._lock = threading.Lock()
        self._found: dict[State, Future] = {}
        self._pending: list[bytes] = []
        self._written = time.monotonic()
        self._kept, self._outdated = _load(self._file)

    def digest(self, path: Path) -> str:
        """Of the content of a file, as hexadecimal digits.

        Raises:
            UserError: it can't be read, or changes all the while.
        """
        state = state_of(path)
        with self._lock:
            future = self._found.get(state)
            mine = future is None
            if mine:
                future = self._found[state] = Future()
        if mine:  # other threads wait for what this one reads
            try:
                future.set_result(self._kept.get(state) or self._take(path, state))
            except BaseException as error:
                with self._lock:
                    self._found.pop(state, None)
                future.set_exception(error)
        return future.result()

    def save(self) -> None:
        """Writes down what is new; a store that can't be written only costs time later."""
        with self._lock:
            pending, self._pending, self._written = self._pending, [], time.monotonic()
        if not pending or not self._keep:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if self._outdated > len(self._kept) + _SPARE:
                kept = [_line(state, digest) for state, digest in self._kept.items()]
                with whole(self._file) as file:
                    file.writelines([*kept, *pending])
                self._outdated = 0
            else:
                with self._file.open("ab", buffering=0) as file:
                    file.write(b"\n" + b"".join(pending))  # what is torn stays a line of its own
        except OSError:
            return

    def _take(self, path: Path, state: State) -> str:
        for _ in range(_TRIES):
            begun, digest = time.time_ns(), _digest(path)
            now = state_of(path)
            if now == state:
                if _settled(state, begun):
                    self._remember(state, digest)
                return digest
            state = now
        raise UserError(f"{path} changes while it is read: expected a file that is written already")

    def _remember(self, state: State, digest: str) -> None:
        with self._lock:
            self._pending.append(_line(state, digest))
            due = time.monotonic() - self._written > _PAUSE or len(self._pending) >= _PENDING
        if due:
            self.save()


@contextmanager
def remembered(folder: Path, *, keep: bool = True) -> Iterator[Digests]:
    """The digests that a folder remembers.

    Args:
        folder: of a store, which need not be there.
        keep: whether new ones are written into it, which is made then.
    """
    digests = Digests(folder, keep=keep)
    try:
        yield digests
    finally:
        digests.save()


def state_of(path: Path) -> State:
    """Raises UserError where the file isn't there or can't be looked at."""
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    times = status.st_mtime_ns, status.st_ctime_ns
    return State(os.path.abspath(path), status.st_size, *times, status.st_ino)


def _settled(state: State, begun: int) -> bool:
    """Whether a change after the digest was begun would show in the file's times."""
    return begun - state.ctime > _GRAIN and abs(begun - state.mtime) > _GRAIN


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=SIZE))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    return found.hexdigest()


def _load(file: Path) -> tuple[dict[State, str], int]:
    """The newest digest of each path, and how many lines are outdated."""
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError:
        return {}, 0
    newest: dict[str, tuple[State, str]] = {}
    count = 0
    for line in lines:
        checksum, _, text = line.partition(b" ")
        count += bool(line)
        if text and checksum == _checksum(text):
            path, *numbers, digest = json.loads(text)
            newest[path] = State(path, *numbers), digest
    return dict(newest.values()), count - len(newest)


def _line(state: State, digest: str) -> bytes:
    text = json.dumps([*state, digest]).encode()
    return b"%s %s\n" % (_checksum(text), text)


def _checksum(text: bytes) -> bytes:
    return b"%08x" % zlib.crc32(text)
