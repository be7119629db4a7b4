"""Opens single examples of data sets that TensorFlow Datasets prepared as array_record.

Nothing here needs TensorFlow. An example is one record on disk; `declared` says which of its
features is the volume, which the mask and so on, so that others' data sets are read like ours.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rubik_jax.data.formats import declared
from rubik_jax.data.formats.scan import Clip, Scan, without_ones
from rubik_jax.errors import UserError

FILE = "dataset_info.json"
FEATURES = "features.json"
FORMAT = "array_record"


class DataSet(NamedTuple):
    """A prepared version of a data set.

    path: its `dataset_info.json`.
    splits: what is known of each split, by its name; a `tfds.core.SplitDict`.
    records: split → its examples, encoded; a split without examples is left out.
    names: "image", "mask", "target", "name", "affine" → the feature that is it, if one is.
    features: the same → what `features.json` declares that feature to be.
    facts: decodes all of an example but its voxels.
    voxels: "image", "mask" → decodes these alone; frames stay encoded.
    frame: decodes one of the image's frames, where it is made of such.
    """

    path: Path
    splits: Mapping[str, Any]
    records: Mapping[str, Sequence[bytes]]
    names: Mapping[str, str]
    features: Mapping[str, declared.Declared]
    facts: Any
    voxels: Mapping[str, Any]
    frame: Any


class Facts(NamedTuple):
    """What an example tells before its voxels are decoded.

    name: what it calls itself, or None.
    target: its class, or None.
    shapes: "image" and "mask" → (x, y, z) or (x, y, z, c), None where only decoding tells.
    channels: along the volume's last axis; None where it has no such axis.
    affine: float64 [4, 4]; where the example has none, voxels are 1 mm.
    """

    name: str | None
    target: str | None
    shapes: Mapping[str, tuple[int, ...] | None]
    channels: int | None
    affine: np.ndarray

    @property
    def has_mask(self) -> bool:
        """Whether there is a mask; an example that lacks one has an empty one."""
        return "mask" in self.shapes and 0 not in (self.shapes["mask"] or ())


def open_record(path: Path, row: tuple[str, int], mask: bool, clip: Clip | None = None) -> Scan:
    """The volume of one example, or its mask.

    Frames [t, h, w, c] become [w, h, t, c]: x along a row, y down a column, z in time.

    Args:
        path: the `dataset_info.json` of a prepared data set.
        row: the split, and the number of the example in it.
        mask: whether the mask is asked for instead of the volume.
        clip: what is taken of a video; None takes all of it.

    Raises:
        UserError: as `open_data_set` and `read`, or the example has no mask.
    """
    data, what = open_data_set(path), "mask" if mask else "image"
    record, facts = read(data, *row)
    if mask and not facts.has_mask:
        raise UserError(f"example {row[1]} of {row[0]!r} in {path} has no mask")
    shape = facts.shapes[what]
    if what == "image" and data.frame:
        array = _frames(data, record, row, clip)
        return Scan(path, "records", array.shape, array.dtype, facts.affine, lambda: array)
    if shape is None:
        array = _voxels(data, what, record, row)
        return Scan(path, "records", array.shape, array.dtype, facts.affine, lambda: array)
    dtype = _dtype(data.features[what]["tensor"]["dtype"])
    return Scan(
        path, "records", shape, dtype, facts.affine, lambda: _voxels(data, what, record, row)
    )


def files(path: Path, row: tuple[str, int]) -> list[Path]:
    """What describes a prepared data set, and the one of its files that holds an example.

    Raises:
        UserError: as `open_data_set`, or there is no such example.
    """
    data, (split, index) = open_data_set(path), row
    if not 0 <= index < len(data.records.get(split, ())):
        raise _absent(data, row)
    ends = np.cumsum(data.splits[split].shard_lengths)
    shard = data.splits[split].filepaths[int(np.searchsorted(ends, index, side="right"))]
    return [path, path.with_name(FEATURES), Path(shard)]


def read(data: DataSet, split: str, index: int) -> tuple[bytes, Facts]:
    """One example, encoded, and what it tells of itself.

    Raises:
        UserError: no such example, or one that is damaged.
    """
    if not 0 <= index < len(data.records.get(split, ())):
        raise _absent(data, (split, index))
    try:
        record = data.records[split][index]
        return record, _facts(data, data.facts.deserialize_example_np(record))
    except Exception as error:  # the readers of records and features have a dozen kinds
        raise _damaged(data, (split, index), error) from error


def open_data_set(path: Path) -> DataSet:
    """The data set whose `dataset_info.json` this is, which stays open; safe to share by threads.

    Raises:
        UserError: not prepared as array_record, no feature that is a volume, or several.
    """
    try:
        status = path.stat()
        return _open(path, status.st_size, status.st_mtime_ns)
    except UserError:
        raise
    except Exception as error:  # damaged files of three kinds, read by three libraries
        raise UserError(f"{path} or a file beside it cannot be read: {_line(error)}") from error


@functools.lru_cache(maxsize=4)
def _open(path: Path, size: int, changed: int) -> DataSet:
    import tensorflow_datasets as tfds
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    del size, changed
    folder = path.parent
    info = tfds.core.dataset_info.read_proto_from_builder_dir(folder)
    if FORMAT not in (info.file_format, *info.alternative_file_formats):
        raise UserError(
            f"{folder} is prepared as {info.file_format or 'tfrecord'} only: expected {FORMAT}, "
            f"which `tfds convert_format --dataset_version_dir={folder} "
            f"--out_file_format={FORMAT}` adds where TensorFlow is installed"
        )
    files = tfds.core.ShardedFileTemplate(
        dataset_name=info.name, data_dir=tfds.core.Path(folder), filetype_suffix=FORMAT
    )
    splits = tfds.core.SplitDict.from_proto(info.splits, files)
    records = {
        name: ArrayRecordDataSource(split.file_instructions)
        for name, split in splits.items()
        if split.num_examples
    }
    said = json.loads((folder / FEATURES).read_text(encoding="utf-8"))
    said = said["featuresDict"]["features"]
    names = declared.purposes(path, said)
    features = {what: said[name] for what, name in names.items()}
    facts, voxels, frame = {}, {}, None
    for what, feature in features.items():
        if what not in ("image", "mask"):
            facts[names[what]] = declared.build(feature)
            continue
        voxels[what] = tfds.features.FeaturesDict({names[what]: declared.build(feature)})
        shape = declared.shape(feature)
        if not declared.is_tensor(feature):
            frame = declared.build_frame(feature)
        elif shape.count(None) > 1:
            # The shape of such a tensor is kept beside its voxels, and read without them.
            sides = tfds.features.Tensor(shape=(len(shape),), dtype=np.int32)
            facts[names[what]] = {"shape": sides}
    facts = tfds.features.FeaturesDict(facts)
    facts.load_metadata(folder, feature_name=None)  # the names of classes
    return DataSet(path, splits, records, names, features, facts, voxels, frame)


def _facts(data: DataSet, example: Mapping[str, Any]) -> Facts:
    found = {what: example[name] for what, name in data.names.items() if name in example}
    target = found.get("target")
    if "classLabel" in data.features.get("target", {}):
        target = data.facts[data.names["target"]].int2str(target) if target >= 0 else None
    sides = {
        what: tuple(found[what]["shape"].tolist())
        if what in found
        else declared.shape(data.features[what])
        for what in data.voxels
    }
    shapes = {
        what: without_ones(shape)
        if declared.is_tensor(data.features[what]) and None not in shape
        else None
        for what, shape in sides.items()
    }
    channels = (*sides["image"], None)[3]
    affine = np.asarray(found.get("affine", np.eye(4)), np.float64)
    name = _text(found.get("name"))
    return Facts(name, _text(target), shapes, None if channels == 1 else channels, affine)


def _voxels(data: DataSet, what: str, record: bytes, row: tuple[str, int]) -> np.ndarray:
    try:
        array = data.voxels[what].deserialize_example_np(record)[data.names[what]]
        return array.reshape(without_ones(array.shape)).astype(_dtype(array.dtype), copy=False)
    except Exception as error:
        raise _damaged(data, row, error) from error


def _frames(data: DataSet, record: bytes, row: tuple[str, int], clip: Clip | None) -> np.ndarray:
    """All frames, or the clip of them, of which no others are decoded."""
    try:
        encoded = data.voxels["image"].deserialize_example_np(record)[data.names["image"]]
        decode = data.frame.decode_example_np
        if clip is None:
            array = np.stack([decode(frame) for frame in encoded]).transpose(2, 1, 0, 3)
            return array.reshape(without_ones(array.shape))
        from rubik_jax.data.formats import video

        chosen = (decode(encoded[i]) for i in video.places(len(encoded), clip.frames))
        return video.stack([video.square(video.picture(frame), clip.side) for frame in chosen])
    except Exception as error:
        raise _damaged(data, row, error) from error


def _dtype(stored: Any) -> np.dtype:
    """Truth values count as 0 and 1."""
    dtype = np.dtype(stored)
    return np.dtype(np.uint8) if dtype == np.bool_ else dtype


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else None if value is None else str(value)


def _absent(data: DataSet, row: tuple[str, int]) -> UserError:
    return UserError(f"{data.path} lists no example {row[1]} of a split {row[0]!r}")


def _damaged(data: DataSet, row: tuple[str, int], error: Exception) -> UserError:
    return UserError(f"example {row[1]} of {row[0]!r} in {data.path} is damaged: {_line(error)}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
