"""Tables of cases are whole, and empty where nothing is known."""

import csv
import math

import pytest

from rubik_jax.errors import UserError
from rubik_jax.report import tables


def test_every_name_has_a_column_and_what_is_unknown_is_empty(tmp_path):
    rows = [{"case": "a,b", "dice": 0.25}, {"case": "c", "dice": math.nan, "hd95": 1 / 3}]
    path = tmp_path / "new" / tables.CASES
    tables.write(path, rows)
    with path.open(encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert found == [
        {"case": "a,b", "dice": "0.25", "hd95": ""},
        {"case": "c", "dice": "", "hd95": "0.333333"},
    ]
    assert [file.name for file in path.parent.iterdir()] == [tables.CASES]


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        tables.write(tmp_path / "file" / "cases.csv", [{"case": "a"}])
