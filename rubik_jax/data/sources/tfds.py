"""A data set of TensorFlow Datasets, ours or anyone's, prepared as array_record.

config.data.name                      cases
brats_2018                            of all splits; their names say which part a case is in
brats_2018:train[:80%]                of this slice
med_mnist3d/adrenal_28:1.0.0:test     of a config, a version and a split
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from rubik_jax.data import builders, editions
from rubik_jax.data.cases import Case, Where, existing
from rubik_jax.data.declaration import Declared
from rubik_jax.data.formats import declared as features_of
from rubik_jax.data.formats import records
from rubik_jax.errors import UserError

PARTS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
_NAME = re.compile(
    r"(?P<set>[A-Za-z]\w*)(/(?P<config>[\w+.-]+))?(:(?P<version>\d+\.\d+\.\d+))?(:(?P<split>.+))?"
)


def cases(where: Where) -> list[Case]:
    """The examples of the data set, or of one split or slice.

    A case is called as a feature name, id, case or filename says, if that tells the examples
    apart, else by its split and number. Its class is that of a class label, or of a feature label.
    What is ours and not prepared yet is prepared first, which can be a download.

    Args:
        where: `path` is the folder that TensorFlow Datasets keeps its data in, None for its own
            default; `name` is "dataset[/config][:version][:split]", where the split may be sliced
            and added as TensorFlow Datasets has it. Without one, and if there are several, each
            case's part is the split's.

    Raises:
        UserError: a name that is not understood, no such data set or split, one that is not
            prepared as array_record, or has no feature that is a volume.
    """
    match = _NAME.fullmatch(where.name)
    if not match:
        raise UserError.of(
            "{data.name} is {!r}: expected <data set>[/config][:version][:split], such as "
            "'brats_2018:train[:80%]'",
            where.name,
        )
    root = existing(where.path) if where.path else Path(tfds.core.constants.DATA_DIR).expanduser()
    data = records.open_data_set(_find(root, match["set"], match["config"], match["version"]))
    split = match["split"]
    rows = list(_rows(data, split or "+".join(data.records)))
    facts = [records.read(data, *row)[1] for row in rows]
    names = _names(rows, [fact.name for fact in facts])
    divided = split is None and len(data.records) > 1
    clip = where.clip if features_of.is_video(data.features["image"]) else None
    return [
        Case(
            name,
            (data.path,),
            data.path if fact.has_mask else None,
            channels=3 if clip else fact.channels,
            target=fact.target,
            part=PARTS.get(row[0]) if divided else None,
            row=row,
            clip=clip,
        )
        for name, row, fact in zip(names, rows, facts, strict=True)
    ]


def declared(where: Where, cases: Sequence[Case]) -> Declared:
    """The edition of a data set that is called after one, such as brats_2018."""
    name = _NAME.fullmatch(where.name)["set"]
    known = (name,) if name in editions.EDITIONS else ()
    return Declared(editions={case.name: known for case in cases} if known else {})


def _find(root: Path, name: str, config: str | None, version: str | None) -> Path:
    """The `dataset_info.json` of the version asked for, or of the latest."""
    asked = f"{name}/{config}" if config else name
    versions = _versions(root / asked)
    if not versions and not config:
        configs = sorted(folder.name for folder in (root / name).glob("*/") if _versions(folder))
        if len(configs) > 1:
            raise UserError.of(
                "{data.name} is {!r}, of which {} holds the configs {}: expected one of them, as "
                "{}/{}",
                *(name, root, configs, name, configs[0]),
            )
        if configs:
            return _find(root, name, configs[0], version)
    if version and version not in versions:
        raise UserError(f"{root / asked} holds the versions {sorted(versions)}, not {version}")
    if versions:
        latest = max(versions, key=lambda numbers: tuple(map(int, numbers.split("."))))
        return versions[version or latest]
    if name in builders.known():
        return builders.prepare(name, config, root)
    raise UserError(
        f"{root} holds no data set {asked!r}, which is none of ours either "
        f"({', '.join(builders.known())}): expected it to be prepared, which `tfds build {asked} "
        f"--file_format={records.FORMAT} --data_dir={root}` does where TensorFlow is installed"
    )


def _versions(folder: Path) -> dict[str, Path]:
    return {file.parent.name: file for file in folder.glob(f"[0-9]*.[0-9]*.[0-9]*/{records.FILE}")}


def _rows(data: records.DataSet, split: str) -> Iterator[tuple[str, int]]:
    """The split and number of each example; these stay the same however a split is sliced."""
    try:
        slices = tfds.core.ReadInstruction.from_spec(split).to_absolute(data.splits)
    except (ValueError, NotImplementedError) as error:
        sizes = {name: part.num_examples for name, part in data.splits.items()}
        raise UserError.of(
            "{data.name} asks {} for {!r}, which is no slice of its splits {}: {}",
            *(data.path.parent, split, sizes, " ".join(str(error).split())),
        ) from error
    for part in slices:
        stop = data.splits[part.splitname].num_examples if part.to is None else part.to
        for index in range(part.from_ or 0, stop):
            yield part.splitname, index


def _names(rows: list[tuple[str, int]], said: list[str | None]) -> list[str]:
    """A name of each case, safe as that of a file."""
    names = [re.sub(r"[^\w.-]+", "_", name or "").strip("._") for name in said]
    if all(names) and len(set(names)) == len(names):
        return names
    return [f"{split}_{index:05d}" for split, index in rows]
