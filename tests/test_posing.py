"""What a run says of its classes before it trains."""

import pytest

from rubik_jax.data.cases import Case
from rubik_jax.data.split import Split
from rubik_jax.modes import posing

CASES = [Case(name, (), target=of) for name, of in zip("abcdef", "xyzxyx", strict=True)]
ONE_CLASS = "with 'x' alone, accuracy there tells nothing (chance 100%)"


@pytest.mark.parametrize(
    ("validation", "test", "notes"),
    [
        ("", "", []),
        ("", "def", ["no test case is of class 'z'; balanced accuracy there is the mean of the "]),
        ("d", "", [f"no validation case is of class 'y', 'z'; {ONE_CLASS}"]),
        ("e", "df", ["no validation case", f"no test case is of class 'y', 'z'; {ONE_CLASS}"]),
    ],
)
def test_a_class_that_a_part_lacks_is_named_with_what_its_scores_are(
    capsys, validation, test, notes
):
    parts = Split(("a", "b", "c"), tuple(validation), tuple(test))
    classes, shares, targets = posing.find_classes(CASES, parts, None)
    assert classes == ("x", "y", "z") and targets["c"] == 2 and shares == [1 / 3] * 3
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "to train on: 1 of 'x', 1 of 'y', 1 of 'z'"
    assert len(said) == 1 + len(notes)
    for line, note in zip(said[1:], notes, strict=True):
        assert line.startswith("note: ") and note in line
