"""Predictions for whole cases, as files: a mask on the grid of each scan, or a table of classes."""

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rubik_jax import failures, inference
from rubik_jax.data import entries, npy, npz, volumes, writing
from rubik_jax.data.cases import Case
from rubik_jax.data.preprocess import Prepared, Preprocessing, prepare, restore
from rubik_jax.data.regions import paint
from rubik_jax.errors import UserError
from rubik_jax.report import tables

PREDICTIONS = "predictions.csv"
Progress = Callable[[Iterable, int], Iterable]


class UnreadableError(UserError):
    """A case that can't be predicted, whatever there is of the others."""


class Predicted(NamedTuple):
    """What was made.

    Attributes:
        done: the masks' paths, or the rows of the table.
        skipped: cases that have none -> why.
    """

    done: list
    skipped: dict[str, str]


def predict_masks(
    cases: Sequence[Case],
    forward: inference.Forward,
    *,
    output: Path,
    window: inference.Size,
    overlap: float,
    batch_size: int,
    values: tuple[int, ...],
    how: Preprocessing,
    mirror: tuple[int, ...] = (),
    order: tuple[int, ...] = (),
    probabilities: bool = False,
    on_bad: str = "fail",
    progress: Progress | None = None,
) -> Predicted:
    """Segments each case into `<output>/<case>.nii.gz`, on the grid of its first image.

    Files of the same name are replaced. A case's files are written when all of it is known, and
    those of the cases before a bad one stay.

    Args:
        cases: as a source lists them; their masks are not looked at.
        forward: the network's probabilities per voxel, of k classes.
        output: a folder, made where it is missing. It also holds what is too large for memory
            while a case is worked on.
        window: as in `inference.sliding`, like the next two.
        overlap: share of a window.
        batch_size: windows.
        values: the labels that the k classes stand for, up to 32767.
        how: what was done to each volume in training; undone in what is written.
        mirror: axes of mirroring.
        order: where the network answers regions, not classes: the label to paint for each, where
            it is more probable than not, later ones over earlier ones.
        probabilities: whether to write `<output>/<case>_probabilities.nii.gz` too, the classes in
            the order of `values`, or the regions in theirs, along the fourth axis.
        on_bad: "fail", or "skip" to go on with the next case.
        progress: wraps the cases, given their number, as they are done.

    Returns:
        The masks' paths, and the cases that have none.

    Raises:
        UserError: a case that cannot be read (named), a folder or file that cannot be written, or
            that would take the place of a case's own scan or mask.
    """
    masks, kept = (
        [output / f"{case.name}{end}.nii.gz" for case in cases] for end in ("", "_probabilities")
    )
    _refuse_to_replace_inputs(cases, [*masks, *(kept if probabilities else ())])
    _make(output)
    moved = how.crop != "none" or how.spacing is not None
    labels, answers = not (probabilities or moved or order), len(order) or len(values)
    table = np.array(values, np.int16)

    def chosen(found: np.ndarray) -> np.ndarray:
        """The label of each voxel, by its probabilities."""
        return paint(found, order) if order else table[found.argmax(axis=-1)]

    def one(case: Case, mask: Path, beside: Path, scratch: Path) -> Path:
        size, prepared = _prepared(case, how)
        scan = _on_disk(prepared.array, scratch / "volume.npy")
        best = np.empty(scan.shape[:3], np.int16)
        with (scratch / "probabilities").open("wb") as file:
            for x, slab in inference.sliding(
                forward,
                scan,
                window=window,
                overlap=overlap,
                batch_size=batch_size,
                classes=answers,
                mirror=mirror,
                labels=labels,
            ):
                best[x : x + len(slab)] = table[slab] if labels else chosen(slab)
                if probabilities or moved:  # slabs come in the order that the array has on disk
                    file.write(np.ascontiguousarray(slab))
        found = None
        if probabilities or moved:
            found = np.memmap(file.name, np.float32, "r", shape=(*best.shape, answers))
        if moved:
            best, found = _restored(found, prepared, size, scratch / "restored", values, order)
        like = next(path for path in case.images if path is not None)
        grid = {"row": case.row, "orientation": how.orientation}
        if probabilities:
            writing.write_probabilities(beside, found, like, **grid)
        writing.write_mask(mask, best, like, **grid)
        return mask

    def worked(i: int) -> Path:
        try:
            with tempfile.TemporaryDirectory(prefix=".predict-", dir=output) as scratch:
                return one(cases[i], masks[i], kept[i], Path(scratch))
        except OSError as error:
            raise failures.of_file(error, output) or UserError(
                f"case {cases[i].name!r} cannot be worked on in {output}: {error.strerror or error}"
            ) from error

    return _each(cases, worked, on_bad, progress)


def predict_classes(
    cases: Sequence[Case],
    forward: inference.Forward,
    *,
    output: Path,
    window: inference.Size,
    overlap: float,
    batch_size: int,
    classes: tuple[str, ...],
    how: Preprocessing,
    mirror: tuple[int, ...] = (),
    on_bad: str = "fail",
    progress: Progress | None = None,
) -> Predicted:
    """Classifies the cases into `<output>/predictions.csv`: case, class, p_<class> of each class.

    The table is written when all cases are done, in place of one that lies there.

    Args:
        forward: the network's probabilities of whole windows, of k classes.
        classes: the names of the k classes.

    The other arguments are those of `predict_masks`.

    Returns:
        The rows, and the cases that have none.

    Raises:
        UserError: a case that cannot be read (named), a folder or file that cannot be written.
    """
    _make(output)

    def row(i: int) -> dict[str, Any]:
        found = inference.classify(
            forward,
            _prepared(cases[i], how)[1].array,
            window=window,
            overlap=overlap,
            batch_size=batch_size,
            mirror=mirror,
        )
        answer = {"case": cases[i].name, "class": classes[int(found.argmax())]}
        return answer | {f"p_{name}": float(p) for name, p in zip(classes, found, strict=True)}

    predicted = _each(cases, row, on_bad, progress)
    tables.write(output / PREDICTIONS, predicted.done)
    return predicted


def _each(
    cases: Sequence[Case], one: Callable[[int], Any], on_bad: str, progress: Progress | None
) -> Predicted:
    """What `one` makes of each case, those that can't be read left out if they may be."""
    entries.check_on_bad(on_bad)
    skipped: dict[str, str] = {}

    def made(i: int) -> Any:
        try:
            return one(i)
        except UnreadableError as error:
            if on_bad == "fail":
                raise
            skipped[cases[i].name] = str(error)
            return None

    try:
        found = map(made, range(len(cases)))
        done = list(progress(found, len(cases)) if progress else found)
    finally:
        npz.forget()
    if cases and len(skipped) == len(cases):
        raise UserError(f"none of {len(cases)} cases can be used: {next(iter(skipped.values()))}")
    return Predicted([each for each in done if each is not None], skipped)


def _prepared(case: Case, how: Preprocessing) -> tuple[tuple[int, int, int], Prepared]:
    """The size of the scan, and its volume as the store prepares it for training."""
    try:
        volume = volumes.read(
            case.images,
            channels=case.channels,
            row=case.row,
            clip=case.clip,
            orientation=how.orientation,
            geometry=how.geometry,
        )
        return volume.array.shape[:3], prepare(volume, None, how)
    except (UserError, MemoryError) as error:
        raise UnreadableError(f"case {case.name!r} cannot be read: {error}") from error


def _restored(
    found: np.ndarray,
    prepared: Prepared,
    size: tuple[int, int, int],
    path: Path,
    values: tuple[int, ...],
    order: tuple[int, ...],
) -> tuple[np.ndarray, np.memmap]:
    """The label of every voxel of the scan, and the probabilities, in a file.

    Interpolated class by class, as only one of them at a time need be in memory.
    """
    whole = _reserved(path, (*size, found.shape[-1]))
    best, most = np.zeros(size, np.int16), np.zeros(size, np.float32)
    for k in range(found.shape[-1]):
        # Beyond the crop is background, the first class, and no region.
        fill = float(k == 0 and not order)
        here = restore(found[..., k], size, prepared.box, order=1, fill=fill)
        whole[..., k] = here
        if order:
            best[here > 0.5] = order[k]
        else:
            best[here > most] = values[k]
            np.maximum(most, here, out=most)
    return best, whole


def _reserved(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """float32 in a file that has its place on the disk.

    Without it, a disk that gets full while the map is written ends the process by SIGBUS.
    """
    with path.open("wb") as file:
        reserve = getattr(os, "posix_fallocate", None)  # macOS has none
        if reserve:
            reserve(file.fileno(), 0, math.prod(shape) * np.dtype(np.float32).itemsize)
    return np.memmap(path, np.float32, "r+" if reserve else "w+", shape=shape)


def _on_disk(array: np.ndarray, path: Path) -> np.ndarray:
    """The array in a file, so that what is not being looked at takes no memory."""
    np.save(path, np.ascontiguousarray(array))
    return npy.mapped(path)


def _make(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise failures.of_file(error, output) or UserError(
            f"--output={output} cannot be made: {error.strerror}; expected a folder"
        ) from error


def _refuse_to_replace_inputs(cases: Sequence[Case], targets: Iterable[Path]) -> None:
    own = {
        path.resolve(): case.name
        for case in cases
        for path in (*case.images, case.label)
        if path is not None
    }
    for target in targets:
        if target.resolve() in own:
            raise UserError(
                f"{target} is a file of case {own[target.resolve()]!r}, which its prediction would "
                "replace: expected another --output"
            )
