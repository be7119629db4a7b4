"""Cohorts of head-like toy MR volumes, from a seed, and the NIfTI files that they're written to."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

from rubik_jax.data import anatomy, once
from rubik_jax.data.anatomy import KINDS, SPACING
from rubik_jax.errors import UserError

VERSION = 1  # of the anatomy: to be raised whenever the same seed draws other voxels
SHAPE = (48, 56, 48)
SPREAD = 4  # a case's sides differ from SHAPE by at most this, so none is below 44 x 52 x 44
DONE = "phantom.json"


class Phantom(NamedTuple):
    """One case in RAS+: `image` int16 `[x, y, z]`, `label` uint8 `[x, y, z]`, and its class `kind`.

    Labels: 0 background, 1 brain tissue, 2 ventricles, 3 lesion (in every kind but "none").
    """

    image: np.ndarray
    label: np.ndarray
    kind: str


def generate(seed: int, case: int, shape: tuple[int, int, int] = SHAPE) -> Phantom:
    """Draw case `case` of the cohort `seed`; the same arguments give the same voxels.

    The case's own sides lie within `SPREAD` voxels (of `SPACING` mm) of `shape`.
    """
    rng = np.random.default_rng((VERSION, seed, case))
    shape = tuple(n + int(rng.integers(-SPREAD, SPREAD + 1)) for n in shape)
    kind = kind_of(seed, case)
    return Phantom(*anatomy.draw(rng, shape, kind), kind)


def kind_of(seed: int, case: int) -> str:
    """The class of a case, its lesions; dealt in shuffled rounds, so that they are balanced."""
    rounds, place = divmod(case, len(KINDS))
    return KINDS[np.random.default_rng((VERSION, seed, rounds, 0)).permutation(len(KINDS))[place]]


def write(folder: Path, count: int, seed: int) -> None:
    """Write the first `count` cases of the cohort `seed` as NIfTI files, with masks and classes.

    The folder gets `imagesTr/phantom_000.nii.gz`, `labelsTr/phantom_000.nii.gz`, ..., `classes.csv`
    (`case,class`) and, last, `phantom.json`, which says that all is there. The same call again
    writes nothing, or what an interrupted one, known by `phantom.started.json`, has left to do.

    Raises `UserError` where `folder` holds anything else, other phantoms included, where it can't
    be written, and for a count below 1 or a negative seed.
    """
    if count < 1 or seed < 0:
        raise UserError(
            f"{count} phantoms of seed {seed} are asked for: expected 1 or more, of 0 or more"
        )
    folder = Path(folder)
    once.fill(
        folder,
        "phantom",
        {"count": count, "seed": seed, "version": VERSION},
        [*(_case(folder, seed, case) for case in range(count)), _classes(folder, seed, count)],
    )


def _case(folder: Path, seed: int, case: int) -> once.Files:
    def make() -> tuple[bytes, bytes]:
        phantom = generate(seed, case)
        return _nifti(phantom.image), _nifti(phantom.label)

    return paths(folder, case), make


def _classes(folder: Path, seed: int, count: int) -> once.Files:
    rows = [f"{name_of(case)},{kind_of(seed, case)}\n" for case in range(count)]
    return (folder / "classes.csv",), lambda: ("".join(["case,class\n", *rows]).encode(),)


def name_of(case: int) -> str:
    """The name of a case, of its files and in `classes.csv`."""
    return f"phantom_{case:03d}"


def paths(folder: Path, case: int) -> tuple[Path, Path]:
    """Where `write` puts a case's image and label."""
    file = f"{name_of(case)}.nii.gz"
    return folder / "imagesTr" / file, folder / "labelsTr" / file


def _nifti(array: np.ndarray) -> bytes:
    """A gzipped NIfTI file with its origin in the middle; equal arrays give equal bytes."""
    affine = np.diag([SPACING, SPACING, SPACING, 1])
    affine[:3, 3] = -SPACING * (np.array(array.shape) - 1) / 2
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)
