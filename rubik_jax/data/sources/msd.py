"""The training cases of a Medical Segmentation Decathlon or nnU-Net `dataset.json`.

Three layouts are known: the Decathlon's list of files, with several modalities in one 4D file;
nnU-Net's version 1, the same list with a file `<case>_0000.nii.gz` per modality; and nnU-Net's
version 2, without a list. In a list the "label" of a case is its mask, or the class of the whole
volume as a number or a word, or is left out.
"""

import glob
import json
from pathlib import Path

from rubik_jax.data.cases import Case, Where, existing, stem
from rubik_jax.errors import UserError


def cases(where: Where) -> list[Case]:
    """The training cases with their masks or classes; without masks where none of them is there.

    Args:
        where: `path` is the folder of `dataset.json`, or that file.

    Raises:
        UserError: no `dataset.json`, one that cannot be understood, or files that are absent.
    """
    root = existing(where.path)
    file = root / "dataset.json" if root.is_dir() else root
    if not file.is_file():
        raise UserError(f"{root} holds no dataset.json, which the source 'msd' reads")
    try:
        declared = json.loads(file.read_text(encoding="utf-8"))
        channels = len(declared.get("channel_names") or declared["modality"])
        found = _listed(file.parent, declared, channels)
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} is not a dataset.json as the Decathlon or nnU-Net write it: expected "
            "'modality' or 'channel_names' and a list 'training' of 'image' and, if there is one, "
            f"'label' ({error})"
        ) from error

    # Pre-training needs images alone; some masks without the others are a broken download.
    if not any(case.label and case.label.is_file() for case in found):
        found = [case._replace(label=None) for case in found]
    named = [part for case in found for part in (*case.images, case.label) if part is not None]
    absent = [part for part in named if not part.is_file()]
    if absent:
        raise UserError(
            f"{len(absent)} of the {len(named)} files that {file} names are absent, "
            f"the first is {absent[0]}"
        )
    return found


def _listed(root: Path, declared: dict, channels: int) -> list[Case]:
    if "training" in declared:
        return [_listed_case(root, entry, channels) for entry in declared["training"]]
    ending = declared["file_ending"]
    first = f"_0000{ending}"
    images, labels = root / "imagesTr", root / "labelsTr"
    names = (file.removesuffix(first) for file in glob.glob(f"*{first}", root_dir=images))
    return [
        Case(name, _split_files(images, name, ending, channels), labels / f"{name}{ending}")
        for name in names
    ]


def _listed_case(root: Path, entry: dict, channels: int) -> Case:
    image = root / entry["image"]
    label, target = _answer(root, entry.get("label"))
    name = stem(image.name)
    files = _split_files(image.parent, name, image.name.removeprefix(name), channels)
    if not image.exists() and files[0].exists():
        return Case(name, files, label, target=target)
    return Case(name, (image,), label, channels if channels > 1 else None, target)


def _answer(root: Path, label: object) -> tuple[Path | None, str | None]:
    """The mask or the class that an entry's "label" stands for."""
    if label is None or label == "":
        return None, None
    if not isinstance(label, str | int):
        raise TypeError(f"a 'label' is {label!r}")
    said = str(label).strip()
    is_file = stem(said) != said or (root / said).is_file()
    return (root / said, None) if is_file else (None, said)


def _split_files(folder: Path, name: str, ending: str, channels: int) -> tuple[Path, ...]:
    return tuple(folder / f"{name}_{channel:04d}{ending}" for channel in range(channels))
