"""Classes for the Decathlon's hippocampus, which has none: its smallest third and its largest.

python launch/hippocampus_classes.py data/hippocampus >data/hippocampus/classes.csv

The volume of the hippocampus is what atrophy is read from, in Alzheimer's disease say, and it can
be told from the masks, which the networks never see when they classify. The third between has no
class: a drawn border moves it by more than what would part it from its neighbours.
"""

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np


def volumes(folder: Path) -> dict[str, float]:
    """Case -> the mm³ that its mask's labels cover."""
    found = {}
    for case in json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["training"]:
        mask = nib.load(folder / case["label"])
        voxel = abs(np.linalg.det(mask.affine[:3, :3]))
        found[Path(case["image"]).name.split(".")[0]] = np.count_nonzero(mask.dataobj) * voxel
    return found


def main(folder: str) -> None:
    """Prints the table."""
    found = volumes(Path(folder))
    least, most = np.quantile([*found.values()], (1 / 3, 2 / 3))
    print("case,class")
    for name, volume in sorted(found.items()):
        if not least < volume < most:
            print(f"{name},{'small' if volume <= least else 'large'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
