"""Predictions for whole cases, as files: a mask on the grid of each scan, or a table of classes."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rubik_jax import inference
from rubik_jax.data import npz, store, volumes, writing
from rubik_jax.data.cases import Case
from rubik_jax.errors import UserError
from rubik_jax.report import tables

PREDICTIONS = "predictions.csv"
Progress = Callable[[Iterable, int], Iterable]


def predict_masks(
    cases: Sequence[Case],
    forward: inference.Forward,
    *,
    output: Path,
    window: inference.Size,
    overlap: float,
    batch_size: int,
    values: tuple[int, ...],
    intensity: dict,
    mirror: tuple[int, ...] = (),
    probabilities: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Segments each case into `<output>/<case>.nii.gz`, on the grid of its first image.

    Files of the same name are replaced. A case's files are written when all of it is known, and
    those of the cases before a bad one stay.

    Args:
        cases: as a source lists them; their masks are not looked at.
        forward: probabilities of a batch of windows, [b, x, y, z, k].
        output: a folder, made where it is missing. It also holds what is too large for memory
            while a case is worked on.
        window: as in `inference.sliding`, like the next two.
        overlap: share of a window.
        batch_size: windows.
        values: the labels that the k classes stand for, up to 32767.
        intensity: `kind`, `low` and `high` of `volumes.scale`, as in training.
        mirror: axes of mirroring.
        probabilities: whether to write `<output>/<case>_probabilities.nii.gz` too, the classes in
            the order of `values` along the fourth axis.
        progress: wraps the paths, given their number, as they are written.

    Returns:
        The masks' paths.

    Raises:
        UserError: a case that cannot be read (named), a folder or file that cannot be written, or
            that would take the place of a case's own scan or mask.
    """
    masks, kept = (
        [output / f"{case.name}{end}.nii.gz" for case in cases] for end in ("", "_probabilities")
    )
    _refuse_to_replace_inputs(cases, [*masks, *(kept if probabilities else ())])
    _make(output)
    answers = np.array(values, np.int16)

    def one(case: Case, mask: Path, beside: Path, scratch: Path) -> None:
        scan = _on_disk(_scaled(case, intensity), scratch / "volume.npy")
        labels = np.empty(scan.shape[:3], np.int16)
        with (scratch / "probabilities").open("wb") as file:
            for x, slab in inference.sliding(
                forward,
                scan,
                window=window,
                overlap=overlap,
                batch_size=batch_size,
                classes=len(values),
                mirror=mirror,
            ):
                labels[x : x + len(slab)] = answers[slab.argmax(axis=-1)]
                if probabilities:  # slabs come in the order that the array has on disk
                    file.write(np.ascontiguousarray(slab))
        if probabilities:
            whole = np.memmap(file.name, np.float32, "r", shape=(*labels.shape, len(values)))
            writing.write_probabilities(beside, whole, case.images[0])
        writing.write_mask(mask, labels, case.images[0])

    def done() -> Iterator[Path]:
        for case, mask, beside in zip(cases, masks, kept, strict=True):
            try:
                with tempfile.TemporaryDirectory(prefix=".predict-", dir=output) as scratch:
                    one(case, mask, beside, Path(scratch))
            except OSError as error:
                raise UserError(
                    f"case {case.name!r} cannot be worked on in {output}: {error.strerror or error}"
                ) from error
            yield mask

    return list(progress(done(), len(cases)) if progress else done())


def predict_classes(
    cases: Sequence[Case],
    forward: inference.Forward,
    *,
    output: Path,
    window: inference.Size,
    overlap: float,
    batch_size: int,
    classes: tuple[str, ...],
    intensity: dict,
    mirror: tuple[int, ...] = (),
    progress: Progress | None = None,
) -> Path:
    """Classifies the cases into `<output>/predictions.csv`: case, class, p_<class> of each class.

    The table is written when all cases are done, in place of one that lies there.

    Args:
        forward: probabilities of a batch of windows, [b, k].
        classes: the names of the k classes.
        progress: wraps the rows, given their number, as they come in.

    The other arguments are those of `predict_masks`.

    Returns:
        The table's path.

    Raises:
        UserError: a case that cannot be read (named), a folder or file that cannot be written.
    """
    _make(output)

    def row(case: Case) -> dict[str, Any]:
        found = inference.classify(
            forward,
            _scaled(case, intensity),
            window=window,
            overlap=overlap,
            batch_size=batch_size,
            mirror=mirror,
        )
        answer = {"case": case.name, "class": classes[int(found.argmax())]}
        return answer | {f"p_{name}": float(p) for name, p in zip(classes, found, strict=True)}

    try:
        done = map(row, cases)
        rows = list(progress(done, len(cases)) if progress else done)
    finally:
        npz.forget()
    path = output / PREDICTIONS
    tables.write(path, rows)
    return path


def _scaled(case: Case, intensity: dict) -> np.ndarray:
    """The volume [x, y, z, c] as the store prepares it for training."""
    try:
        volume = volumes.read(case.images, channels=case.channels, row=case.row)
    except UserError as error:
        raise UserError(f"case {case.name!r} cannot be read: {error}") from error
    return volumes.scale(volume.array, **intensity).astype(store.DTYPE)


def _on_disk(array: np.ndarray, path: Path) -> np.memmap:
    """The array in a file, so that what is not being looked at takes no memory."""
    np.save(path, np.ascontiguousarray(array))
    return np.load(path, mmap_mode="r")


def _make(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--output={output} cannot be made: {error.strerror}; expected a folder"
        ) from error


def _refuse_to_replace_inputs(cases: Sequence[Case], targets: Iterable[Path]) -> None:
    own = {
        path.resolve(): case.name
        for case in cases
        for path in (*case.images, *([case.label] if case.label else []))
    }
    for target in targets:
        if target.resolve() in own:
            raise UserError(
                f"{target} is a file of case {own[target.resolve()]!r}, which its prediction would "
                "replace: expected another --output"
            )
