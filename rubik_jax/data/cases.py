"""A case: one subject, the files that belong to it, and what its source knows of it."""

from pathlib import Path
from typing import NamedTuple

from rubik_jax.data.formats import SUFFIXES
from rubik_jax.errors import UserError


class Where(NamedTuple):
    """Where a source is to look, and for what; each heeds what it has a use for.

    path: the folder or file of `config.data.path`.
    name: of a data set that has one, with its split.
    modalities: globs relative to the folder or names, one per modality, in the order of the
        channels; none for what the source has.
    masks: a glob for the masks, or "".
    count: how many cases to generate.
    seed: of which cohort.
    """

    path: str | Path | None
    name: str = ""
    modalities: tuple[str, ...] = ()
    masks: str = ""
    count: int = 0
    seed: int = 0


class Case(NamedTuple):
    """One subject as its source lists it.

    name: the subject's id, unique within a cohort; files made from the case carry it.
    images: one file per modality in the order of the channels, or one file that holds them all;
        None in the place of a modality that the case lacks.
    label: the mask, or None.
    channels: how many modalities lie along the last axis of the one file; None where every file
        is one modality.
    target: the class of the whole volume, or None.
    part: "train", "validation" or "test" where the cohort itself fixes the split, else None.
    row: which of the many cases of the one file, as its reader counts: the name of an array or
        part, and a row in it.
    values: the labels that the source says there are in the mask, or None where it doesn't.
    """

    name: str
    images: tuple[Path | None, ...]
    label: Path | None = None
    channels: int | None = None
    target: str | None = None
    part: str | None = None
    row: tuple[str, int] | None = None
    values: tuple[int, ...] | None = None


def file_of(case: Case) -> str:
    """What tells a case's first image from any other, whatever the case is called."""
    first = next(path for path in case.images if path is not None)
    return "#".join(map(str, (first.resolve(), *(case.row or ()))))


def existing(path: str | Path | None) -> Path:
    """Where the data lie; UserError when no path was given or nothing is there."""
    if not path:
        raise UserError("config.data.path is not set: expected the folder that holds the volumes")
    found = Path(path).expanduser()
    if not found.exists():
        raise UserError(f"config.data.path is {found}, which does not exist")
    return found


def stem(file: str) -> str:
    """The file's name without the suffix of any format that is read."""
    for suffix in SUFFIXES:
        if file.lower().endswith(suffix):
            return file[: -len(suffix)]
    return file
