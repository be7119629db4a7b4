"""Files of any format pair up into cases by their names, and what does not is refused by name."""

import pytest

from rubik_jax.data.cases import Where
from rubik_jax.data.sources.folder import cases
from rubik_jax.errors import UserError
from tests.files import declare, touch


def listed(path, *modalities, masks=""):
    return cases(Where(path, modalities=modalities, masks=masks))


def names(*where, **masks):
    return [case.name for case in listed(*where, **masks)]


def slices(root, *folders):
    """Folders that hold what begins as a DICOM file does."""
    for folder in folders:
        touch(root, f"{folder}/001")
        (root / folder / "001").write_bytes(bytes(128) + b"DICM")
    return root


@pytest.mark.parametrize(
    ("globs", "files", "expected"),
    [
        (("*.nii.gz",), ["b.nii.gz", "a.nii.gz", "._a.nii.gz", ".hidden/c.nii.gz"], ["a", "b"]),
        (("*",), ["a.nii.gz", "b.nii", "c.nrrd", "d.mha", "e.npy"], [*"abcde"]),
        (("*.nii*",), ["a.nii.gz", "b.nii"], ["a", "b"]),
        (("*_0000.*",), ["a_b_0000.nii.gz", "c.d_0000.nrrd"], ["a_b", "c.d"]),
        (("*.*",), ["a.hdr", "a.img", "b.mhd", "b.raw", "c.nhdr", "c.raw"], ["a", "b", "c"]),
        (("*.img",), ["a.hdr", "a.img"], ["a"]),
        (("*/T1.nii.gz",), ["p2/T1.nii.gz", "p1/T1.nii.gz", "p1/T2.nii.gz"], ["p1", "p2"]),
        (("**/*_t1.nii",), ["p1/p1_t1.nii", "s/p2/p2_t1.nii", "p3_t1.nii"], ["p1", "p3", "s_p2"]),
        (("[ab]?.nii",), ["a1.nii", "b2.nii", "c3.nii"], ["a_1", "b_2"]),
        (("[!c]*.nii",), ["a1.nii", "c3.nii"], ["a_1"]),
        (("T1.nii.gz",), ["T1.nii.gz", "T2.nii.gz"], ["here"]),
        (("T1.nii", "T2.nii"), ["T1.nii", "T2.nii"], ["here"]),
        (("./*/m*.nii/",), ["Zoë Ω/m1 (2).nii"], ["Zoë Ω_1 (2)"]),
        ((), ["b.nii", "s/a.nrrd", "c.hdr", "c.img", "notes.txt", ".x/d.nii"], ["b", "c", "s_a"]),
        ((), ["p1/p1_t1.nii", "p1/p1.nii", "p10/p1.nii"], ["p1", "p10_p1", "p1_t1"]),
    ],
)
def test_what_the_wildcards_match_names_the_case(tmp_path, globs, files, expected):
    found = listed(touch(tmp_path / "here", *files), *globs)
    assert [case.name for case in found] == expected
    assert all(len(case.images) == max(1, len(globs)) for case in found)
    assert all(image.is_file() for case in found for image in case.images)


@pytest.mark.parametrize(
    ("globs", "masks", "expected"),
    [
        (["{}/anat/*_T1w.nii.gz", "{}/anat/*_FLAIR.nii.gz"], "{}/anat/*_mask.nii.gz", "{}_{}"),
        (["{}/anat/{}_T1w.nii.gz", "{}/anat/{}_FLAIR.nii.gz"], "*_mask.nii.gz", "{}_{}"),
        (["{}/*/*_T1w.nii.gz", "{}/*/*_FLAIR.nii.gz"], "{}/*/*_mask.nii.gz", "anat_{}_{}"),
    ],
)
@pytest.mark.parametrize("sessions", [True, False])
def test_bids_names_cases_by_its_entities(tmp_path, globs, masks, expected, sessions):
    visits = [("sub-01", "ses-01"), ("sub-01", "ses-02"), ("sub-02", "ses-02")]
    visits = visits if sessions else [("sub-01",), ("sub-02",)]
    at = "sub-*/ses-*" if sessions else "sub-*"
    flat = not masks.startswith("{}")
    for entities in visits:
        folder, stem = "/".join(entities), "_".join(entities)
        touch(tmp_path, *(f"{folder}/anat/{stem}_{kind}.nii.gz" for kind in ("T1w", "FLAIR")))
        touch(
            tmp_path, f"derivatives/lesions/{'' if flat else folder + '/anat/'}{stem}_mask.nii.gz"
        )
    globs = [pattern.format(at, "*") for pattern in globs]
    found = listed(tmp_path, *globs, masks=f"derivatives/lesions/{masks.format(at)}")
    joined = "anat_" * expected.startswith("anat")
    assert [case.name for case in found] == [joined + "_".join(entities) for entities in visits]
    for case, entities in zip(found, visits, strict=True):
        stem = "_".join(entities)
        kinds = ("T1w", "FLAIR", "mask")
        assert [path.name for path in (*case.images, case.label)] == [
            f"{stem}_{kind}.nii.gz" for kind in kinds
        ]


def test_a_folder_stays_in_names_that_would_not_be_unique_without(tmp_path):
    root = touch(tmp_path, "1/2/1.nii", "2/1/1.nii", "2/2/1.nii")
    assert names(root, "*/*/*.nii") == names(root) == ["1_2_1", "2_1_1", "2_2_1"]


def test_modalities_and_masks_pair_up_in_the_order_of_the_globs(tmp_path):
    root = touch(
        tmp_path, "T2/a.nii", "T2/b.nii", "T1/b.nii", "T1/a.nii", "mask/b.nrrd", "T1/c.nii"
    )
    a, b, c = listed(root, "T2/*.nii", "T1/*.nii", masks="mask/*.nrrd")
    assert a.images == (root / "T2/a.nii", root / "T1/a.nii") and a.label is None
    assert b.images == (root / "T2/b.nii", root / "T1/b.nii") and b.label == root / "mask/b.nrrd"
    assert c.images == (None, root / "T1/c.nii")


@pytest.mark.parametrize("globs", [(), ("*.nii",), ("**/*.nii",)])
@pytest.mark.parametrize("masks", ["*_mask.nii", "./*_mask.nii", "{root}/*_mask.nii"])
def test_a_mask_is_no_image(tmp_path, globs, masks):
    root = touch(tmp_path, "a.nii", "a_mask.nii")
    (case,) = listed(root, *globs, masks=masks.format(root=root))
    assert (case.images, case.label) == ((root / "a.nii",), root / "a_mask.nii")


def test_masks_may_lie_beside_the_folder(tmp_path):
    root = touch(tmp_path, "scans/p/a.nii", "masks/p/a.nii") / "scans"
    (case,) = listed(root, masks="../masks/**/*.nii")
    assert case.images == (root / "p/a.nii",) and case.label.samefile(tmp_path / "masks/p/a.nii")


def test_the_path_may_be_one_file(tmp_path):
    root = touch(tmp_path, "odd[*]name.nii.gz", "other.nii.gz")
    for globs in ((), ("*",)):
        (case,) = listed(root / "odd[*]name.nii.gz", *globs)
        assert case.images == (root / "odd[*]name.nii.gz",)
        assert case.name == "odd[*]name"


def test_folders_of_slices_are_volumes(tmp_path):
    root = slices(tmp_path, "p1/T1", "p1/T2", "p2/T1/series", "p2/T2")
    for globs in (("*/T1", "*/T2"), ("*/T1/", "./*/T2")):  # open_scan looks below for the series
        p1, p2 = listed(root, *globs)
        assert p1.images == (root / "p1/T1", root / "p1/T2") and p1.name == "p1"
        assert p2.images == (root / "p2/T1", root / "p2/T2")
    assert names(root / "p1" / "T1", "*.nii", "*.mha") == names(root / "p1" / "T1") == ["T1"]
    (case,) = listed(root / "p1" / "T1")
    assert case.images == (root / "p1" / "T1",)


def test_names_pair_up_however_their_unicode_is_composed(tmp_path):
    root = touch(tmp_path, "T1/Zo\u00eb.nii", "T2/Zoe\u0308.nii", "mask/Zoe\u0308.nii")
    (case,) = listed(root, "T1/*.nii", "T2/*.nii", masks="mask/*.nii")
    assert case.name == "Zo\u00eb" and None not in (*case.images, case.label)


def test_refusals_name_the_culprit(tmp_path):
    root = touch(
        tmp_path,
        *("one/a_t1.nii", "one/b_t1.nii", "one/a_t2.nii"),
        *("two/a.nii/x", "three/x_1.nii", "three/x/1.nii", "four/notes.txt", "five/a.nii"),
        "five/a.nrrd",
    )
    (root / "empty").mkdir()
    (root / "two/link.nii").symlink_to("gone.nii")
    for at, globs, masks, said in [
        (None, ("*",), "", "config.data.path is not set"),
        ("nowhere", ("*",), "", "nowhere, which does not exist"),
        ("empty", ("*",), "", "empty folder"),
        ("four", (), "", r"no volume lies in .*four: expected files that end in \.nii\.gz"),
        ("one", ("*.mha",), "", "matches '\\*.mha'"),
        ("one", ("*_t1.nii",), "*_mask.nii", "no file in .* matches '\\*_mask.nii'"),
        ("one", ("b_*.nii",), "a_t*.nii", r"files that match 'a_t\*.nii' belongs to a case"),
        ("two", ("a*",), "", "a.nii matches .* is a folder without DICOM slices"),
        ("two", ("l*",), "", "link.nii matches .* link to nothing"),
        ("three", ("**/*.nii",), "", "both match .* as case 'x_1'"),
        ("five", (), "", "a.nii and a.nrrd both match .* as case 'a'"),
    ]:
        with pytest.raises(UserError, match=said):
            listed(at and root / at, *globs, masks=masks)


def test_a_decathlon_is_not_taken_for_a_heap_of_volumes(tmp_path):
    declare(touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"), channel_names={})
    with pytest.raises(UserError, match=r"holds a dataset\.json.*config\.data\.source=msd"):
        listed(tmp_path)
    assert names(tmp_path, "imagesTr/*_0000.nii.gz") == ["a"]
