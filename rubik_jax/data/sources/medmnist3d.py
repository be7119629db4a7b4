"""One .npz file of MedMNIST3D, which holds three parts of small cubes with their classes.

Yang et al., MedMNIST v2, Scientific Data 10:41 (2023); 28x28x28 or 64x64x64 voxels, uint8.
"""

from pathlib import Path

import numpy as np

from rubik_jax.data import npy, npz
from rubik_jax.data.cases import Case, Where, existing
from rubik_jax.errors import UserError

PARTS = {"train": "train", "val": "validation", "test": "test"}


def cases(where: Where) -> list[Case]:
    """The cases `train_0000`, ..., `val_0000`, ..., `test_0000`, ... with their part and class.

    Args:
        where: `path` is the file.

    Raises:
        UserError: no such file, or arrays of other names, shapes or types.
    """
    file = existing(where.path)
    if file.is_dir():
        raise UserError.of("{data.path} is the folder {}: expected a .npz of MedMNIST3D", file)
    headers = npz.headers(file)
    found = [part for part in PARTS if f"{part}_images" in headers]
    if not found:
        raise UserError(
            f"{file} holds the arrays {sorted(headers)}: expected train_images, train_labels and "
            "the same for val and test, as in MedMNIST3D"
        )
    return [case for part in found for case in _part(file, part, headers)]


def _part(file: Path, part: str, headers: dict[str, npy.Header]) -> list[Case]:
    images, dtype, *_ = headers[f"{part}_images"]
    if dtype != np.uint8 or len(images) != 4 or len(set(images[1:])) != 1:
        raise UserError(
            f"{part}_images in {file} is {dtype} {list(images)}: expected uint8 [n, s, s, s], "
            "cubes as in MedMNIST3D"
        )
    labels = npz.load(file, f"{part}_labels")
    if labels.dtype.kind not in "iu" or labels.shape not in ((images[0],), (images[0], 1)):
        raise UserError(
            f"{part}_labels in {file} is {labels.dtype} {list(labels.shape)}: expected one whole "
            f"number for each of {images[0]} cubes"
        )
    return [
        Case(
            f"{part}_{row:04d}",
            (file,),
            target=str(label),
            part=PARTS[part],
            row=(f"{part}_images", row),
        )
        for row, label in enumerate(labels.ravel().tolist())
    ]
