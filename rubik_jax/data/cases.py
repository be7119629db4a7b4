"""A case: one subject and the files that belong to it."""

from pathlib import Path
from typing import NamedTuple

from rubik_jax.errors import UserError

_SUFFIXES = (".nii.gz", ".nii")


class Case(NamedTuple):
    """One subject as its source lists it.

    name: the subject's id, unique within a cohort; files made from the case carry it.
    images: one file per modality in the order of the channels, or one file that holds them all.
    label: the mask, or None.
    channels: how many modalities lie along the last axis of the one file; None where every file
        is one modality.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None = None
    channels: int | None = None


def existing(path: str | Path | None) -> Path:
    """Where the data lie; UserError when no path was given or nothing is there."""
    if not path:
        raise UserError("config.data.path is not set: expected the folder that holds the volumes")
    found = Path(path).expanduser()
    if not found.exists():
        raise UserError(f"config.data.path is {found}, which does not exist")
    return found


def stem(file: str) -> str:
    """The file's name without its NIfTI suffix."""
    for suffix in _SUFFIXES:
        if file.endswith(suffix):
            return file.removesuffix(suffix)
    return file
