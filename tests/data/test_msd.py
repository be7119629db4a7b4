"""A `dataset.json` of the Decathlon or nnU-Net is understood, and what is none is refused."""

import json

import pytest

from rubik_jax.data.cases import Where
from rubik_jax.data.sources import find_cases, msd
from rubik_jax.errors import UserError
from tests.files import declare, touch

TWO = {"0": "T1", "1": "T2"}


def listed(path, *modalities, missing="refuse"):
    return find_cases("msd", Where(path, modalities=modalities), missing=missing).cases


def test_lists_the_training_cases_with_their_masks(tmp_path):
    root = touch(tmp_path, *(f"{kind}Tr/{n}.nii.gz" for kind in ("images", "labels") for n in "ab"))
    training = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"labelsTr/{n}.nii.gz"} for n in "ba"]
    declare(root, modality=TWO, training=training, test=["./imagesTs/c.nii.gz"])
    a, b = listed(root)
    assert (a.name, b.name, a.channels, a.modalities) == ("a", "b", 2, ("T1", "T2"))
    assert a.images == (root / "imagesTr/a.nii.gz",) and a.label == root / "labelsTr/a.nii.gz"
    assert listed(root / "dataset.json") == listed(root, "T1", "T2") == [a, b]
    with pytest.raises(UserError, match=r"chooses \('T2',\), but .*b\.nii\.gz holds all of"):
        listed(root, "T2")
    b.images[0].unlink()
    with pytest.raises(UserError, match=r"1 of the 4 files .* first is .*b\.nii\.gz"):
        listed(root)


NNUNET = {
    "version 1": {
        "modality": TWO,
        "training": [{"image": "imagesTr/a.E", "label": "labelsTr/a.E"}],
    },
    "version 2": {"channel_names": TWO, "file_ending": ".E", "numTraining": 1},
    "version 2, named": {
        "channel_names": dict(reversed(TWO.items())),
        "file_ending": ".E",
        "dataset": {
            "a": {
                "images": ["$AT/imagesTr/a_0000.E", "./imagesTr/a_0001.E"],
                "label": "labelsTr/a.E",
            }
        },
    },
}


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize("layout", NNUNET)
def test_nnunet_keeps_one_file_per_modality(tmp_path, monkeypatch, layout, ending):
    monkeypatch.setenv("AT", str(tmp_path))
    root = touch(tmp_path, *(f"imagesTr/a_000{i}.{ending}" for i in (0, 1)), f"labelsTr/a.{ending}")
    (root / "dataset.json").write_text(json.dumps(NNUNET[layout]).replace(".E", f".{ending}"))
    (case,) = listed(root)
    assert case.images == tuple(root / f"imagesTr/a_000{i}.{ending}" for i in (0, 1))
    assert (case.name, case.label, case.channels) == ("a", root / f"labelsTr/a.{ending}", None)
    for chosen, numbers in ((("T2",), (1,)), (("t2", "T1"), (1, 0))):
        (chose,) = listed(root, *chosen)
        assert chose.images == tuple(case.images[i] for i in numbers)
        assert chose.modalities == tuple(("T1", "T2")[i] for i in numbers)
        assert msd.numbers(Where(root, modalities=chosen)) == numbers
    for wrong in (("FLAIR",), ("T1", "t1")):
        with pytest.raises(UserError, match=r"config\.data\.modalities"):
            listed(root, *wrong)


@pytest.mark.parametrize("layout", ["version 1", "version 2"])
def test_a_modality_may_be_missing(tmp_path, layout):
    root = touch(tmp_path, "imagesTr/a_0001.nii", "labelsTr/a.nii")
    (root / "dataset.json").write_text(json.dumps(NNUNET[layout]).replace(".E", ".nii"))
    (case,) = listed(root, missing="zeros")
    assert case.images == (None, root / "imagesTr/a_0001.nii")
    with pytest.raises(UserError, match=r"case 'a' in .* has no T1 \(1 of 1 cases"):
        listed(root)


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        ({"0": "background", "2": "posterior", "1": "anterior"}, (0, 1, 2)),
        ({"background": 0, "tumour": 1}, (0, 1)),
        ({"background": 0, "1": 1, "2": "2"}, (0, 1, 2)),
        (
            {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "rim": 3, "ignore": 4},
            (*range(5),),
        ),
        ({}, None),
        (None, None),
    ],
)
def test_all_declared_labels_are_the_values_of_a_mask(tmp_path, labels, values):
    root = touch(tmp_path, "a.nii", "b.nii", "m.nii")
    training = [{"image": "a.nii", "label": "m.nii"}, {"image": "b.nii"}]
    a, b = listed(declare(root, modality={"0": "CT"}, labels=labels, training=training))
    assert (a.values, b.values) == (values, None)


def test_refuses_what_is_no_dataset_json(tmp_path):
    with pytest.raises(UserError, match=r"holds no dataset\.json"):
        listed(tmp_path)
    named = {"channel_names": TWO, "dataset": {"a": {"images": ["a.nii"] * 3}}}
    for content, said in [
        ("{broken", "cannot be read as JSON"),
        ("[1]", "not a dataset.json"),
        ('{"modality": {"0": "T1"}}', "not a dataset.json"),
        ('{"modality": "T1", "training": []}', "not a dataset.json"),
        ('{"channel_names": {"T1": 0}, "training": []}', "not a dataset.json"),
        ('{"modality": {"0": "T1"}, "training": ["a.nii.gz"]}', "not a dataset.json"),
        ('{"modality": {"0": "T1"}, "labels": {"x": "y"}, "training": []}', "not a dataset.json"),
        (json.dumps(named), "'a' has 3 images for 2 modalities"),
        ('{"modality": {"0": "T1"}, "training": []}', "lists no case"),
        ('{"modality": ["T1"], "file_ending": ".nii"}', "lists no case"),
        ('{"modality": ["T1"], "file_ending": ".png"}', r"file_ending '\.png': expected one of"),
    ]:
        (tmp_path / "dataset.json").write_text(content)
        with pytest.raises(UserError, match=said):
            listed(tmp_path)


def test_masks_may_be_absent_all_but_not_some(tmp_path):
    root = touch(tmp_path, "imagesTr/a.nii.gz", "imagesTr/b.nii.gz")
    training = [{"image": f"imagesTr/{n}.nii.gz", "label": f"labelsTr/{n}.nii.gz"} for n in "ab"]
    declare(root, modality={"0": "T1"}, training=training)
    assert [case.label for case in listed(root)] == [None, None]
    touch(root, "labelsTr/b.nii.gz")
    with pytest.raises(UserError, match=r"1 of the 4 files .* first is .*labelsTr/a\.nii\.gz"):
        listed(root)
    touch(root, "labelsTr/a.nii.gz")
    assert None not in [case.label for case in listed(root)]
    del training[0]["label"]
    a, b = listed(declare(root, modality={"0": "T1"}, training=training))
    assert a.label is None and b.label == root / "labelsTr/b.nii.gz"


def test_a_label_that_is_no_file_is_a_class(tmp_path):
    root = touch(tmp_path, *(f"{n}.nii.gz" for n in "abcde"), "mask", "labelsTr/e.nii.gz")
    said = [0, " benign ", "7", "mask", "labelsTr/e.nii.gz"]
    training = [
        {"image": f"{n}.nii.gz", "label": label} for n, label in zip("abcde", said, strict=True)
    ]
    found = listed(declare(root, modality={"0": "CT"}, training=training))
    assert [case.target for case in found] == ["0", "benign", "7", None, None]
    assert [case.label for case in found] == [None] * 3 + [root / "mask", root / said[4]]
    training[0]["label"] = [1, 2]
    with pytest.raises(UserError, match=r"not a dataset\.json .*\[1, 2\]"):
        listed(declare(root, modality={"0": "CT"}, training=training))


def test_the_hippocampus_cohort_declares_its_labels(hippocampus):
    found = listed(hippocampus)
    assert len(found) == 200
    assert {case.values for case in found} == {(0, 1, 2)}


def declared(root, **content):
    """What is said of the labels of one case."""
    touch(root, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    usual = {"channel_names": {"0": "T1"}, "file_ending": ".nii.gz", "numTraining": 1}
    return find_cases("msd", Where(declare(root, **usual | content))).declared


@pytest.mark.parametrize(
    "labels", [{"background": 0, "a": 1, "Ignore": 2}, {"0": "background", "1": "a", "2": "ignore"}]
)
def test_the_label_to_be_ignored_is_the_files(tmp_path, labels):
    said = declared(tmp_path, labels=labels)
    assert (said.ignore, said.names) == (2, {0: "background", 1: "a"})


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"background": 0, "a": 1, "ignore": 1}, "'ignore' as 1: expected one number above 0"),
        ({"background": 0, "a": 1, "ignore": [2, 3]}, "expected one number above 0"),
        ({"background": 0, "ignore": 0}, "expected one number above 0"),
        ({"a": 0, "background": 1}, "declares the background as 1: expected label 0"),
    ],
)
def test_labels_that_contradict_each_other_are_refused(tmp_path, labels, said):
    with pytest.raises(UserError, match=said):
        declared(tmp_path, labels=labels)


def test_regions_and_their_order_are_the_files(tmp_path):
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "rim": 3, "ignore": 4}
    said = declared(tmp_path, labels=labels, regions_class_order=[1, 2, 3])
    assert said.regions == {"whole": (1, 2, 3), "core": (2, 3), "rim": (3,)}
    assert (said.order, said.ignore, said.names[3]) == ((1, 2, 3), 4, "rim")
    assert declared(tmp_path, labels={"background": 0, "a": [1]}).regions == {}
    with pytest.raises(UserError, match=r"2 labels in 'regions_class_order' for 3 regions"):
        declared(tmp_path, labels=labels, regions_class_order=[1, 2])


def test_what_is_not_obeyed_is_noted(tmp_path):
    assert declared(tmp_path, labels={"background": 0}).notes == ()
    (note,) = declared(tmp_path, labels={"0": "clear", "1": "tumour"}).notes
    assert "calls label 0 'clear', which is taken for the background" in note
    (note,) = declared(tmp_path, overwrite_image_reader_writer="OwnIO").notes
    assert "names OwnIO as what reads its files" in note
    assert declared(tmp_path, overwrite_image_reader_writer="SimpleITKIO").notes == ()
    for flat in ({"overwrite_image_reader_writer": "NaturalImage2DIO"}, {"tensorImageSize": "2D"}):
        with pytest.raises(UserError, match="is of flat pictures"):
            declared(tmp_path, **flat)


def test_fewer_cases_than_counted_are_a_broken_download_and_more_are_noted(tmp_path):
    with pytest.raises(
        UserError, match=r"counts 3 training cases in 'numTraining', but .* holds 1"
    ):
        declared(tmp_path, numTraining=3)
    touch(tmp_path, "imagesTr/b_0000.nii.gz", "labelsTr/b.nii.gz")
    (note,) = declared(tmp_path).notes
    assert "counts 1 training cases, 2 are there" in note
    training = [{"image": "imagesTr/a_0000.nii.gz", "label": "labelsTr/a.nii.gz"}]
    (note,) = declared(tmp_path, training=training, numTraining=9).notes
    assert "counts 9 training cases, 1 are there" in note
