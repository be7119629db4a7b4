"""Makes the entries of a store: a case is read, described, prepared, and written whole or not."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import nibabel as nib

from rubik_jax import failures, interrupts
from rubik_jax.data import (
    arrays_on_disk,
    facts,
    foreground,
    npz,
    preprocess,
    statistics,
    volumes,
)
from rubik_jax.data.cases import Case, short
from rubik_jax.data.digests import Digests, remembered
from rubik_jax.data.identity import combined, content_of
from rubik_jax.data.preprocess import Prepared, Preprocessing
from rubik_jax.data.store import Store, stem
from rubik_jax.data.writing import whole
from rubik_jax.errors import UserError

# A part of every key: raise it whenever the same files and knobs would give other voxels.
FORMAT = 4
# Seconds after which nobody is still writing a temporary file.
_ABANDONED = 24 * 3600

Progress = Callable[[Iterable, int], Iterable]


class StoreError(UserError):
    """The store's own folder fails, which is no case's fault."""


class Built(NamedTuple):
    """A store, and the cases that could not be taken into it.

    Attributes:
        store: the others, in their order.
        skipped: why not, by the case's name.
    """

    store: Store
    skipped: dict[str, str]


class Ready(NamedTuple):
    """A case that was read and prepared.

    Attributes:
        prepared: what the store keeps of it.
        facts: what it was as it was read, as `facts.describe` gives it.
        memory: bytes that it took at once, about.
    """

    prepared: Prepared
    facts: dict[str, Any]
    memory: int


def build(
    cases: Sequence[Case],
    root: str | Path,
    *,
    how: Preprocessing,
    compress: bool = False,
    workers: int = 1,
    on_bad: str = "fail",
    progress: Progress | None = None,
) -> Built:
    """Prepares the cases that the store does not hold yet, and opens it.

    Interrupted, it goes on where it stopped; several processes may build the same store at once.

    Args:
        cases: as a source lists them.
        root: the store's folder, made where it is missing.
        how: what is done to each volume.
        compress: whether the store's files are compressed, for a cohort larger than memory.
        workers: threads (reading is decompression, which releases the interpreter).
        on_bad: "fail", or "skip" to leave out the cases that can't be used.
        progress: wraps the finished cases, given their number, as they come in.

    Raises:
        UserError: that of the first case, in their order, that cannot be used, or no case that can
            be; cases with unequal numbers of modalities; a folder that cannot be written.
        RunError: the store's disk is full or fails; what is whole there is kept.
    """
    check_on_bad(on_bad)
    arrays_on_disk.suffix(compress=compress)  # refuses what isn't installed before a case is read
    refuse_unequal_channels(cases)
    root = Path(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise failures.of_file(error, root) or StoreError(
            f"the store {root} cannot be made: {error.strerror}"
        ) from error
    _clear_abandoned(root)

    def one(case: Case) -> tuple[dict | None, str]:
        try:
            return _entry(case, root, how, compress, digests), ""
        except StoreError:
            raise
        except UserError as error:
            if on_bad == "fail":
                raise
            return None, str(error)

    with remembered(root) as digests:
        found = in_threads(one, cases, workers=workers, progress=progress)
    skipped = {case.name: reason for case, (_, reason) in zip(cases, found, strict=True) if reason}
    if len(skipped) == len(cases):
        name, reason = next(iter(skipped.items()))
        raise UserError(f"none of {len(cases)} cases can be used, the first, {name!r}: {reason}")
    return Built(Store(root, tuple(entry for entry, _ in found if entry)), skipped)


def find(
    case: Case, root: Path, how: Preprocessing, digests: Digests, *, compress: bool = False
) -> dict | None:
    """What the store says about the case, or None where it does not hold it so.

    Raises:
        UserError: a file of the case is not there.
    """
    return _kept(case, root, _begun(case, how, compress, digests))


def ready(case: Case, how: Preprocessing) -> Ready:
    """Reads, describes and prepares a case.

    Raises:
        UserError: it can't be used.
    """
    try:
        volume = volumes.read(
            case.images,
            channels=case.channels,
            row=case.row,
            clip=case.clip,
            orientation=how.orientation,
            geometry=how.geometry,
        )
        labels = None
        if case.label is not None:
            labels = volumes.read_mask(
                case.label,
                volume,
                row=case.row,
                orientation=how.orientation,
                geometry=how.geometry,
                values=case.values,
            )
        measured = statistics.measure(volume.array)
        described = facts.describe(volume, labels, measured=measured, names=short(case.modalities))
        try:
            prepared = preprocess.prepare(volume, labels, how, measured=measured)
        except UserError as error:
            raise UserError(f"case {case.name!r}: {error}") from error
    except MemoryError as error:
        raise UserError(
            f"case {case.name!r} does not fit into memory ({error}): expected smaller volumes, or "
            "fewer config.data.workers"
        ) from error
    held = (volume.array, prepared.array, labels, prepared.labels)
    memory = volume.array.nbytes + sum(array.nbytes for array in held if array is not None)
    return Ready(prepared, described, memory)


def in_threads(
    one: Callable[[Any], Any], items: Sequence, *, workers: int, progress: Progress | None
) -> list:
    """What `one` makes of each item, in their order, without the None among that.

    Where an item fails or a signal comes, those that were begun are waited for, and no others.

    Raises:
        Interrupted: a signal came.
    """
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        futures = [pool.submit(one, item) for item in items]
        done = filter(None, map(interrupts.result, futures))
        return list(progress(done, len(items)) if progress else done)
    finally:
        pool.shutdown(cancel_futures=True)
        npz.forget()


def check_on_bad(on_bad: str) -> None:
    """Raises UserError where it is neither "fail" nor "skip"."""
    if on_bad not in ("fail", "skip"):
        raise UserError(f"config.data.on_bad is {on_bad!r}: expected 'fail' or 'skip'")


def refuse_unequal_channels(cases: Sequence[Case]) -> None:
    """Raises UserError where a case has another number of modalities than the first."""
    numbers = [case.channels or len(case.images) for case in cases]
    for case, number in zip(cases, numbers, strict=True):
        if number != numbers[0]:
            raise UserError(
                f"case {case.name!r} has {number} modalities, case {cases[0].name!r} has "
                f"{numbers[0]}: expected the same number in all"
            )


def _entry(case: Case, root: Path, how: Preprocessing, compress: bool, digests: Digests) -> dict:
    """What the store says about the case, which is prepared unless it is there already."""
    entry = _begun(case, how, compress, digests)
    known = _kept(case, root, entry)
    if known:
        return known
    record, array_file, label_file = _files(root, entry)
    prepared, described, _ = ready(case, how)
    if _begun(case, how, compress, digests) != entry:
        raise UserError(
            f"case {case.name!r} changed while it was read: expected files that stay as they are"
        )
    save = partial(arrays_on_disk.save, compress=compress)
    noted = {"labels": {}, "places": []}
    if prepared.labels is not None:
        noted = foreground.note(prepared.labels, case.name)
        _write(label_file, partial(save, array=prepared.labels), prepared.labels.nbytes)
    _write(array_file, partial(save, array=prepared.array), prepared.array.nbytes)
    entry |= {
        "shape": list(prepared.array.shape),
        "affine": prepared.affine.tolist(),
        "spacing": nib.affines.voxel_sizes(prepared.affine).tolist(),
        "images": [None if path is None else str(path) for path in case.images],
        "row": None if case.row is None else list(case.row),
        "label": None if case.label is None else str(case.label),
        **noted,
        "facts": described,
        "preprocessing": preprocess.to_json(how),
        "format": FORMAT,
    }
    _write(record, lambda file: file.write(json.dumps(entry).encode()))
    return entry


def _kept(case: Case, root: Path, begun: dict) -> dict | None:
    record, array, label = _files(root, begun)
    if record.exists() and array.exists() and (case.label is None or label.exists()):
        return json.loads(record.read_text(encoding="utf-8"))
    return None


def _begun(case: Case, how: Preprocessing, compress: bool, digests: Digests) -> dict:
    """The part of an entry that says what it is of, and so where its files are."""
    content = content_of(case, digests)._asdict()
    del content["target"]  # which no file of the store depends on
    key = combined([FORMAT, content, preprocess.to_json(how), compress])[:12]
    return {"name": case.name, "key": key, "compress": compress, "content": content}


def _files(root: Path, entry: dict) -> tuple[Path, Path, Path]:
    """The record, the volume and the mask of an entry."""
    end = arrays_on_disk.suffix(compress=entry["compress"])
    record, array, label = (f"{stem(entry)}{what}" for what in (".json", end, f".label{end}"))
    return root / record, root / array, root / label


def _write(path: Path, save: Callable[[BinaryIO], object], size: int = 0) -> None:
    """Writes a file of the store, of about so many bytes."""
    try:
        with whole(path) as file:
            save(file)
    except OSError as error:
        raise failures.of_file(error, path, needed=size) or StoreError(
            f"the store cannot write {path}: {error.strerror or error}"
        ) from error


def _clear_abandoned(root: Path) -> None:
    """Removes what a process that was killed left half-written, days ago."""
    for left in root.glob("*.tmp"):
        try:
            if time.time() - left.stat().st_mtime > _ABANDONED:
                left.unlink()
        except FileNotFoundError:  # another process was faster
            continue
