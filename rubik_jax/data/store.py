"""Volumes prepared once, kept on disk as memory-mapped arrays, keyed by files and preprocessing.

Each case is up to three files in the store's folder, written under a temporary name and moved:

    <name>-<key>.npy         float16 [x, y, z, c], scaled into [0, 1]
    <name>-<key>.label.npy   int16 [x, y, z], where the case has a mask
    <name>-<key>.json        shape, affine, sources, preprocessing, what `foreground` notes of the
                             mask; its presence commits the entry
"""

import hashlib
import json
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np

from rubik_jax.data import foreground, npz, volumes
from rubik_jax.data.cases import Case
from rubik_jax.errors import UserError

# A part of every key: raise it whenever the same files and knobs would give other voxels.
FORMAT = 2
DTYPE = np.float16


@dataclass(frozen=True)
class Store(Sequence):
    """A sequence of prepared volumes; `store[i]` is `store.volume(i)`, opened when asked for.

    root: the store's folder.
    entries: what the JSON file of each case says, in the order of the cases.
    """

    root: Path
    entries: tuple[dict, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the cases."""
        return tuple(entry["name"] for entry in self.entries)

    @property
    def keys(self) -> tuple[str, ...]:
        """What identifies each case's files and preprocessing."""
        return tuple(entry["key"] for entry in self.entries)

    @property
    def shapes(self) -> tuple[tuple[int, int, int, int], ...]:
        """The sizes (x, y, z, c)."""
        return tuple(tuple(entry["shape"]) for entry in self.entries)

    @property
    def size(self) -> int:
        """The bytes of all volumes."""
        return sum(int(np.prod(shape)) * np.dtype(DTYPE).itemsize for shape in self.shapes)

    @property
    def values(self) -> tuple[int, ...]:
        """The label values, sorted, that occur in any mask."""
        return tuple(sorted({int(value) for entry in self.entries for value in entry["labels"]}))

    @property
    def counts(self) -> dict[int, int]:
        """How many voxels each label has in all masks together."""
        counts = Counter()
        for entry in self.entries:
            counts.update({int(value): count for value, count in entry["labels"].items()})
        return dict(counts)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, i: int) -> np.memmap:
        return self.volume(i)

    def volume(self, i: int) -> np.memmap:
        """float16 [x, y, z, c] in [0, 1]."""
        return np.load(self.root / f"{_stem(self.entries[i])}.npy", mmap_mode="r")

    def label(self, i: int) -> np.memmap | None:
        """int16 [x, y, z], or None where the case has no mask."""
        if self.entries[i]["label"] is None:
            return None
        return np.load(self.root / f"{_stem(self.entries[i])}.label.npy", mmap_mode="r")

    def places(self, i: int) -> np.ndarray:
        """int32 [n, 3], up to 256 labelled voxels, evenly of every label; n is 0 without a mask."""
        return np.array(self.entries[i]["places"], np.int32).reshape(-1, 3)

    def affine(self, i: int) -> np.ndarray:
        """float64 [4, 4], from voxel indices to millimetres, RAS+."""
        return np.array(self.entries[i]["affine"], np.float64)

    def only(self, names: Sequence[str]) -> "Store":
        """The same store with these cases alone, in this order."""
        by_name = {entry["name"]: entry for entry in self.entries}
        return Store(self.root, tuple(by_name[name] for name in names))


def build(
    cases: Sequence[Case],
    root: str | Path,
    *,
    intensity: dict,
    workers: int = 1,
    progress: Callable[[Iterable, int], Iterable] | None = None,
) -> Store:
    """Prepares the cases that the store does not hold yet, and opens it.

    Interrupted, it goes on where it stopped; several processes may build the same store at once.

    Args:
        cases: as a source lists them.
        root: the store's folder, made where it is missing.
        intensity: `kind`, `low` and `high` of `volumes.scale`.
        workers: threads (reading is decompression and sorting, which release the interpreter).
        progress: wraps the finished cases, given their number, as they come in.

    Raises:
        UserError: that of the first case, in their order, that cannot be used; cases with unequal
            numbers of modalities; a folder that cannot be written.
    """
    _refuse_unequal_channels(cases)
    root = Path(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the store {root} cannot be made: {error.strerror}") from error
    try:
        with ThreadPoolExecutor(max(1, workers)) as pool:
            done = pool.map(lambda case: _entry(case, root, intensity), cases)
            return Store(root, tuple(progress(done, len(cases)) if progress else done))
    finally:
        npz.forget()


def _entry(case: Case, root: Path, intensity: dict) -> dict:
    """What the store says about the case, which is prepared unless it is there already."""
    entry = {"name": case.name, "key": _key(case, intensity)}
    stem = _stem(entry)
    record, array_file, label_file = (
        root / f"{stem}{end}" for end in (".json", ".npy", ".label.npy")
    )
    if record.exists() and array_file.exists() and (case.label is None or label_file.exists()):
        return json.loads(record.read_text())

    volume = volumes.read(case.images, channels=case.channels, row=case.row)
    array = volumes.scale(volume.array, **intensity)
    if (array.min(axis=(0, 1, 2)) == array.max(axis=(0, 1, 2))).any():
        raise UserError(
            f"nothing is left of case {case.name!r} by config.data.intensity "
            f"({intensity['kind']} {intensity['low']} to {intensity['high']}): a channel of "
            f"{case.images[0]} becomes constant"
        )
    noted = {"labels": {}, "places": []}
    if case.label is not None:
        labels = volumes.read_mask(case.label, volume)
        noted = foreground.note(labels, case.name)
        _write(label_file, lambda file: np.save(file, labels))
    _write(array_file, lambda file: np.save(file, np.ascontiguousarray(array, DTYPE)))
    entry |= {
        "shape": list(array.shape),
        "affine": volume.affine.tolist(),
        "spacing": nib.affines.voxel_sizes(volume.affine).tolist(),
        "images": [str(path) for path in case.images],
        "row": None if case.row is None else list(case.row),
        "label": None if case.label is None else str(case.label),
        **noted,
        "intensity": dict(intensity),
        "format": FORMAT,
    }
    _write(record, lambda file: file.write(json.dumps(entry).encode()))
    return entry


def _key(case: Case, intensity: dict) -> str:
    """Another key whenever the files, their order, or what is done to them changes."""
    files = [_identity(part) for path in case.images for part in _parts(path)]
    label = None if case.label is None else _identity(case.label)
    said = [FORMAT, case.name, files, label, case.channels, case.row, sorted(intensity.items())]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]


def _parts(path: Path) -> list[Path]:
    """The files that a path stands for: a header and its image are two."""
    pair = {".hdr": ".img", ".img": ".hdr"}.get(path.suffix)
    other = path.with_suffix(pair) if pair else None
    return [path, other] if other and other.exists() else [path]


def _identity(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    return str(path.resolve()), status.st_size, status.st_mtime_ns


def _stem(entry: dict) -> str:
    return f"{entry['name']}-{entry['key']}"


def _write(path: Path, save: Callable[[BinaryIO], object]) -> None:
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                save(file)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"the store cannot write {path}: {error.strerror or error}") from error


def _refuse_unequal_channels(cases: Sequence[Case]) -> None:
    numbers = [case.channels or len(case.images) for case in cases]
    for case, number in zip(cases, numbers, strict=True):
        if number != numbers[0]:
            raise UserError(
                f"case {case.name!r} has {number} modalities, case {cases[0].name!r} has "
                f"{numbers[0]}: expected the same number in all"
            )
