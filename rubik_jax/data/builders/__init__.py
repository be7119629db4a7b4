"""Data sets of ours for TensorFlow Datasets; every module here prepares one, found by its name.

A builder is a module with a class `Builder`. It reads through the project's own sources and keeps
volumes as `volumes.read` returns them, RAS+ and unscaled. Voxels are packed with zlib rather than
stored bare: files are as small, since array_record packs whole examples as well, but what stands
beside the voxels can then be read without unpacking them (docs/tfds.md has the times).
"""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from rubik_jax.data import volumes
from rubik_jax.data.cases import Case
from rubik_jax.data.formats import records
from rubik_jax.errors import UserError


def known() -> list[str]:
    """The names of the data sets."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def prepare(name: str, config: str | None, root: Path) -> Path:
    """Downloads a data set where that is possible, and writes it as array_record.

    Args:
        name: one of those known.
        config: one of its configs; None for a data set that has none.
        root: the folder that TensorFlow Datasets keeps its data in.

    Returns:
        The `dataset_info.json` of what was prepared.

    Raises:
        UserError: no such config, or the download or the files in it fail.
    """
    cls = importlib.import_module(f"{__name__}.{name}").Builder
    configs = list(cls.builder_configs)
    if config not in (configs or [None]):
        asked = f"{name}/{config}" if config else name
        others = f", or one of {', '.join(configs)}, which can be prepared" if configs else ""
        raise UserError(f"{root} holds no {asked}: expected what is prepared there{others}")
    manual = root / "downloads" / "manual"
    if cls.MANUAL_DOWNLOAD_INSTRUCTIONS and not (manual.is_dir() and any(manual.iterdir())):
        raise UserError(
            f"{name} is not in {root}, nor are the files to prepare it from in {manual}: "
            f"{' '.join(cls.MANUAL_DOWNLOAD_INSTRUCTIONS.split())}"
        )
    try:
        builder = cls(data_dir=root, config=config)
        builder.download_and_prepare(
            file_format=records.FORMAT,
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        )
    except UserError:
        raise
    except Exception as error:  # whatever a download or a disk can bring
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name} cannot be prepared in {root}: {said}") from error
    return Path(builder.data_dir) / records.FILE


def features(
    *, channels: int, dtype: type, masks: bool, **classes: Sequence[str]
) -> tfds.features.FeaturesDict:
    """The features of a scan.

    Args:
        channels: modalities of the image, [x, y, z, channels].
        dtype: of the image; the mask is int16 [x, y, z], an empty one where a case has none.
        masks: whether there is a feature `mask`.
        **classes: a feature → the classes of its label, -1 where a case has none; none if empty.
    """
    found = {
        "image": packed((None, None, None, channels), dtype),
        "name": tfds.features.Text(),
        # Bare, it would be rounded to float32.
        "affine": tfds.features.Tensor(shape=(4, 4), dtype=np.float64, encoding="bytes"),
    }
    if masks:
        found["mask"] = packed((None, None, None), np.int16)
    for name, names in classes.items():
        if names:
            found[name] = tfds.features.ClassLabel(names=list(names))
    return tfds.features.FeaturesDict(found)


def packed(shape: tuple[int | None, ...], dtype: type) -> tfds.features.Tensor:
    """An array of voxels."""
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="zlib")


def examples(
    cases: Iterable[Case], declared: tfds.features.FeaturesDict
) -> Iterator[tuple[str, dict]]:
    """Reads the cases; yields the name and the example of each, with the features declared."""
    label = next((k for k, v in declared.items() if isinstance(v, tfds.features.ClassLabel)), None)
    for case in cases:
        volume = volumes.read(case.images, channels=case.channels, row=case.row)
        example = {
            "image": _exact(volume.array, np.dtype(declared["image"].np_dtype), case),
            "name": case.name,
            "affine": volume.affine,
        }
        if "mask" in declared:
            example["mask"] = np.zeros((0, 0, 0), np.int16)
            if case.label is not None:
                example["mask"] = volumes.read_mask(case.label, volume)
        if label:
            example[label] = -1 if case.target is None else case.target
        yield case.name, example


def _exact(array: np.ndarray, dtype: np.dtype, case: Case) -> np.ndarray:
    """The same numbers, where they're to be whole, as that type."""
    cast = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(cast, array):
        raise UserError(
            f"case {case.name!r} holds values from {array.min():g} to {array.max():g}, not all of "
            f"them whole numbers that fit {dtype}: expected those, or dtype='float32'"
        )
    return cast
