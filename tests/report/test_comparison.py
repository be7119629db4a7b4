"""Each cell is compared with scratch and the paper's with its own, and says what it lacks."""

import math

import pytest

from rubik_jax.metrics.paired import Difference, Summary, difference
from rubik_jax.report import comparison
from tests.strategies import run, tables

NAN = math.nan


def test_a_cell_is_beside_scratch_and_the_paper_beside_its_own():
    cell = comparison.cells(tables())["rubik", "unet", "8"]
    assert cell.summary == pytest.approx((0.75, math.sqrt(0.005), 2))
    assert cell.gain == pytest.approx((0.2, 0.2, 0.2, 10, 2))
    assert (cell.paper, cell.paper_gain) == pytest.approx((0.762, 0.029))
    assert cell.notes == ()


def test_scratch_is_compared_with_nothing():
    cell = comparison.cells(tables())["scratch", "unet", "8"]
    assert cell.gain is None
    assert cell.paper == 0.733
    assert math.isnan(cell.paper_gain)


def test_a_strategy_that_the_paper_lacks_has_no_figure_of_it():
    cell = comparison.cells(tables())["order", "unet", "8"]
    assert math.isnan(cell.paper)
    assert math.isnan(cell.paper_gain)


@pytest.mark.parametrize(
    ("seeds", "states", "notes"),
    [
        ((), {}, ("0 of 3 runs",)),
        ((), {("rubik", "unet", "8"): "UCF101 is missing"}, ("UCF101 is missing",)),
        ((0,), {}, ("1 of 3 runs",)),
        ((0, 1), {}, ("2 of 3 runs",)),
        ((0, 2), {}, ("2 of 3 runs", "the difference is over 1 seed, which scratch has too")),
        ((2,), {}, ("1 of 3 runs",)),
    ],
)
def test_what_a_cell_lacks_is_said(seeds, states, notes):
    ours = [run("rubik", "unet", "8", seed, gain=0.2) for seed in seeds]
    scratch = [run("scratch", "unet", "8", seed, gain=0.0) for seed in (0, 1)]
    found = tables(seeds=(0, 1, 2), results=(*ours, *scratch), states=states)
    cell = comparison.cells(found)["rubik", "unet", "8"]
    assert cell.notes == notes
    assert cell.gain == difference(ours, scratch)


@pytest.mark.parametrize(
    ("labelled", "counts", "said"),
    [
        ("8", {}, "8 labelled cases"),
        ("10%", {}, "10% of the labels"),
        ("10%", {"10%": 1}, "10% of the labels (1 case)"),
        ("all", {"all": 144}, "all labels (144 cases)"),
    ],
)
def test_labels_are_counted_where_their_number_is_known(labelled, counts, said):
    assert comparison.labels(tables(counts=counts), labelled) == said


def test_numbers_are_printed_as_in_the_paper():
    assert comparison.percent(0.838) == "83.8"
    assert [comparison.points(x) for x in (0.021, -0.021, -0.0001, NAN)] == (
        ["+2.1", "−2.1", "+0.0", "–"]
    )
    assert comparison.spread(Summary(0.838, 0.004, 3)) == "83.8 ± 0.4 (3)"
    assert comparison.spread(Summary(0.838, NAN, 1)) == "83.8 (1)"
    assert comparison.spread(Summary(NAN, NAN, 0)) == "–"
    assert comparison.interval(Difference(0.021, -0.004, 0.039, 9, 3)) == "+2.1 [−0.4, +3.9]"
    assert comparison.interval(Difference(0.021, NAN, NAN, 1, 3)) == "+2.1"
    assert comparison.interval(None) == "–"


@pytest.mark.parametrize(
    ("low", "high", "out"),
    # The last is printed as [−0.3, +0.0].
    [
        (0.1, 0.3, True),
        (-0.3, -0.1, True),
        (-0.1, 0.3, False),
        (0, 0, False),
        (-0.003, -4e-4, False),
    ],
)
def test_a_difference_stands_out_where_its_interval_excludes_zero(low, high, out):
    found = Difference((low + high) / 2, low, high, comparison.LEAST, 3)
    assert comparison.stands_out(found) == out
    assert not comparison.stands_out(found._replace(cases=comparison.LEAST - 1))
    assert not comparison.stands_out(Difference(0.1, NAN, NAN, 1, 3))


def test_the_reader_is_told_how_many_intervals_there_are():
    found = tables(skip=[("order", "unet", "8")])
    said = " ".join(comparison.explained(found, comparison.cells(found)))
    assert "7 such intervals; 0 is outside 7 of those" in said
    assert "about 0.35 here" in said
