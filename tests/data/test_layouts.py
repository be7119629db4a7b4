"""The paper's two cohorts, in the layouts they are handed out in, are listed and prepared."""

from collections import Counter

import numpy as np
import pytest

from rubik_jax.data import entries
from rubik_jax.data.cases import Where
from rubik_jax.data.sources import find_cases
from rubik_jax.errors import UserError
from tests.cohorts import CAUSES, write_brats, write_haemorrhage
from tests.preprocessing import scaled


def brats(path, *modalities, **options):
    return find_cases("brats", Where(path, modalities=modalities), **options).cases


@pytest.mark.parametrize(
    ("naming", "name", "grades", "values"),
    [
        ("2018", "Brats18_TCIA_000_1", ["HGG", "LGG", "HGG"], (0, 1, 2, 4)),
        ("2023", "BraTS-GLI-00000-000", [None] * 3, (0, 1, 2, 3)),
    ],
)
def test_brats_is_listed_and_prepared(tmp_path, naming, name, grades, values):
    found = brats(write_brats(tmp_path / "cohort", cases=3, naming=naming))
    assert found[0].name == name
    assert [case.target for case in found] == grades
    prepared = entries.build(found, tmp_path / "store", how=scaled(0.5, 99.5, "percentile")).store
    assert prepared.shapes == ((24, 28, 20, 4),) * 3 and prepared.values == values
    t1, t1gd, t2, flair = np.moveaxis(np.array(prepared[0], np.float32), -1, 0)
    tumour = np.array(prepared.label(0))
    rim, oedema = tumour == max(values), tumour == 2
    # The order of the channels, known by what each shows best; and the masks lie on them.
    assert t1gd[rim].mean() > 1.5 * t1gd[oedema].mean()
    assert flair[oedema].mean() > 1.1 * flair[rim].mean() and t2[oedema].mean() > t2[rim].mean()
    assert np.ptp([t1[rim].mean(), t1[oedema].mean()]) < 0.2


def test_brats_of_2020_lies_unpacked_and_flat_and_may_lack_masks(tmp_path):
    names = [f"BraTS20_Validation_00{i}" for i in (1, 2)]
    for name in names:
        for modality in ("flair", "t1", "t1ce", "t2"):
            (tmp_path / f"{name}_{modality}.nii").touch()
    (tmp_path / f"{names[0]}_seg.nii").touch()
    (tmp_path / "atlas.nii.gz").touch()
    (tmp_path / "._x_t1.nii").touch()
    first, second = brats(tmp_path)
    assert (first.name, second.name) == tuple(names)
    endings = [path.name.removeprefix(names[0]) for path in first.images]
    assert endings == ["_t1.nii", "_t1ce.nii", "_t2.nii", "_flair.nii"]
    assert first.label == tmp_path / f"{names[0]}_seg.nii" and second.label is None
    assert first.target is None


def test_the_grade_is_that_of_the_nearest_folder_the_path_included(tmp_path):
    write_brats(tmp_path / "LGG" / "cohort", cases=2)
    assert [case.target for case in brats(tmp_path)] == ["HGG", "LGG"]
    assert [case.target for case in brats(tmp_path / "LGG" / "cohort" / "HGG")] == ["HGG"]


def test_a_choice_of_modalities_is_what_a_case_needs(tmp_path):
    root = write_brats(tmp_path / "cohort", cases=2, size=(6, 6, 6))
    whole = brats(root)
    chosen = brats(root, "FLAIR", "T1gd")
    assert [case.images for case in chosen] == [case.images[3:0:-2] for case in whole]
    assert chosen[0].modalities == ("FLAIR", "T1Gd")
    whole[0].images[0].unlink()
    assert brats(root, "FLAIR", "T1gd") == chosen
    assert brats(root, missing="skip") == whole[1:]
    first, _ = brats(root, missing="zeros")
    assert first.images == (None, *whole[0].images[1:])
    assert first.target == whole[0].target == "HGG"


def test_refusals_of_brats_name_the_culprit(tmp_path):
    root = write_brats(tmp_path / "cohort", cases=2, naming="2023", size=(6, 6, 6))
    (root / "BraTS-GLI-00001-000" / "BraTS-GLI-00001-000-t2w.nii.gz").unlink()
    with pytest.raises(UserError, match=r"'BraTS-GLI-00001-000' in .* has no T2 \(1 of 2 cases"):
        brats(root)
    with pytest.raises(UserError, match=r"names 'T1c': expected some of .* T1, T1Gd, T2, FLAIR"):
        brats(root, "T1", "T1c")
    (root / "BraTS-GLI-00000-000-t1n.nii").touch()
    with pytest.raises(UserError, match="are both T1 of case 'BraTS-GLI-00000-000'"):
        brats(root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no file in .* is named as BraTS"):
        brats(tmp_path / "empty")


def test_the_haemorrhage_cohort_is_listed_and_prepared(tmp_path):
    root = write_haemorrhage(tmp_path / "cohort", cases=8)
    found = find_cases("folder", Where(root, modalities=("*.nii.gz",)), labels="causes.csv").cases
    assert [case.target for case in found] == [*CAUSES, *CAUSES]
    assert Counter(case.target for case in found) == dict.fromkeys(CAUSES, 2)
    prepared = entries.build(found, tmp_path / "store", how=scaled(0, 80)).store
    assert set(prepared.shapes) == {(36, 42, 14, 1)}
    assert prepared.values == () and prepared.places(0).shape == (0, 3)
    # Air is 0, bone is 1, and brain and blood, which the window is for, lie apart in between.
    volume = np.array(prepared[0], np.float32)
    assert volume[0, 0].max() == 0 and (volume == 1).mean() > 0.05
    brain, blood = ((volume > low) & (volume < high) for low, high in ((0.2, 0.6), (0.7, 1)))
    assert brain.sum() > blood.sum() > 50
