"""Mistakes are counted out of totals, and drawn beside what guessing at random would give."""

import numpy as np
import pytest

from rubik_jax.report import confusion, mistakes
from rubik_jax.types import Mean

ORDERS = [[0, 1, 2, 3], [1, 0, 2, 3], [1, 2, 3, 0]]
TURNS = np.array([[6, 1, 1, 0], [0, 8, 0, 0], [2, 0, 2, 0], [0, 0, 0, 4]])


def test_counts_are_those_of_an_evaluation_and_other_tasks_have_none():
    one = np.float64(1)
    totals = {"loss": Mean(one, one), "turn_confusion": Mean(TURNS * (1 - 1e-9), one * 24)}
    found = mistakes.counted(totals)
    assert list(found) == ["turn_confusion"]
    np.testing.assert_array_equal(found["turn_confusion"], TURNS)
    assert mistakes.counted({"loss": Mean(one, one), "confusion": Mean(TURNS, one)}) == {}


def test_a_random_wrong_order_lies_as_far_as_the_pairs_of_the_set():
    # First and second differ in 2 places, first and third in 4, second and third in 3.
    np.testing.assert_allclose(mistakes.distances(np.array(ORDERS)), [0, 0, 1 / 3, 1 / 3, 1 / 3])


def test_each_distance_that_occurs_has_its_share_of_all_games(read):
    guessed = np.array([0, 0, 0.5, 0, 0.5])
    texts = read(mistakes.draw_distances(np.array([6, 0, 3, 0, 1]), guessed)).texts
    assert {"60.0%", "30.0%", "10.0%", "0, right", "2", "4"} <= set(texts)
    assert "3" not in texts
    # All right, or all wrong, there is nothing to divide by and still a picture.
    for games in ([10, 0, 0, 0, 0], [0, 0, 10, 0, 0]):
        assert "100.0%" in read(mistakes.draw_distances(np.array(games), guessed)).texts


def test_half_turns_are_a_table_by_their_names(describe):
    about = describe("pretrain") | {"orders": ORDERS}
    html = mistakes.section({"turn_confusion": TURNS}, about)
    for said in ("none", "horizontal", "vertical", "both", "75%", "100%", "50%"):
        assert f">{said}<" in html
    assert "<svg" not in html
    games = {"order_distance": np.array([6, 0, 3, 0, 1])}
    assert mistakes.section({"turn_confusion": TURNS} | games, about).count("<svg") == 1


def test_all_turns_are_a_map_without_numbers(read, describe):
    counts = np.eye(24, dtype=int) * 5
    counts[3] = 0  # a turn that never came up
    html = mistakes.section({"turn_confusion": counts}, describe("pretrain"))
    assert "<table" not in html
    picture = read(confusion.draw(counts, "turn"))
    assert len(picture.all("image")) == 1
    assert {"true turn", "answered turn"} <= set(picture.texts)


@pytest.mark.parametrize("listed", [False, True])
def test_counts_may_come_from_a_file(describe, listed):
    counts = {"turn_confusion": TURNS.tolist() if listed else TURNS}
    assert "75%" in mistakes.section(counts, describe("pretrain"))
