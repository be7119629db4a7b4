"""The training cases of a Medical Segmentation Decathlon or nnU-Net `dataset.json`.

Four layouts are known: the Decathlon's list "training" of files, with several modalities in one 4D
file; nnU-Net's version 1, the same list with a file `<case>_0000.nii.gz` per modality; nnU-Net's
version 2, without a list but with a "file_ending"; and the same with a "dataset" of named cases. In
a list the "label" of a case is its mask, or the class of the whole volume as a number or a word, or
is left out.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rubik_jax.data import declaration, formats
from rubik_jax.data.cases import Case, Where, choose, existing, stem
from rubik_jax.data.declaration import Declared
from rubik_jax.data.formats import walk
from rubik_jax.data.formats.scan import lowered
from rubik_jax.errors import UserError


def cases(where: Where) -> list[Case]:
    """The training cases with their masks or classes; without masks where none of them is there.

    None stands for the file of a modality that a case lacks. `values` are all labels that are
    declared, one to be ignored included.

    Args:
        where: `path` is the folder of `dataset.json`, or that file; `modalities` are names that it
            declares, () for all.

    Raises:
        UserError: no `dataset.json`, one that cannot be understood, files that are absent, fewer
            than it counts, or a choice among the modalities of one file.
    """
    file, _, known, found = _read(where)
    # Pre-training needs images alone; some masks without the others are a broken download.
    if not any(case.label and case.label.is_file() for case in found):
        found = [case._replace(label=None) for case in found]
    _refuse_absent(file, found)
    chosen = choose(known, where.modalities)
    return [_choose(case, known, chosen) for case in found]


def numbers(where: Where) -> tuple[int, ...]:
    """Which of the declared modalities `where` chooses, as the ends of nnU-Net's files count them.

    Raises:
        UserError: as `cases`.
    """
    return choose(_read(where)[2], where.modalities)


def declared(where: Where, cases: Sequence[Case]) -> Declared:
    """What the file says of its labels: names, regions, the one to be ignored.

    Raises:
        UserError: as `cases`, or labels that contradict each other.
    """
    file, content, _, found = _read(where)
    said = declaration.of_dataset(file, content)
    count = _count(content)
    if count is not None and count != len(found) and cases:
        more = f"{file} counts {count} training cases, {len(found)} are there"
        return said._replace(notes=(*said.notes, more))
    return said


def _read(where: Where) -> tuple[Path, dict[str, Any], tuple[str, ...], list[Case]]:
    """The file, what it holds, the modalities that it declares, and its cases with all of them."""
    root = existing(where.path)
    file = root / "dataset.json" if root.is_dir() else root
    if not file.is_file():
        raise UserError(f"{root} holds no dataset.json, which the source 'msd' reads")
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}") from error
    try:
        known, values = _modalities(content), declaration.numbers(content.get("labels") or {})
        declaration.of_dataset(file, content)
        found = list(_listed(file.parent, content, len(known)))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{file} is not a dataset.json as the Decathlon or nnU-Net write it: expected "
            "'modality' or 'channel_names', 'labels', and a list 'training' of 'image' and, if "
            f"there is one, 'label', or a 'file_ending' ({error})"
        ) from error
    return file, content, known, [case._replace(values=case.label and values) for case in found]


def _count(declared: dict) -> int | None:
    """How many training cases are declared, as a number or a text; None where it says nothing."""
    count = str(declared.get("numTraining", "")).strip()
    return int(count) if count.isdecimal() else None


def _modalities(declared: dict) -> tuple[str, ...]:
    named = declared.get("channel_names") or declared["modality"]
    if isinstance(named, dict):
        named = [named[number] for number in sorted(named, key=int)]
    if not isinstance(named, list) or not named:
        raise TypeError(f"the modalities are {named!r}")
    return tuple(map(str, named))


def _listed(root: Path, declared: dict, channels: int) -> Iterator[Case]:
    if "dataset" in declared:
        for name, entry in declared["dataset"].items():
            yield _named_case(root, name, entry, channels)
    elif declared.get("training") or "file_ending" not in declared:
        for entry in declared["training"]:
            yield _listed_case(root, entry, channels)
    else:
        found = list(_filed(root, declared["file_ending"], channels))
        count = _count(declared)
        if count is not None and 0 < len(found) < count:
            raise UserError(
                f"the dataset.json in {root} counts {count} training cases in 'numTraining', but "
                f"imagesTr holds {len(found)}: expected all of them, as nnU-Net does, or their "
                "number there"
            )
        yield from found


def _named_case(root: Path, name: str, entry: dict, channels: int) -> Case:
    images = tuple(image and _file(root, image) for image in entry["images"])
    label, target = _answer(root, entry.get("label"))
    if len(images) == channels:
        return Case(name, images, label, target=target)
    if len(images) != 1 or not images[0]:
        raise TypeError(f"case {name!r} has {len(images)} images for {channels} modalities")
    return Case(name, images, label, channels, target)


def _listed_case(root: Path, entry: dict, channels: int) -> Case:
    image = _file(root, entry["image"])
    label, target = _answer(root, entry.get("label"))
    name = stem(image.name)
    files = _split_files(image.parent, name, image.name.removeprefix(name), channels)
    if not image.exists() and any(files):
        return Case(name, files, label, target=target)
    return Case(name, (image,), label, channels if channels > 1 else None, target)


def _filed(root: Path, ending: str, channels: int) -> Iterator[Case]:
    ending = lowered(ending)
    if ending not in formats.SUFFIXES:
        raise UserError(
            f"the dataset.json in {root} has the file_ending {ending!r}: expected one of "
            f"{', '.join(formats.SUFFIXES)}"
        )
    images, masks = (_lying_in(root / name, ending) for name in ("imagesTr", "labelsTr"))
    numbered = re.compile(rf"(.+)_\d{{4}}{re.escape(ending)}")
    matches = map(numbered.fullmatch, images)
    for name in sorted({match[1] for match in matches if match}):
        files = (images.get(f"{name}_{channel:04d}{ending}") for channel in range(channels))
        mask = f"{name}{ending}"
        yield Case(name, tuple(files), masks.get(mask, root / "labelsTr" / mask))


def _lying_in(folder: Path, ending: str) -> dict[str, Path]:
    """The files of a folder, by their names with the ending in lower case."""
    return {lowered(name): folder / name for name in walk.match(folder, f"*{ending}")}


def _split_files(folder: Path, name: str, ending: str, channels: int) -> tuple[Path | None, ...]:
    files = (folder / f"{name}_{channel:04d}{ending}" for channel in range(channels))
    return tuple(file if file.exists() else None for file in files)


def _answer(root: Path, label: object) -> tuple[Path | None, str | None]:
    """The mask or the class that an entry's "label" stands for."""
    if label is None or label == "":
        return None, None
    if not isinstance(label, str | int):
        raise TypeError(f"a 'label' is {label!r}")
    said = str(label).strip()
    file = _file(root, said)
    return (file, None) if stem(said) != said or file.is_file() else (None, said)


def _file(root: Path, named: str) -> Path:
    """As nnU-Net reads it: relative to the folder or absolute, environment variables filled in."""
    return root / os.path.expandvars(named)


def _refuse_absent(file: Path, found: Sequence[Case]) -> None:
    named = [part for case in found for part in (*case.images, case.label) if part is not None]
    absent = [part for part in named if not part.is_file()]
    if absent:
        raise UserError(
            f"{len(absent)} of the {len(named)} files that {file} names are absent, "
            f"the first is {absent[0]}"
        )


def _choose(case: Case, known: tuple[str, ...], chosen: tuple[int, ...]) -> Case:
    names = tuple(known[i] for i in chosen)
    if case.channels is None:
        return case._replace(images=tuple(case.images[i] for i in chosen), modalities=names)
    if names != known:
        raise UserError(
            f"config.data.modalities chooses {names}, but {case.images[0]} holds all of {known} in "
            "one file: expected them all in their order, or ()"
        )
    return case._replace(modalities=names)
