"""Cohorts to measure on: generated scans, of the sizes, types and compressibility of real ones."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from rubik_jax.data import anatomy, phantom
from rubik_jax.data.cases import Case

MODALITIES = ("t1", "t1ce", "t2", "flair")
SHAPE = (240, 240, 155)
CROP = (36, 50, 35)  # the median of the Decathlon's hippocampus crops

_COARSE = tuple(-(-n // int(anatomy.SPACING)) for n in SHAPE)  # the anatomy has voxels of 4 mm
_NOISE = 0.02  # of the brightest tissue
_GZIP = 6


def brains(folder: Path, count: int) -> list[Case]:
    """Cases like those of BraTS: four modalities, 240x240x155 voxels of 1 mm, skull-stripped.

    Files already there are kept.
    """
    return [_brain(folder, case) for case in range(count)]


def crops(folder: Path, count: int) -> list[Case]:
    """Cases like the Decathlon's hippocampi: one modality, about 36x50x35 voxels."""
    cases = []
    for case in range(count):
        path = folder / f"crop_{case:03d}.nii.gz"
        if not path.exists():
            _write(path, phantom.generate(0, case, CROP).image)
        cases.append(Case(f"crop_{case:03d}", (path,)))
    return cases


def _brain(folder: Path, case: int) -> Case:
    name = f"brain_{case:03d}"
    paths = tuple(folder / f"{name}_{modality}.nii.gz" for modality in MODALITIES)
    if all(path.exists() for path in paths):
        return Case(name, paths)
    rng = np.random.default_rng(case)
    image, label = anatomy.draw(rng, _COARSE, phantom.KINDS[case % len(phantom.KINDS)])
    where = tuple(slice(n) for n in SHAPE)
    fine = ndimage.zoom(image.astype(np.float32), anatomy.SPACING, order=1)[where]
    inside = ndimage.zoom((label > 0).astype(np.float32), anatomy.SPACING, order=1)[where] > 0.5
    tissue = np.clip(fine[inside] / np.percentile(fine[inside], 99), 0, 1.2)
    contrasts = tissue, tissue**2, 1.2 - tissue, np.abs(tissue - 0.4)
    for path, contrast in zip(paths, contrasts, strict=True):
        noisy = contrast + _NOISE * rng.standard_normal(tissue.size, np.float32)
        scan = np.zeros(SHAPE, np.int16)
        scan[inside] = np.clip(np.rint(rng.uniform(500, 1500) * noisy), 1, None)
        _write(path, scan)
    return Case(name, paths)


def _write(path: Path, scan: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(scan, np.diag([-1.0, -1.0, 1.0, 1.0]))
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(gzip.compress(image.to_bytes(), _GZIP))
    temporary.replace(path)
