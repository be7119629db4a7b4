"""Writes miniature cohorts in the very layouts of those that the paper uses, for tests to read."""

from pathlib import Path

import nibabel as nib
import numpy as np

CAUSES = ("aneurysm", "avm", "moyamoya", "hypertension")
SUFFIXES = {
    "2018": ("_t1", "_t1ce", "_t2", "_flair", "_seg"),
    "2023": ("-t1n", "-t1c", "-t2w", "-t2f", "-seg"),
}
# T1, T1Gd, T2, FLAIR of healthy brain, necrosis, oedema and enhancing tumour.
TISSUES = {0: (500, 520, 300, 350), 1: (250, 260, 600, 400), 2: (400, 420, 650, 800)}
ENHANCING = (450, 1200, 500, 600)


def write_brats(
    folder: Path,
    *,
    cases: int = 4,
    size: tuple[int, int, int] = (24, 28, 20),
    naming: str = "2018",
    masks: bool = True,
    seed: int = 0,
) -> Path:
    """BraTS as it is handed out, with its affine, skull-stripped, int16; returns the folder.

    naming "2018": HGG and LGG in turn, `HGG/Brats18_TCIA_000_1/Brats18_TCIA_000_1_t1.nii.gz`;
    "2023": `BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1n.nii.gz`, where 3 takes the place of 4.
    A tumour of high grade has an enhancing rim, one of low grade has none.
    """
    for case in range(cases):
        rng = np.random.default_rng((seed, case))
        high = case % 2 == 0
        if naming == "2018":
            name = f"Brats18_TCIA_{case:03d}_1"
            place, rim = folder / ("HGG" if high else "LGG") / name, 4
        else:
            name = f"BraTS-GLI-{case:05d}-000"
            place, rim = folder / name, 3
        labels = _tumour(rng, size, rim if high else 0)
        brain = _ball(size, np.array(size) / 2, np.array(size) * 0.45) < 1
        images = []
        for channel in range(4):
            means = {label: means[channel] for label, means in TISSUES.items()}
            means[rim] = ENHANCING[channel]
            signal = np.select([labels == label for label in means], list(means.values()))
            images.append(brain * np.maximum(1, rng.normal(signal, 30)).astype(np.int16))
        volumes = [*images, (labels * brain).astype(np.uint8)]
        affine = np.array([[-1, 0, 0, 0], [0, -1, 0, size[1] - 1], [0, 0, 1, 0], [0, 0, 0, 1.0]])
        for suffix, volume in zip(SUFFIXES[naming], volumes, strict=True):
            if masks or not suffix.endswith("seg"):
                _save(place / f"{name}{suffix}.nii.gz", volume, affine)
    return folder


def write_haemorrhage(
    folder: Path, *, cases: int = 8, size: tuple[int, int, int] = (36, 42, 14), seed: int = 0
) -> Path:
    """Head CT in Hounsfield units with a bleed, `ct_000.nii.gz`, ..., and `causes.csv`.

    The four causes take turns; each has its own place in the head. Slices are thick, as in the
    paper's 230x270x30 voxels. Returns the folder.
    """
    places = {"aneurysm": (0, 0.1, -0.5), "avm": (-0.5, 0.4, 0.3), "moyamoya": (0, -0.2, 0.3)}
    places["hypertension"] = (0.4, 0, 0)
    rows = []
    for case in range(cases):
        rng = np.random.default_rng((seed, case))
        cause = CAUSES[case % len(CAUSES)]
        middle, radii = np.array(size) / 2, np.array(size) * 0.48
        head = _ball(size, middle, radii)
        bleed = _ball(size, middle + np.array(places[cause]) * radii, radii * 0.25)
        hounsfield = np.select([head > 1, head > 0.8, bleed < 1], [-1000, 900, 70], 32)
        voxels = (hounsfield + rng.normal(0, 4, size)).astype(np.int16)
        _save(folder / f"ct_{case:03d}.nii.gz", voxels, np.diag([-3.0, -3.0, 9.0, 1.0]))
        rows.append(f"ct_{case:03d},{cause}\n")
    (folder / "causes.csv").write_text("".join(["case,class\n", *rows]))
    return folder


def _tumour(rng: np.random.Generator, size: tuple[int, int, int], rim: int) -> np.ndarray:
    """Labels of a tumour: necrosis, the rim around it where it has one, oedema around both."""
    middle = np.array(size) * rng.uniform(0.35, 0.65, 3)
    distance = _ball(size, middle, np.array(size) * rng.uniform(0.2, 0.28))
    return np.select([distance < 0.25, distance < 0.55, distance < 1], [1, rim or 1, 2], 0)


def _ball(size: tuple[int, int, int], middle: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """The square of the distance from the middle, 1 on the ellipsoid with these radii."""
    grid = np.moveaxis(np.indices(size), 0, -1) + 0.5
    return (((grid - middle) / radii) ** 2).sum(-1)


def _save(path: Path, volume: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume, affine), path)
