"""Whatever a source lists, its cases have names of their own and the modalities that they need."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from rubik_jax.data import phantom, sources, volumes
from rubik_jax.data.cases import Where, short
from rubik_jax.data.sources import find_cases
from rubik_jax.errors import UserError
from tests.files import declare, touch

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def folder(root, *globs, **options):
    return find_cases("folder", Where(root, modalities=globs), **options)


def test_an_unknown_source_lists_the_known_ones():
    for name in ("dicom", "folder.cases", "__init__"):
        with pytest.raises(UserError, match=r"expected one of brats, clips, folder, medmnist3d"):
            find_cases(name, Where(None))


@pytest.mark.parametrize("modalities", [("",), (1, 2), ("*.nii", None)])
def test_modalities_are_text(tmp_path, modalities):
    with pytest.raises(UserError, match=r"config\.data\.modalities is .*expected globs or names"):
        folder(touch(tmp_path, "a.nii"), *modalities)


def test_phantoms_come_with_their_kind_as_class(tmp_path):
    where = Where(tmp_path / "p", count=4, seed=3)
    found = find_cases("phantom", where)
    assert [case.target for case in found.cases] == [phantom.kind_of(3, i) for i in range(4)]
    assert find_cases("phantom", where, labels="classes.csv") == found


GLOBS = ("T1/*.nii", "T2/*.nii")


def test_a_case_that_lacks_a_modality_is_refused_left_out_or_kept(tmp_path):
    root = touch(tmp_path, *(f"T1/{n}.nii" for n in "abc"), *(f"T2/{n}.nii" for n in "bd"))
    (root / "classes.csv").write_text("case,class\na,x\nb,x\nc,y\nd,y\n")
    with pytest.raises(UserError, match=r"case 'a' in .* has no T2/\*\.nii \(3 of 4 cases lack"):
        folder(root, *GLOBS)
    kept, skipped, _ = folder(root, *GLOBS, missing="skip", labels="classes.csv")
    assert [(case.name, case.target) for case in kept] == [("b", "x")]
    assert skipped == {"a": "has no T2/*.nii", "c": "has no T2/*.nii", "d": "has no T1/*.nii"}
    kept, skipped, _ = folder(root, *GLOBS, missing="zeros")
    assert [case.name for case in kept] == [*"abcd"] and not skipped
    assert [case.images for case in kept if None in case.images] == [
        (root / "T1/a.nii", None),
        (root / "T1/c.nii", None),
        (None, root / "T2/d.nii"),
    ]
    (root / "T1/b.nii").unlink()
    with pytest.raises(UserError, match=r"all 4 cases .* lack a modality, 'a' has no T2"):
        folder(root, *GLOBS, missing="skip")
    with pytest.raises(UserError, match=r"config\.data\.missing is 'drop': expected one of"):
        folder(root, *GLOBS, missing="drop")


def test_a_case_without_any_modality_cannot_be_zeros(tmp_path):
    root = touch(tmp_path, *(f"x/a{end}.nii.gz" for end in ("_t1", "_seg")), "x/b_seg.nii.gz")
    where = Where(root, modalities=("T1",))
    (a,), skipped, _ = find_cases("brats", where, missing="skip")
    assert a.name == "a" and skipped == {"b": "has no T1"}
    with pytest.raises(UserError, match=r"case 'b' in .* has none of its modalities \(1 of 2"):
        find_cases("brats", where, missing="zeros")


def test_two_cases_of_one_name_are_refused_with_both_files(tmp_path):
    root = touch(tmp_path, "x/a.nii.gz", "y/a.nii.gz", "l.nii.gz")
    training = [{"image": f"{at}/a.nii.gz", "label": "l.nii.gz"} for at in "xy"]
    with pytest.raises(
        UserError, match=r"two cases are named 'a', from .*x/a\.nii.* and .*y/a\.nii"
    ):
        find_cases("msd", Where(declare(root, modality={"0": "T1"}, training=training)))


def test_a_name_is_one_that_files_can_carry(tmp_path):
    long = "/".join(f"{i}{'ä' * 60}" for i in range(4))
    (case,) = folder(touch(tmp_path / "long", f"{long}/a.nii")).cases
    (other,) = folder(touch(tmp_path / "other", f"{long}/b.nii")).cases
    assert 150 < len(case.name.encode()) <= 160 and case.name != other.name
    table = "case,class\n" + long.replace("/", "_") + "_a,x\n"
    (tmp_path / "long" / "t.csv").write_text(table, encoding="utf-8")
    assert folder(tmp_path / "long", labels="t.csv").cases == [case._replace(target="x")]
    for name in ("../a", ".a", ""):
        named = {"images": ["a.nii"]}
        root = declare(
            touch(tmp_path / "odd", "a.nii"), channel_names=["T1"], dataset={name: named}
        )
        with pytest.raises(UserError, match=f"a case is named '{re.escape(name)}'"):
            find_cases("msd", Where(root))
    (tmp_path / "bytes").mkdir()
    (tmp_path / "bytes" / "gr\udcfcn.nii").touch()
    with pytest.raises(UserError, match=r"gr\\udcfcn' is not UTF-8"):
        folder(tmp_path / "bytes")


def test_the_source_on_the_page_works(tmp_path, nifti, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "manifest.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, f"{sources.__name__}.manifest", raising=False)
    nifti("scans/a.nii.gz"), nifti("scans/b.nii.gz"), nifti("m.nii.gz", np.ones((6, 7, 8)))
    table = tmp_path / "cohort.csv"
    table.write_text(
        "case,image,mask,class\np,scans/a.nii.gz,m.nii.gz,x\nq,scans/b.nii.gz,,\nr,,,\n"
    )
    (p, q), skipped, _ = find_cases("manifest", Where(table), missing="skip")
    assert skipped == {"r": "has no modality 1"}
    assert (p.target, q.target, q.label) == ("x", None, None)
    volume = volumes.read(p.images)
    assert volume.array.shape == (6, 7, 8, 1)
    assert volumes.read_mask(p.label, volume).all()
    table.write_text("name;file\n1;2\n")
    with pytest.raises(UserError, match="expected case and image"):
        find_cases("manifest", Where(table))
    with pytest.raises(UserError, match="expected one of brats, clips, folder, manifest"):
        find_cases("none", Where(table))


@pytest.mark.parametrize(
    ("modalities", "said"),
    [
        (("sub-*/anat/*_T1w.nii.gz", "sub-*/anat/*_FLAIR.nii.gz"), ["T1w", "FLAIR"]),
        (("T1/*.nrrd", "T2/*.nrrd"), ["T1", "T2"]),
        (("*/T1", "*/T2"), ["T1", "T2"]),
        (("T1", "T1Gd"), ["T1", "T1Gd"]),
        (("a/*_x.nii", "b/*_x.nii"), ["a/*_x.nii", "b/*_x.nii"]),
        ((), []),
    ],
)
def test_modalities_are_told_apart_by_a_word(modalities, said):
    assert short(modalities) == said
