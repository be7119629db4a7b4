"""Answers of an earlier call are told from scans, wherever the folder for answers lies."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from rubik_jax.data.cases import Where
from rubik_jax.data.sources import find_cases
from rubik_jax.data.writing import is_ours, write_mask
from rubik_jax.errors import UserError
from rubik_jax.modes import predicting


def scan(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4)), path)
    return path


def answer(path: Path, like: Path, *, marked: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(path, np.zeros((4, 4, 4), np.uint8), like) if marked else scan(path)


def left(scans: Path, output: Path) -> list[str]:
    """Names of the cases that a call predicts; UserError where it refuses."""
    cases = predicting._without_answers(find_cases("folder", Where(scans)).cases, output)
    predicting._refuse_masks_among_scans(cases, output)
    return [case.name for case in cases]


def test_scans_below_the_output_are_scans(tmp_path, monkeypatch):
    one = scan(tmp_path / "scans" / "a.nii.gz")
    answer(tmp_path / "a.nii.gz", one)
    monkeypatch.chdir(tmp_path)
    assert left(Path("scans"), Path(".")) == left(Path("scans"), tmp_path) == ["a"]


@pytest.mark.parametrize("marked", [True, False])
def test_answers_below_the_scans_are_none(tmp_path, marked):
    one = scan(tmp_path / "site" / "a.nii.gz")
    for end in ("", "_probabilities"):
        answer(tmp_path / "out" / f"site_a{end}.nii.gz", one, marked=marked)
    os.symlink(tmp_path / "out", tmp_path.parent / f"{tmp_path.name}_link")
    assert left(tmp_path, tmp_path / "out") == ["site_a"]
    assert left(tmp_path, tmp_path.parent / f"{tmp_path.name}_link") == ["site_a"]
    scan(tmp_path / "out" / "deeper" / "b.nii.gz")
    assert left(tmp_path, tmp_path / "out") == ["out_deeper_b", "site_a"]


def test_answers_of_a_call_with_another_output_are_no_scans(tmp_path):
    one = scan(tmp_path / "a.nii.gz")
    answer(tmp_path / "first" / "a.nii.gz", one)
    assert left(tmp_path, tmp_path / "second") == ["a"]


def test_the_answer_to_a_scan_that_is_gone_is_known_by_its_mark(tmp_path):
    one = scan(tmp_path / "a.nii.gz")
    answer(tmp_path / "out" / "gone.nii.gz", one)
    assert is_ours(tmp_path / "out" / "gone.nii.gz") and not is_ours(one)
    assert left(tmp_path, tmp_path / "out") == ["a"]
    (tmp_path / "out" / "broken.nii.gz").write_bytes(b"x")
    assert not is_ours(tmp_path / "out" / "broken.nii.gz")


def test_masks_among_scans_are_refused_with_the_reason(tmp_path):
    scan(tmp_path / "a" / "t1.nii.gz")
    scan(tmp_path / "b" / "t1.nii.gz")
    for scans, output in ((tmp_path / "a", tmp_path / "a"), (tmp_path, tmp_path / "b")):
        with pytest.raises(UserError) as caught:
            left(scans, output)
        said = str(caught.value)
        assert f"--output={output} is the folder of scans of --input" in said
        assert "taken for scans by the next call; expected another folder" in said
