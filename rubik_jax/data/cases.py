"""A case: one subject, the files that belong to it, and what its source knows of it."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rubik_jax.data.formats import SUFFIXES, Clip
from rubik_jax.errors import UserError

# Bytes; a file system allows 255, of which what is made of a case takes some for its own endings.
_LONGEST = 160


class Where(NamedTuple):
    """Where a source is to look, and for what; each heeds what it has a use for.

    path: the folder or file of `config.data.path`.
    name: of a data set that has one, with its split.
    modalities: globs relative to the folder, or names as the source knows them, one per modality,
        in the order of the channels; none for all that the source has.
    masks: a glob for the masks, or "".
    count: how many cases to generate.
    seed: of which cohort.
    clip: what to take of a video; None for the whole.
    division: which of the divisions into parts that a data set comes with.
    """

    path: str | Path | None
    name: str = ""
    modalities: tuple[str, ...] = ()
    masks: str = ""
    count: int = 0
    seed: int = 0
    clip: Clip | None = None
    division: int = 1


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
    modalities: what the source calls them, in the order of the channels; () where it doesn't say.
    clip: what is taken of a video; None where files are volumes.
    """

    name: str
    images: tuple[Path | None, ...]
    label: Path | None = None
    channels: int | None = None
    target: str | None = None
    part: str | None = None
    row: tuple[str, int] | None = None
    values: tuple[int, ...] | None = None
    modalities: tuple[str, ...] = ()
    clip: Clip | None = None


def file_of(case: Case) -> str:
    """The place of a case's first image, which runs noted before they noted what it holds."""
    first = next(path for path in case.images if path is not None)
    return "#".join(map(str, (first.resolve(), *(case.row or ()))))


def canonical(name: str) -> str:
    """The name of a case as files carry it and as it is looked for in tables.

    Unicode is composed (macOS decomposes it), space around it falls away, and a name that is too
    long for a file's is cut and ends in a digest of the whole.

    Raises:
        UserError: a file's name that is no UTF-8.
    """
    name = unicodedata.normalize("NFC", name).strip()
    try:
        encoded = name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"the file name {name!a} is not UTF-8: expected another") from error
    if len(encoded) <= _LONGEST:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return f"{encoded[: _LONGEST - 9].decode(errors='ignore')}~{digest}"


def short(modalities: Sequence[str]) -> list[str]:
    """A word for each modality: of globs such as "sub-*/anat/*_T1w.nii.gz" the T1w."""
    words = [re.findall(r"[^\W_]+", stem(name)) for name in modalities]
    last = [found[-1] if found else "" for found in words]
    return last if all(last) and len({*last}) == len(last) else list(modalities)


def choose(known: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Where the wanted modalities stand among those known, in the wanted order; () wants all.

    Raises:
        UserError: one that isn't known, is known twice, or is wanted twice.
    """
    if not wanted:
        return tuple(range(len(known)))
    folded = [name.casefold() for name in known]
    for name in wanted:
        if folded.count(name.casefold()) != 1:
            raise UserError.of(
                "{data.modalities} names {!r}: expected some of the modalities {}, or () for all",
                *(name, ", ".join(known)),
            )
    places = tuple(folded.index(name.casefold()) for name in wanted)
    if len({*places}) < len(places):
        raise UserError.of("{data.modalities} is {}: expected each name once", tuple(wanted))
    return places


def existing(path: str | Path | None) -> Path:
    """Where the data lie; UserError when no path was given or nothing is there."""
    if not path:
        raise UserError.of("{data.path} is not set: expected the folder that holds the volumes")
    found = Path(path).expanduser()
    if not found.exists():
        raise UserError.of(
            "{data.path} is {}, which does not exist; expected where the scans lie now", found
        )
    return found


def stem(file: str) -> str:
    """The file's name without the suffix of any format that is read."""
    for suffix in SUFFIXES:
        if file.lower().endswith(suffix):
            return file[: -len(suffix)]
    return file
