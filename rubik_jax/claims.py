"""A claim on a folder: of all processes on all machines that share a file system, one holds it."""

import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rubik_jax.errors import UserError

CLAIMS = ".claims"  # beside the claimed folders
RELEASED = 10**9  # seconds; a claim that was given back is said to have been touched in 2001

# Claims on a folder are numbered files, `.claims/NAME.1`, `.claims/NAME.2` and so on. The one with
# the highest number counts. The next number is only ever made with O_EXCL, and only by a process
# that saw the highest over: released, its process gone, or silent for long. No file is renamed,
# replaced or deleted, and only its maker touches it. So
#
# * of any number of processes that follow the same claim, exactly one does: the file system says
#   who. Whoever judged by an older state finds its number taken, and holds nothing.
# * a holder that was thought dead can't release or prolong the claim of its successor.
# * a crash at any moment leaves a claim that is over by one of the three rules.
#
# What no file can give: a holder on another machine that was silent for longer than `stale`
# (suspended, or cut off from the file system) and goes on doesn't know that it was followed. On
# the holder's own machine its process alone decides, so that there this can't happen.


@contextmanager
def claim(folder: Path, *, stale: float = 600.0, beat: float = 30.0) -> Iterator[bool]:
    """Claims a folder, without waiting, until the context is left or the process ends.

    Args:
        folder: what is claimed; it need not exist, and nothing is written into it.
        stale: seconds, by the file system's clock, after which another machine's claim counts no
            longer unless it was renewed; much longer than `beat`.
        beat: seconds between renewals, which a thread sees to.

    Yields:
        True where this process now holds the folder, False where another does.

    Raises:
        UserError: the claim can't be written beside the folder.
    """
    mine = _take(folder, stale)
    if mine is None:
        yield False
        return
    done = threading.Event()
    thread = threading.Thread(target=_renew, args=(mine, beat, done), daemon=True)
    thread.start()
    try:
        yield True
    finally:
        done.set()
        thread.join()
        with suppress(OSError):  # then it's over once this process is, or when it's stale
            os.utime(mine, (RELEASED, RELEASED))


def holder(folder: Path, *, stale: float = 600.0) -> str | None:
    """In words who holds a folder, or None where nobody does; see `claim`.

    Raises:
        UserError: the claims beside the folder can't be read.
    """
    try:
        latest = _path(folder, _latest(folder))
        if not latest.exists() or _over(latest, stale):
            return None
        who = _read(latest)
    except OSError as error:
        raise _refused(folder, error) from error
    if not who:
        return "a process that has not said its name"
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(who["since"]))
    return f"host {who['host']}, process {who['process']}, since {since}"


def _take(folder: Path, stale: float) -> Path | None:
    """The file of the claim that this process made, or None where another holds the folder."""
    try:
        _path(folder, 0).parent.mkdir(parents=True, exist_ok=True)
        latest = _latest(folder)
        if latest and not _over(_path(folder, latest), stale):
            return None
        mine = _path(folder, latest + 1)
        with suppress(FileExistsError), mine.open("x", encoding="utf-8") as file:
            json.dump(_who(), file)
            return mine
    except OSError as error:
        raise _refused(folder, error) from error
    return None


def _renew(mine: Path, beat: float, done: threading.Event) -> None:
    while not done.wait(beat):
        with suppress(OSError):  # a server that is away for a while
            os.utime(mine)  # by the file system's clock


def _path(folder: Path, number: int) -> Path:
    folder = folder.absolute()
    return folder.parent / CLAIMS / f"{folder.name}.{number}"


def _latest(folder: Path) -> int:
    """The highest number of a claim, 0 where there is none."""
    number = 0
    while _path(folder, number + 1).exists():
        number += 1
    return number


def _over(path: Path, stale: float) -> bool:
    """Whether that claim holds no longer."""
    with path.open("rb") as file:  # opened, since else a network file system may give an old time
        touched = os.fstat(file.fileno()).st_mtime
    if touched <= RELEASED:
        return True
    who = _read(path)
    if who and who["place"] == _place():
        return _begun(who["process"]) not in (who["begun"], "")
    with tempfile.TemporaryFile(dir=path.parent) as file:  # clocks of machines differ
        return os.fstat(file.fileno()).st_mtime - touched > stale


def _who() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "place": _place(),
        "process": os.getpid(),
        "begun": _begun(os.getpid()),
        "since": time.time(),
    }


def _read(path: Path) -> dict[str, Any]:
    """What a claim says of its maker; nothing where it was cut short by a crash, or is being made.

    Its age alone says then whether it counts.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}


def _place() -> list[str]:
    """Where a number names one process: the host, its boot, and the container's own numbering."""
    boot, numbering = "", ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        numbering = os.readlink("/proc/self/ns/pid")
    return [socket.gethostname(), boot, numbering]


def _begun(process: int) -> str | None:
    """When a process of this machine began, in ticks; "" where nobody tells, None if it's gone."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:  # it's there, and somebody else's
        pass
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    state, *others = stat.rpartition(")")[2].split()  # a program's name may hold anything
    return None if state in "ZX" else others[18]


def _refused(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"{folder} can't be claimed: {_path(folder, 0).parent} can't be written "
        f"({error.strerror or error}); expected a folder that can"
    )
