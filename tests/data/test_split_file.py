"""Splits that others have drawn are taken as they are, if they are of this cohort."""

import json

import pytest

from rubik_jax.data.cases import Case
from rubik_jax.data.split import Split, make_split
from rubik_jax.errors import UserError

NAMES = "abcdefgh"
TABLE = "case,part\n" + "".join(f"{name},train\n" for name in "abcde")
FOLDS = [{"train": list("cdefgh"), "val": list("ab")}, {"train": list("abefgh"), "val": list("cd")}]


@pytest.fixture
def from_file(tmp_path):
    def from_file_(content, name="s.json", fold=0, validation=0.0):
        path = tmp_path / name
        if content is not None:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return make_split(
            [Case(case, ()) for case in NAMES],
            test=0.2,
            validation=validation,
            seed=1,
            folds=0,
            fold=fold,
            file=str(path),
        )

    return from_file_


def test_a_table_or_json_gives_the_parts(from_file):
    expected = Split(tuple("abcde"), ("f",), ("g", "h"))
    table = "Part;Case\n" + "".join(f"train;{c}\n" for c in "edcba")
    assert from_file(table + "Validation;f\ntest;h\ntest;g\n", "s.csv", validation=0.5) == expected
    assert from_file(expected._asdict(), validation=0.5) == expected


def test_names_may_be_those_of_files_in_any_text_of_utf_8(from_file):
    listed = {"train": ["a.nii.gz", "b.nrrd", *"cde"], "test": list("fgh")}
    plain = from_file({"train": list("abcde"), "test": list("fgh")})
    assert from_file(listed) == from_file("\ufeff" + json.dumps(listed), "S.JSON") == plain
    table = TABLE.replace("a,", "a.mha,") + "f,test\ng,test\nh,test\n"
    assert from_file("\ufeff" + table.replace("\n", "\r\n"), "s.csv") == plain


def test_validation_is_drawn_from_train_only_where_the_file_is_silent(from_file):
    drawn = from_file(TABLE + "f,test\ng,test\nh,test\n", "s.csv", validation=0.4)
    assert drawn.test == tuple("fgh")
    assert len(drawn.validation) == 2 and sorted(drawn.train + drawn.validation) == list("abcde")
    listed = {"train": list("edcba"), "test": list("fgh")}
    assert from_file(listed, validation=0.4) == drawn
    assert from_file(listed | {"validation": []}, validation=0.4).validation == ()


def test_the_validation_folds_of_nnunet_are_test_cases(from_file):
    for fold, test in ((0, "ab"), (1, "cd")):
        parts = from_file(FOLDS, "splits_final.json", fold, validation=0.3)
        assert parts.test == tuple(test) and len(parts.validation) == 2
        assert sorted(parts.train + parts.validation) == FOLDS[fold]["train"]


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (None, "s.json", r"split\.file is .*s\.json, which cannot be read"),
        (None, "s.csv", r"split\.file is .*s\.csv, which cannot be read"),
        ("{", "s.json", "is not JSON"),
        ("PK\x03\x04", "s.csv", "a workbook of Excel"),
        ("PK\x03\x04", "s.json", "a workbook of Excel"),
        ({"train": ["a", "a.nii"]}, "s.json", "lists twice case 'a'"),
        (TABLE.replace("part", "set"), "s.csv", r"\['case', 'set'\]: expected .*\['case', 'part'"),
        (TABLE + "f,val\n", "s.csv", "case 'f' in part 'val': expected one of train"),
        (TABLE + "a,test\n", "s.csv", "lists case 'a' twice"),
        (TABLE, "s.csv", r"has no part for case 'f' \(3 such cases\)"),
        (TABLE + "z,test\n", "s.csv", "lists, but the cohort lacks, case 'z'"),
        ({"train": ["a"], "test": ["a"]}, "s.json", "lists twice case 'a'"),
        ({"test": list(NAMES)}, "s.json", "leaves no case to train on"),
        ({"train": "abcdefgh"}, "s.json", "is no split"),
        ({"training": list(NAMES)}, "s.json", "is no split"),
        ([{"train": list(NAMES), "test": []}], "s.json", "is no split"),
        ("7", "s.json", "is no split"),
        ([], "s.json", "holds 0 folds"),
    ],
)
def test_refusals_name_the_file_and_the_case(from_file, content, name, said):
    with pytest.raises(UserError, match=said):
        from_file(content, name)


def test_a_fold_that_is_not_there_is_refused(from_file):
    with pytest.raises(UserError, match=r"fold is 2, but .* holds 2 folds: expected 0 to 1"):
        from_file(FOLDS, fold=2)
