"""Files pair up into cases, and what does not is refused by name."""

import json

import pytest

from rubik_jax.data import phantom
from rubik_jax.data.cases import Where
from rubik_jax.data.sources import find_cases
from rubik_jax.errors import UserError


@pytest.fixture
def lay(tmp_path):
    """Lays empty files below tmp_path."""

    def touch(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return touch


def folder(path, *modalities, masks=""):
    return find_cases("folder", Where(path, modalities=modalities, masks=masks))


def msd(path):
    return find_cases("msd", Where(path))


@pytest.mark.parametrize(
    ("globs", "files", "names"),
    [
        (("*.nii.gz",), ["b.nii.gz", "a.nii.gz", "._a.nii.gz", ".hidden/c.nii.gz"], ["a", "b"]),
        (("*",), ["a.nii.gz", "b.nii"], ["a", "b"]),
        (("*.nii*",), ["a.nii.gz", "b.nii"], ["a", "b"]),
        (("*/T1.nii.gz",), ["p2/T1.nii.gz", "p1/T1.nii.gz", "p1/T2.nii.gz"], ["p1", "p2"]),
        (("**/*_t1.nii",), ["p1/p1_t1.nii", "s/p2/p2_t1.nii", "p3_t1.nii"], ["p1", "p3", "s_p2"]),
        (("[ab]?.nii",), ["a1.nii", "b2.nii", "c3.nii"], ["a_1", "b_2"]),
        (("[!c]*.nii",), ["a1.nii", "c3.nii"], ["a_1"]),
        (("T1.nii.gz",), ["T1.nii.gz", "T2.nii.gz"], ["here"]),
        (("T1.nii", "T2.nii"), ["T1.nii", "T2.nii"], ["here"]),
    ],
)
def test_what_the_wildcards_match_names_the_case(lay, globs, files, names):
    root = lay(*(f"here/{file}" for file in files)) / "here"
    found = folder(root, *globs)
    assert [case.name for case in found] == names
    assert all(len(case.images) == len(globs) for case in found)


def test_modalities_and_masks_pair_up_in_the_order_of_the_globs(lay):
    root = lay("T2/a.nii", "T2/b.nii", "T1/b.nii", "T1/a.nii", "mask/b.nii")
    a, b = folder(root, "T2/*.nii", "T1/*.nii", masks="mask/*.nii")
    assert a.images == (root / "T2/a.nii", root / "T1/a.nii") and a.label is None
    assert b.images == (root / "T2/b.nii", root / "T1/b.nii") and b.label == root / "mask/b.nii"


def test_a_mask_is_no_image(lay):
    root = lay("a.nii", "a_mask.nii")
    (case,) = folder(root, "*.nii", masks="*_mask.nii")
    assert (case.images, case.label) == ((root / "a.nii",), root / "a_mask.nii")


def test_the_path_may_be_one_file(lay):
    root = lay("odd[*]name.nii.gz", "other.nii.gz")
    (case,) = folder(root / "odd[*]name.nii.gz", "*")
    assert case.images == (root / "odd[*]name.nii.gz",)
    assert case.name == "odd[*]name"


def test_refusals_of_a_folder_name_the_culprit(lay):
    root = lay(
        "one/a_t1.nii",
        "one/b_t1.nii",
        "one/a_t2.nii",
        "two/a.nii/x",
        "three/x_1.nii",
        "three/x/1.nii",
    )
    (root / "empty").mkdir()
    (root / "two/link.nii").symlink_to("gone.nii")
    for at, globs, masks, said in [
        (None, ("*",), "", "config.data.path is not set"),
        ("nowhere", ("*",), "", "nowhere, which does not exist"),
        ("empty", ("*",), "", "empty folder"),
        ("one", (), "", "config.data.modalities"),
        ("one", ("*.mha",), "", "matches '\\*.mha'"),
        ("one", ("*_t1.nii", "*_t2.nii"), "", "case 'b' has no file .*_t2.nii.* \\(1 of 2 cases"),
        ("one", ("*_t1.nii",), "*_mask.nii", "no file in .* matches '\\*_mask.nii'"),
        ("one", ("b_*.nii",), "a_t*.nii", "belong to none of the cases"),
        ("two", ("a*",), "", "a.nii matches .* is a folder"),
        ("two", ("l*",), "", "link.nii matches .* link to nothing"),
        ("three", ("**/*.nii",), "", "both match .* as case 'x_1'"),
    ]:
        with pytest.raises(UserError, match=said):
            folder(at and root / at, *globs, masks=masks)


def test_an_unknown_source_lists_the_known_ones():
    for name in ("dicom", "folder.cases", "__init__"):
        with pytest.raises(UserError, match=r"expected one of brats, folder, medmnist3d, msd"):
            find_cases(name, Where(None))


def _declare(root, **content):
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def test_msd_lists_the_training_cases_with_their_masks(lay):
    root = lay("imagesTr/b.nii.gz", "imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "labelsTr/b.nii.gz")
    listed = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in "ba"]
    _declare(root, modality={"0": "T1", "1": "T2"}, training=listed, test=["./imagesTs/c.nii.gz"])
    a, b = msd(root)
    assert (a.name, b.name, a.channels) == ("a", "b", 2)
    assert a.images == (root / "imagesTr/a.nii.gz",) and a.label == root / "labelsTr/a.nii.gz"
    assert msd(root / "dataset.json") == [a, b]
    b.images[0].unlink()
    with pytest.raises(UserError, match=r"1 of the 4 files .* first is .*b\.nii\.gz"):
        msd(root)


@pytest.mark.parametrize("version", [1, 2])
def test_nnunet_keeps_one_file_per_modality(lay, version):
    root = lay("imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    listed = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]
    how = [{"modality": {"0": "T1", "1": "T2"}, "training": listed}]
    how += [{"channel_names": {"0": "T1", "1": "T2"}, "file_ending": ".nii.gz", "numTraining": 1}]
    (case,) = msd(_declare(root, **how[version - 1]))
    assert [path.name for path in case.images] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    assert (case.name, case.label, case.channels) == ("a", root / "labelsTr/a.nii.gz", None)


def test_refuses_what_is_no_dataset_json(lay, tmp_path):
    with pytest.raises(UserError, match=r"holds no dataset\.json"):
        msd(tmp_path)
    for content, said in [
        ("{broken", "cannot be read as JSON"),
        ("[1]", "not a dataset.json"),
        ('{"modality": {"0": "T1"}}', "not a dataset.json"),
        ('{"modality": {"0": "T1"}, "training": ["a.nii.gz"]}', "not a dataset.json"),
        ('{"modality": {"0": "T1"}, "training": []}', "lists no case"),
    ]:
        (tmp_path / "dataset.json").write_text(content)
        with pytest.raises(UserError, match=said):
            msd(tmp_path)


def test_msd_masks_may_be_absent_all_but_not_some(lay):
    root = lay("imagesTr/a.nii.gz", "imagesTr/b.nii.gz")
    listed = [{"image": f"imagesTr/{n}.nii.gz", "label": f"labelsTr/{n}.nii.gz"} for n in "ab"]
    _declare(root, modality={"0": "T1"}, training=listed)
    assert [case.label for case in msd(root)] == [None, None]
    lay("labelsTr/b.nii.gz")
    with pytest.raises(UserError, match=r"1 of the 4 files .* first is .*labelsTr/a\.nii\.gz"):
        msd(root)
    lay("labelsTr/a.nii.gz")
    assert None not in [case.label for case in msd(root)]
    del listed[0]["label"]
    a, b = msd(_declare(root, modality={"0": "T1"}, training=listed))
    assert a.label is None and b.label == root / "labelsTr/b.nii.gz"


def test_an_msd_label_that_is_no_file_is_a_class(lay):
    root = lay(*(f"imagesTr/{n}.nii.gz" for n in "abcde"), "mask", "labelsTr/e.nii.gz")
    said = [0, " benign ", "7", "mask", "labelsTr/e.nii.gz"]
    listed = [
        {"image": f"imagesTr/{n}.nii.gz", "label": label}
        for n, label in zip("abcde", said, strict=True)
    ]
    found = msd(_declare(root, modality={"0": "CT"}, training=listed))
    assert [case.target for case in found] == ["0", "benign", "7", None, None]
    assert [case.label for case in found] == [None] * 3 + [root / "mask", root / said[4]]
    listed[0]["label"] = [1, 2]
    with pytest.raises(UserError, match=r"not a dataset\.json .*\[1, 2\]"):
        msd(_declare(root, modality={"0": "CT"}, training=listed))


def test_phantoms_come_with_their_kind_as_class(tmp_path):
    found = find_cases("phantom", Where(tmp_path / "p", count=4, seed=3))
    assert [case.target for case in found] == [phantom.kind_of(3, i) for i in range(4)]
    table = find_cases("phantom", Where(tmp_path / "p", count=4, seed=3), labels="classes.csv")
    assert table == found


def test_two_msd_cases_of_one_name_are_refused(lay):
    root = lay("x/a.nii.gz", "y/a.nii.gz", "l.nii.gz")
    listed = [{"image": f"{folder}/a.nii.gz", "label": "l.nii.gz"} for folder in "xy"]
    with pytest.raises(UserError, match="two cases are named 'a'"):
        msd(_declare(root, modality={"0": "T1"}, training=listed))
