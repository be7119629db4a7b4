"""What a machine fails in: a disk, memory, files that may be open; told from mistakes and bugs."""

import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rubik_jax.errors import RunError, UserError

AGAIN = "the same command goes on"

# What libraries make of the system's errors, in words; their own types don't carry the number.
_IN_WORDS = (
    (errno.ENOSPC, r"No space left on device|\d+ requested and \d+ written"),
    (errno.EDQUOT, r"Disk quota exceeded"),
    (errno.EFBIG, r"File too large"),
    (errno.EMFILE, r"Too many open files"),
    (errno.EROFS, r"Read-only file system"),
    (errno.EIO, r"Input/output error"),
)
_DISK_AWAY = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN)
_MEMORY = re.compile(
    r"(?i)out of memory|out_of_memory|unable to allocate|failed to allocate|bad_alloc|"
    r"cannot allocate memory"
)
_AMOUNT = re.compile(r"(?i)allocat\w* (?:of )?(\d+) bytes|allocate ([\d.]+) ?([KMGTPE])i?B")
_NOTHING = 2**24  # bytes; a disk with more isn't full
_DEVICE = ("JaxRuntimeError", "XlaRuntimeError")


def known(
    error: BaseException, folder: Path | None = None, config: Mapping[str, Any] | None = None
) -> UserError | RunError | None:
    """The error that says in a sentence what failed; None for one that may be a bug.

    Args:
        error: whatever was raised; what it came from is looked at, too.
        folder: of the run, whose disk is meant where the error names no file.
        config: the run's, whose knobs take memory.
    """
    for each in _chain(error):
        if isinstance(each, UserError | RunError):
            return each
    for each in _chain(error):
        named = getattr(each, "filename", None)
        path = Path(named) if isinstance(named, str) else folder
        if path == folder and folder and _number(each) == errno.ENOSPC and not _is_full(folder):
            path = None  # it's another disk, of the output perhaps
        found = of_file(each, path) or _of_memory(each, config or {})
        if found:
            return found
    return None


def of_file(
    error: BaseException, path: Path | None = None, *, needed: int = 0
) -> UserError | RunError | None:
    """What a disk or the system's limits refuse, or None where the error is of another kind.

    Args:
        error: one that reading or writing a file ended with.
        path: of the file, or of a folder on the same disk; None where nobody knows.
        needed: bytes that were to be written, 0 where nobody knows.
    """
    number = _number(error)
    if number is None:
        return None
    where = path or "a file"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return no_space(path, needed, quota=number == errno.EDQUOT)
    if number == errno.EFBIG:
        return RunError(
            f"{where} would be larger than its disk or the shell lets a file be (ulimit -f): lift "
            f"that limit, and {AGAIN}"
        )
    if number in (errno.EMFILE, errno.ENFILE):
        return RunError(
            f"no more files may be open at once, of which {where} is one: raise the limit, e.g. by "
            f"ulimit -n 65536, and {AGAIN}"
        )
    if number == errno.EROFS:
        return UserError(f"{where} lies on a disk that can only be read; expected another folder")
    if number in _DISK_AWAY:
        return RunError(
            f"the disk of {where} fails ({os.strerror(number)}): once it is back, {AGAIN}"
        )
    return None


def no_space(path: Path | None, needed: int = 0, *, quota: bool = False) -> RunError:
    """That a disk is full; see `of_file`."""
    figures = [f"{amount(needed)} needed"] if needed else []
    if path and not quota:
        nearest = next(each for each in (path, *path.absolute().parents) if each.exists())
        figures += [f"{amount(shutil.disk_usage(nearest).free)} free"]
        if os.statvfs(nearest).f_favail == 0 < os.statvfs(nearest).f_files:
            figures += ["no more files there, df -i"]
    what = "your quota is used up" if quota else "there is no space left"
    where = f"on the disk of {path}" if path else "where the command writes"
    found = f" ({', '.join(figures)})" if figures else ""
    return RunError(f"{what} {where}{found}: make room there, and {AGAIN}")


def amount(count: float) -> str:
    """Bytes with a unit, e.g. "1.5 GB"."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while count >= 1000 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count:.3g} {units[0]}"


def _is_full(folder: Path) -> bool:
    nearest = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(nearest).free < _NOTHING or os.statvfs(nearest).f_favail == 0


def _of_memory(error: BaseException, config: Mapping[str, Any]) -> RunError | None:
    text = str(error)
    on_device = any(kind.__name__ in _DEVICE for kind in type(error).__mro__)
    if not (isinstance(error, MemoryError) or (on_device and _MEMORY.search(text))):
        return None
    asked = _AMOUNT.search(text)
    size = ""
    if asked:
        power = 0 if asked[1] else 1 + "KMGTPE".index(asked[3].upper())
        size = f" ({amount(float(asked[1] or asked[2]) * 1024**power)} was requested)"
    tries = "; ".join(_less(config, on_device)) or "try smaller volumes or batches"
    return RunError(
        f"out of memory on the {'device' if on_device else 'host'}{size}: {tries} (but for "
        "config.inference.batch_size and config.data.workers a run that has begun needs another "
        f"--workdir for that); or where more is free, {AGAIN}"
    )


def _less(config: Mapping[str, Any], on_device: bool) -> Iterator[str]:
    """What would take less memory, by the knobs that a config has."""

    def value(knob: str) -> Any:
        found: Any = config
        for name in knob.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def listed(*names: str) -> str:
        return ", ".join(f"config.{n}={value(n)}" for n in names if value(n) is not None)

    sizes = ("batch_size", "window", "proxy.cube", "inference.batch_size")
    if less := listed(*sizes, *(() if on_device else ("data.workers",))):
        yield f"try less than {less}"
    if value("accumulate") is not None:
        yield f"more than {listed('accumulate')}"
    if (remat := value("model.encoder.remat")) in ("none", "norms"):
        more = "norms or stages" if remat == "none" else "stages"
        yield f"config.model.encoder.remat={more}, not {remat}"
    if value("data.resident"):
        yield "config.data.resident=False"


def _number(error: BaseException) -> int | None:
    """The system's number of an error, by what it says where it doesn't carry one."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, OSError | ValueError | RuntimeError):
        return next((n for n, words in _IN_WORDS if re.search(words, str(error))), None)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it came from, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
