"""BraTS as its organisers hand it out: a folder per case, found by the names of the files.

2017-2021    HGG/Brats18_X_1/Brats18_X_1_t1.nii.gz, ..._t1ce, ..._t2, ..._flair, ..._seg
since 2023   BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1n.nii.gz, ...-t1c, ...-t2w, ...-t2f, ...-seg
"""

import re
from collections.abc import Sequence
from pathlib import Path

from rubik_jax.data import editions
from rubik_jax.data.cases import Case, Where, choose, existing
from rubik_jax.data.declaration import Declared
from rubik_jax.data.formats import walk
from rubik_jax.data.formats.scan import lowered
from rubik_jax.errors import UserError

# In the order of the channels.
MODALITIES = {
    "T1": ("t1", "t1n"),
    "T1Gd": ("t1ce", "t1c"),
    "T2": ("t2", "t2w"),
    "FLAIR": ("flair", "t2f"),
}
MASK = "seg"
GRADES = ("HGG", "LGG")

_KINDS = {suffix: kind for kind, suffixes in MODALITIES.items() for suffix in suffixes}
_KINDS[MASK] = MASK
_FILE = re.compile(rf"(?P<case>.+)[_-](?P<suffix>{'|'.join(_KINDS)})\.nii(\.gz)?")


def cases(where: Where) -> list[Case]:
    """The cases below a folder, however deep: T1, T1Gd, T2 and FLAIR as channels.

    A case has its mask where there is one (the cohorts for validation come without), None for a
    modality that it lacks, and the grade HGG or LGG as its class where a folder above it says so.

    Args:
        where: `path` is the folder, or one above or below it; `modalities` are names of those
            four, () for all.

    Raises:
        UserError: no such files, an unknown modality, or two files for one.
    """
    root = existing(where.path)
    known = tuple(MODALITIES)
    kinds = tuple(known[i] for i in choose(known, where.modalities))
    found: dict[str, dict[str, Path]] = {}
    for file in walk.files(root):
        match = _FILE.fullmatch(lowered(file.name))
        if not match:
            continue
        files, kind = found.setdefault(match["case"], {}), _KINDS[match["suffix"]]
        if kind in files:
            raise UserError(
                f"{files[kind]} and {file} are both {kind} of case {match['case']!r}: expected one"
            )
        files[kind] = file
    if not found:
        raise UserError(
            f"no file in {root} is named as BraTS names them: expected <case>_t1.nii.gz, _t1ce, "
            "_t2, _flair, or <case>-t1n.nii.gz, -t1c, -t2w, -t2f"
        )
    return [
        Case(
            name,
            tuple(files.get(kind) for kind in kinds),
            files.get(MASK),
            target=_grade(root, next(iter(files.values()))),
            modalities=kinds,
        )
        for name, files in found.items()
    ]


def declared(where: Where, cases: Sequence[Case]) -> Declared:
    """Which editions the cases may be of, as their files are named."""
    del where
    suffixes = {
        case.name: {_FILE.fullmatch(lowered(file.name))["suffix"] for file in case.images if file}
        for case in cases
    }
    return Declared(editions={name: editions.by_name(name, of) for name, of in suffixes.items()})


def _grade(root: Path, file: Path) -> str | None:
    """The nearest folder above that names a grade."""
    above = (root.resolve().name, *file.relative_to(root).parts[:-1])
    return next((part for part in reversed(above) if part in GRADES), None)
