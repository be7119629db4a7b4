"""Writes a miniature UCF101 in the very layout of the official archives, for tests to read."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from rubik_jax.data.clips import encode

NTSC = Fraction(30000, 1001)
# As in the official archives, a folder and the videos in it can spell a class in two ways.
CLASSES = {"Archery": "Archery", "HandstandPushups": "HandStandPushups", "YoYo": "YoYo"}
GROUPS = 6


def write_ucf101(root: Path) -> Path:
    """Two clips of each of six groups of a class, of 25 or 29.97 pictures a second, one very short.

    Each of the three splits tests two of the groups. Returns the folder.
    """
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    numbers = {name: number for number, name in enumerate(CLASSES, 1)}
    _write(lists / "classInd.txt", [f"{number} {name}" for name, number in numbers.items()])
    for split in (1, 2, 3):
        tested, trained = [], []
        for name, group, clip in each():
            file = f"{name}/{file_of(name, group, clip)}"
            if (group - 1) // 2 + 1 == split:
                tested.append(file)
            else:
                trained.append(f"{file} {numbers[name]}")
        _write(lists / f"testlist{split:02d}.txt", tested)
        _write(lists / f"trainlist{split:02d}.txt", trained)
    for name, group, clip in each():
        rng = np.random.default_rng((numbers[name], group, clip))
        count = 7 if (group, clip) == (2, 1) else 20
        colour = 80 * (np.arange(3) == numbers[name] - 1)
        pictures = (rng.integers(0, 170, (count, 30, 40, 3)) + colour).astype(np.uint8)
        file = root / "UCF-101" / name / file_of(name, group, clip)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(pictures, 25 if group % 2 else NTSC))
    return root


def each():
    """Class, group and clip of every video."""
    return [(c, g, k) for c in CLASSES for g in range(1, GROUPS + 1) for k in (1, 2)]


def file_of(name: str, group: int, clip: int) -> str:
    return f"v_{CLASSES[name]}_g{group:02d}_c{clip:02d}.avi"


def _write(file: Path, lines: list[str]) -> None:
    file.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
