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
from typing import Any, TextIO

from rubik_jax import failures
from rubik_jax.errors import UserError

CLAIMS = ".claims"  # in the claimed folder
RELEASED = 10**9  # seconds; a claim that was given back is said to have been touched in 2001
STALE = 600.0  # seconds without a sign of life after which another machine's claim is over
TRIES = 5  # of a claim whose files others make and delete meanwhile

# Claims on a folder are numbered files in it, `.claims/1`, `.claims/2` and so on. The one with the
# highest number counts. The next number is only ever made with O_EXCL, and only by a process that
# saw the highest over: released, its process gone, or silent for long. Only its maker touches it,
# and deletes it when it is given back, unless it was silent for so long that another process may
# have seen it over. So
#
# * of any number of processes that follow the same claim, exactly one does: the file system says
#   who. Whoever judged by an older state finds its number taken, and holds nothing.
# * a claim that another followed is never deleted, so that numbers have no gaps; its holder, if it
#   was wrongly thought dead, can't release or prolong the claim of its successor.
# * a crash at any moment leaves a claim that is over by one of the three rules.
#
# What no file can give: a holder on another machine that was silent for longer than `stale`
# (suspended, or cut off from the file system) and goes on doesn't know that it was followed. On
# the holder's own machine its process alone decides, so that there this can't happen.


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Claims a folder for what is written into it; see `claim`.

    Raises:
        UserError: another process holds it, or it can't be written.
    """
    for _ in range(TRIES):
        with claim(folder) as mine:
            if mine:
                yield
                return
        if who := holder(folder):
            break
    else:
        who = "processes that begin and end"
    raise UserError(
        f"{folder} is being written by another command ({who}); expected one at a time: wait until "
        f"it ends, or name another folder (of a machine that died a claim ends after "
        f"{STALE / 60:.0f} minutes, of a process at once)"
    )


@contextmanager
def claim(folder: Path, *, stale: float = STALE, beat: float = 30.0) -> Iterator[bool]:
    """Claims a folder, without waiting, until the context is left or the process ends.

    Args:
        folder: what is claimed. Where it doesn't exist it's made, and deleted again if nothing
            else was written into it.
        stale: seconds, by the file system's clock, after which another machine's claim counts no
            longer unless it was renewed; much longer than `beat`.
        beat: seconds between renewals, which a thread sees to.

    Yields:
        True where this process now holds the folder, False where another does.

    Raises:
        UserError: the claim can't be written.
        RunError: the disk is full or fails.
    """
    made = _missing(folder)
    try:
        mine = _take(folder, stale)
    except BaseException:
        _remove_empty(made)
        raise
    if mine is None:
        yield False
        return
    done, lapsed = threading.Event(), threading.Event()
    arguments = (mine, beat, stale, done, lapsed)
    thread = threading.Thread(target=_renew, args=arguments, daemon=True)
    thread.start()
    try:
        yield True
    finally:
        done.set()
        thread.join()
        _release(mine, lapsed.is_set(), made)


def holder(folder: Path, *, stale: float = STALE) -> str | None:
    """In words who holds a folder, or None where nobody does; see `claim`.

    Raises:
        UserError: the claims in the folder can't be read.
    """
    try:
        latest = _path(folder, _latest(folder))
        if _over(latest, stale):
            return None
        who = _read(latest)
    except (FileNotFoundError, NotADirectoryError):  # there's none, or it has just been given back
        return None
    except OSError as error:
        raise _refused(folder, error) from error
    if not who:
        return "a process that has not said its name"
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(who["since"]))
    return f"host {who['host']}, process {who['process']}, since {since}"


def _missing(folder: Path) -> list[Path]:
    """The folders that a claim makes, the innermost first."""
    home = _path(folder, 0).parent
    return [path for path in (home, *home.parents) if not path.exists()]


def _take(folder: Path, stale: float) -> Path | None:
    """The file of the claim that this process made, or None where another holds the folder."""
    home, failed = _path(folder, 0).parent, 0
    for _ in range(TRIES):
        try:
            home.mkdir(parents=True, exist_ok=True)
        except (FileNotFoundError, FileExistsError) as error:
            # Another process has just deleted what it made, or it can't be made at all.
            failed += 1
            if failed == TRIES or (home.exists() and not home.is_dir()):
                raise _refused(folder, error) from error
            continue
        except OSError as error:
            raise failures.of_file(error, folder) or _refused(folder, error) from error
        try:
            latest = _latest(folder)
            if latest and not _over(_path(folder, latest), stale):
                return None
            mine = _path(folder, latest + 1)
            with mine.open("x", encoding="utf-8") as file:
                _sign(mine, file)
            return mine
        except FileExistsError:
            return None
        except FileNotFoundError:  # as above
            continue
        except OSError as error:
            raise failures.of_file(error, folder) or _refused(folder, error) from error
    return None


def _release(mine: Path, lapsed: bool, made: list[Path]) -> None:
    """Deletes a claim, and what was made for it and is empty; or says that it was given back."""
    follower = mine.with_name(str(int(mine.name) + 1))
    with suppress(OSError):  # then it's over once this process is, or when it's stale
        if lapsed or follower.exists():
            os.utime(mine, (RELEASED, RELEASED))
            return
        mine.unlink()
        _remove_empty([mine.parent, *made])


def _remove_empty(folders: list[Path]) -> None:
    """Deletes those folders, the innermost first, up to one that holds anything."""
    with suppress(OSError):
        for path in folders:
            if path.exists():
                path.rmdir()


def _sign(mine: Path, file: TextIO) -> None:
    """Writes who holds the claim; where the disk refuses that there is none."""
    try:
        json.dump(_who(), file)
        file.flush()
    except OSError as error:
        mine.unlink()
        raise failures.of_file(error, mine) or _refused(mine.parent.parent, error) from error


def _renew(
    mine: Path, beat: float, stale: float, done: threading.Event, lapsed: threading.Event
) -> None:
    """Renews a claim until it's done; sets `lapsed` where it was silent for half as long as counts.

    The clock is that of the day, which goes on while a machine is suspended.
    """
    last, ends = time.time(), False
    while not ends:
        ends = done.wait(beat)
        if not 0 <= time.time() - last < stale / 2:
            lapsed.set()
        if not ends:
            with suppress(OSError):  # a server that is away for a while
                os.utime(mine)  # by the file system's clock
                last = time.time()


def _path(folder: Path, number: int) -> Path:
    return folder.absolute() / CLAIMS / str(number)


def _latest(folder: Path) -> int:
    """The highest number of a claim, 0 where there is none."""
    number = 0  # not by a list of the files, which a network file system may give an older state of
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
    where = _path(folder, 0).parent if folder.is_dir() else folder
    return UserError(
        f"{folder} can't be claimed: {where} can't be written ({error.strerror or error}); "
        "expected a folder that can"
    )
