"""UCF101 in its official layout: parts, classes, groups, and what is said where it's not so."""

import re
import shutil

import numpy as np
import pytest

from rubik_jax.data import entries
from rubik_jax.data.cases import Where
from rubik_jax.data.digests import remembered
from rubik_jax.data.formats import Clip
from rubik_jax.data.preprocess import make_preprocessing
from rubik_jax.data.sources import find_cases
from rubik_jax.data.split import make_split
from rubik_jax.errors import UserError
from tests.data.ucf import CLASSES, each, file_of, write_ucf101

HOW = make_preprocessing(
    orientation="RAS",
    crop="none",
    spacing=None,
    intensity={"kind": "window", "low": 0.0, "high": 255.0, "over": "whole"},
)


@pytest.fixture(scope="module")
def ucf101(tmp_path_factory):
    return write_ucf101(tmp_path_factory.mktemp("ucf101"))


@pytest.fixture
def copy(ucf101, tmp_path):
    return shutil.copytree(ucf101, tmp_path / "copy")


CLIP = Clip(4, 16)


def listed(path, division=1, clip=CLIP):
    return find_cases("ucf101", Where(path, clip=clip, division=division)).cases


@pytest.mark.parametrize("division", [1, 2, 3])
def test_parts_and_classes_are_those_of_the_lists(ucf101, division):
    found = {case.name: case for case in listed(ucf101, division)}
    assert len(found) == len(each())
    for name, group, clip in each():
        case = found[file_of(name, group, clip).removesuffix(".avi")]
        assert case.images == (ucf101 / "UCF-101" / name / file_of(name, group, clip),)
        assert case.target == name and case.channels == 3
        assert case.part == ("test" if (group + 1) // 2 == division else "train")


def _inside(root):
    shutil.move(root / "ucfTrainTestlist", root / "UCF-101" / "ucfTrainTestlist")
    return root / "UCF-101"


def _other_letters(root):
    for file in (root / "UCF-101").rglob("*HandStand*"):
        file.rename(file.with_name(file.name.replace("HandStand", "handstand")))
    (root / "UCF-101" / "YoYo").rename(root / "UCF-101" / "Yoyo")
    return root


def _unix(root):
    for file in (root / "ucfTrainTestlist").iterdir():
        file.write_bytes(file.read_bytes().replace(b"\r\n", b"\n") + b"\n")
    return root


def _beyond(root):
    archery = root / "UCF-101" / "Archery"
    shutil.copy(archery / "v_Archery_g01_c01.avi", archery / "v_Archery_g99_c01.avi")
    (archery / "._v_Archery_g01_c01.avi").touch()
    return root


def _unnumbered(root):
    (root / "ucfTrainTestlist" / "classInd.txt").unlink()
    return root


@pytest.mark.parametrize(
    "change", [lambda root: root / "UCF-101", _inside, _other_letters, _unix, _beyond, _unnumbered]
)
def test_it_is_found_as_people_have_it(ucf101, copy, change):
    def told(cases):
        return sorted((c.name.lower(), c.target.lower(), c.part) for c in cases)

    assert told(listed(change(copy))) == told(listed(ucf101))


def _append(name, line):
    def change(root):
        with (root / "ucfTrainTestlist" / name).open("a") as file:
            file.write(line)

    return change


def _lose(*names):
    def change(root):
        (path,) = root.glob("/".join(names))
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


@pytest.mark.parametrize(
    ("change", "division", "said"),
    [
        (_lose("ucfTrainTestlist"), 1, "no folder ucfTrainTestlist in or beside it"),
        (
            _lose("ucfTrainTestlist", "testlist02.txt"),
            2,
            r"testlist02\.txt cannot be read: No",
        ),
        (
            _lose("UCF-101", "YoYo", "v_YoYo_g01_c02.avi"),
            1,
            r"testlist01\.txt lists 'YoYo/v_YoYo_g01_c02\.avi', which is not in .* \(1 of 12",
        ),
        (_append("trainlist01.txt", "YoYo v_YoYo\r\n"), 1, "has the line 'YoYo v_YoYo'"),
        (_append("trainlist01.txt", "YoYo/v_YoYo_g01_c02.avi 1"), 1, "class 1, classInd.txt .* 3"),
        (_append("classInd.txt", "four Fencing"), 1, "has the line 'four Fencing'"),
        (lambda root: None, 4, r"config\.data\.video\.split is 4: expected 1, 2 or 3"),
        (lambda root: (root / "ucfTrainTestlist/classInd.txt").write_text("1 Archery"), 1, "name"),
    ],
)
def test_what_is_not_as_it_should_be_is_one_sentence(copy, change, division, said):
    change(copy)
    with pytest.raises(UserError, match=said) as refused:
        listed(copy, division)
    assert "\n" not in str(refused.value)


def test_the_groups_of_a_class_stay_in_one_part(ucf101):
    cases, group = listed(ucf101), r"v_.*_g\d+"
    parts = make_split(
        cases, test=0.2, validation=0.3, seed=0, group=group, folds=0, fold=0, file=""
    )
    homes = [{re.search(group, name)[0] for name in part} for part in parts]
    assert all(homes) and len(set.union(*homes)) == sum(map(len, homes)) == 6 * len(CLASSES)


def test_the_store_holds_clips_and_leaves_out_what_is_damaged(copy, tmp_path):
    bad = copy / "UCF-101" / "Archery" / "v_Archery_g03_c01.avi"
    bad.write_bytes(bad.read_bytes()[:900])
    cases = listed(copy)
    with pytest.raises(UserError, match=r"v_Archery_g03_c01\.avi is damaged or cut short"):
        entries.build(cases, tmp_path / "store", how=HOW, workers=2)
    store, skipped = entries.build(cases, tmp_path / "store", how=HOW, workers=2, on_bad="skip")
    assert skipped.keys() == {"v_Archery_g03_c01"} and len(store) == len(cases) - 1
    assert {*store.shapes} == {(16, 16, 4, 3)}
    for i, case in enumerate(case for case in cases if case.name not in skipped):
        brightest = np.asarray(store.volume(i), np.float32).mean((0, 1, 2)).argmax()
        assert [*CLASSES][brightest] == case.target
    # Another clip is another entry.
    longer = listed(copy, clip=Clip(6, 16))
    with remembered(tmp_path / "store") as digests:
        assert entries.find(longer[-1], tmp_path / "store", HOW, digests) is None
        assert entries.find(cases[-1], tmp_path / "store", HOW, digests) is not None


def test_videos_without_lists_are_cases_too(ucf101):
    where = Where(ucf101, clip=CLIP)
    found = find_cases("videos", where).cases
    assert {case.name for case in found} == {case.name for case in listed(ucf101)}
    one = found[0].images[0]
    assert find_cases("videos", where._replace(path=one)).cases == found[:1]
    with pytest.raises(UserError, match="no video lies in"):
        find_cases("videos", where._replace(path=ucf101 / "ucfTrainTestlist"))
