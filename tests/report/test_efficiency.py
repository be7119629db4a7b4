"""Each strategy with a run is named with what it came to, legibly, whatever there is to draw."""

import math

import numpy as np
import pytest

from rubik_jax.report import drawing, efficiency
from tests.strategies import tables


def draw(**changed) -> str:
    found = tables(**changed)
    return efficiency.draw(found, found.targets[0])


def test_a_line_is_named_at_its_end_and_its_labels_are_counted(read):
    texts = read(draw()).texts
    assert {"from scratch 55.0", "cube ordering 65.0", "Rubik's cube 75.0"} <= set(texts)
    assert {"8", "64", "(all)", "labelled cases", "foreground mIoU, %"} <= set(texts)


def test_a_strategy_without_a_run_has_no_line_and_one_without_some_has_its_last(read):
    skip = [("rubik", "unet", "8"), ("rubik", "unet", "all"), ("order", "unet", "all")]
    texts = read(draw(skip=skip)).texts
    assert "cube ordering 65.0" in texts
    assert not any(text.startswith("Rubik") for text in texts)


def test_labels_that_are_not_counted_are_side_by_side(read):
    texts = read(draw(labelled=("10%", "50%"), counts={"10%": 6})).texts
    assert {"10%", "50%", "labels"} <= set(texts)
    assert "6" not in texts


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_one_number_of_labels_has_a_row_for_each_strategy_and_a_dot_for_each_run(read, seeds):
    picture = read(draw(labelled=("all",), seeds=seeds, skip=[("rubik", "unet", "all")]))
    assert {"from scratch", "cube ordering", "Rubik's cube"} <= set(picture.texts)
    assert "foreground mIoU, %; all labels (64 cases)" in picture.texts
    colour = f"fill: {efficiency.COLOURS[0]}"
    marks = [use for use in picture.all("use") if colour in use.get("style", "")]
    single = len(seeds) if len(seeds) > 1 else 0
    caps = 2 if len(seeds) > 1 else 0
    assert len(marks) == 1 + single + caps


def test_without_a_measure_there_is_no_picture():
    empty = [r._replace(cases={"case0": math.nan}) for r in tables().results]
    assert draw(results=()) == draw(results=tuple(empty)) == ""


def test_a_picture_is_the_same_each_time_and_knows_no_group_by_name(read):
    assert draw() == draw()
    assert not [group for group in read(draw()).all("g") if group.get("id")]


@pytest.mark.parametrize("seed", range(20))
def test_names_keep_apart_in_their_order_and_stay_where_there_is_room(seed):
    random = np.random.default_rng(seed)
    heights = np.sort(random.uniform(0, 1, random.integers(1, 12)))
    apart = drawing.apart(heights, 0.08)
    assert np.diff(apart).min(initial=1) >= 0.08 - 1e-9
    assert apart.min() >= 0
    assert apart.max() <= 1 + 1e-9
    np.testing.assert_allclose(drawing.apart(apart, 0.08), apart, atol=1e-9)
