"""What a run says of its classes before it trains."""

import pytest

from rubik_jax.data.cases import Case
from rubik_jax.data.declaration import Declared
from rubik_jax.data.split import Split
from rubik_jax.errors import UserError
from rubik_jax.modes import labelling, posing

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


def test_the_label_to_ignore_is_the_sources_and_no_other():
    declared, nothing = Declared(ignore=3), Declared()
    assert labelling.ignored(-1, declared, {}) == labelling.ignored(3, declared, {}) == 3
    assert labelling.ignored(-1, nothing, {}) == -1 and labelling.ignored(2, nothing, {}) == 2
    assert labelling.ignored(-1, nothing, {"ignore": 3}) == 3  # as the run has it
    assert labelling.ignored(-1, declared, {"values": [0, 1, 3]}) == -1  # which it learned
    with pytest.raises(UserError, match=r"^config\.data\.ignore is 2, but the source declares 3"):
        labelling.ignored(2, declared, {})
