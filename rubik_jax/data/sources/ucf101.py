"""UCF101: videos of people's actions, in a folder for each class, with the official lists.

Soomro et al., UCF101, CRCV-TR-12-01 (2012); as its two archives unpack:

    UCF-101/Archery/v_Archery_g01_c01.avi           class, group of like videos, clip
    ucfTrainTestlist/classInd.txt                   3 Archery
    ucfTrainTestlist/trainlist01.txt                Archery/v_Archery_g08_c01.avi 3
    ucfTrainTestlist/testlist01.txt                 Archery/v_Archery_g01_c01.avi
"""

from collections.abc import Mapping
from pathlib import Path

from rubik_jax.data.cases import Case, Where, existing
from rubik_jax.data.sources import videos
from rubik_jax.errors import UserError

VIDEOS, LISTS, CLASSES = "UCF-101", "ucfTrainTestlist", "classInd.txt"
PARTS = ("train", "test")
DIVISIONS = (1, 2, 3)


def cases(where: Where) -> list[Case]:
    """The videos that are listed, with their part and, as their folders are called, their class.

    Files are found whatever the case of letters, which differs between lists and folders.

    Args:
        where: `path` is the folder that holds `UCF-101`, or that folder itself, `ucfTrainTestlist`
            beside or in it; `division` which of the official three; `clip` what is taken of each.

    Raises:
        UserError: no such folder or list, a line that is not understood, a video that is listed
            and not there, or numbers of classes that contradict `classInd.txt`.
    """
    if where.division not in DIVISIONS:
        raise UserError.of("{data.video.split} is {}: expected 1, 2 or 3", where.division)
    root = existing(where.path)
    folder = root / VIDEOS if (root / VIDEOS).is_dir() else root
    lists = _lists(root, folder)
    numbers = _numbers(lists / CLASSES)
    there = {_key(f"{file.parent.name}/{file.name}"): file for file in videos.below(folder)}
    found = []
    for part in PARTS:
        file = lists / f"{part}list{where.division:02d}.txt"
        listed = _listed(file)
        missing = [name for name in listed if _key(name) not in there]
        if missing:
            raise UserError(
                f"{file} lists {missing[0]!r}, which is not in {folder} ({len(missing)} of "
                f"{len(listed)} videos are not): expected all of them"
            )
        for name, number in listed.items():
            case = videos.case_of(there[_key(name)], where)
            action = case.images[0].parent.name
            _refuse_other_number(file, name, number, numbers, action)
            found.append(case._replace(part=part, target=action))
    return found


def _lists(root: Path, folder: Path) -> Path:
    homes = dict.fromkeys((root / LISTS, folder / LISTS, folder.parent / LISTS))
    for home in homes:
        if home.is_dir():
            return home
    raise UserError.of(
        "{data.path} is {}, with no folder {} in or beside it: expected the official lists of "
        "UCF101 there, and the videos in {}",
        *(root, LISTS, VIDEOS),
    )


def _listed(file: Path) -> dict[str, str]:
    """Class and file, as the list has them → the number of the class, or ""."""
    listed = {}
    for line in _lines(file):
        name, _, number = line.partition(" ")
        if name.count("/") != 1 or (number and not number.strip().isdecimal()):
            raise UserError(
                f"{file} has the line {line!r}: expected <class>/<video>.avi, and in the lists of "
                "training the number of the class"
            )
        listed[name] = number.strip()
    return listed


def _numbers(file: Path) -> dict[str, str]:
    """Class → its number; {} where nobody says."""
    if not file.is_file():
        return {}
    pairs = [line.split() for line in _lines(file)]
    for pair in pairs:
        if len(pair) != 2 or not pair[0].isdecimal():
            raise UserError(
                f"{file} has the line {' '.join(pair)!r}: expected a number and a class"
            )
    return {_key(action): number for number, action in pairs}


def _refuse_other_number(
    file: Path, name: str, number: str, numbers: Mapping[str, str], action: str
) -> None:
    if not numbers:
        return
    if _key(action) not in numbers:
        raise UserError(f"{file} lists {name!r}, whose class {CLASSES} beside it does not name")
    if number and number != numbers[_key(action)]:
        raise UserError(
            f"{file} gives {name!r} the class {number}, {CLASSES} beside it says "
            f"{numbers[_key(action)]}: expected the same"
        )


def _lines(file: Path) -> list[str]:
    """The lines that are not blank, whichever way they end."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise UserError(f"{file} cannot be read: {reason}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _key(name: str) -> str:
    return name.casefold()
