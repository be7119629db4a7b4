"""The classes that stand in for those the Decathlon's hippocampus hasn't."""

import json
import runpy
from pathlib import Path

import nibabel as nib
import numpy as np

SCRIPT = Path(__file__).parents[1] / "launch" / "hippocampus_classes.py"


def test_thirds_go_by_volume_not_by_voxels(tmp_path, capsys):
    listed = []
    for number in range(6):
        mask = np.zeros((4, 4, 4), np.uint8)
        mask.flat[: 6 - number] = 1 + number % 2
        edge = 1 + number  # mm: fewer voxels, and yet more of the patient
        nib.save(
            nib.Nifti1Image(mask, np.diag([edge, -edge, edge, 1.0])), tmp_path / f"{number}.nii"
        )
        listed.append({"image": f"./imagesTr/case_{number}.nii.gz", "label": f"./{number}.nii"})
    (tmp_path / "dataset.json").write_text(json.dumps({"training": listed}))
    runpy.run_path(str(SCRIPT))["main"](str(tmp_path))
    rows = capsys.readouterr().out.split()
    assert rows == ["case,class", "case_0,small", "case_1,small", "case_4,large", "case_5,large"]
