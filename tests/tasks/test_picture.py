"""What a person is shown is what the network said: right where it's right, and only there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rubik_jax import proxy
from rubik_jax.tasks.picture import solve

KEY = jax.random.key(3)


def puzzle_of(turns: str, masking: float = 0.0) -> proxy.Puzzle:
    grid = proxy.make_grid((2, 2, 2), (4, 4, 4), (1, 1, 1), (1, 0, 1))
    orders = jnp.asarray(proxy.make_orders("group", 10, 8, 0))
    return proxy.Puzzle(grid, orders, turns, masking)


def game(puzzle: proxy.Puzzle, change=lambda said: said, parts=("order", "turn")):
    """Solves a puzzle with answers that are true, but for what `change` does to them."""
    window = jax.random.normal(jax.random.key(0), (*puzzle.grid.window, 2))

    @jax.jit
    def run(window):
        _, truth = proxy.play(KEY, window, puzzle, jnp.ones(()))
        true = {"order": truth.order, "turn": truth.turns}
        said = change({name: true[name] for name in parts})
        return solve(KEY, window, puzzle, lambda _: said), truth

    return jax.tree.map(np.asarray, run(window))


@pytest.mark.parametrize("turns", ["none", "half", "all"])
def test_true_answers_restore_every_cube(turns):
    puzzle = puzzle_of(turns)
    found, truth = game(puzzle)
    np.testing.assert_array_equal(found["restored"], found["before"])
    np.testing.assert_array_equal(found["restored_from"], np.arange(8))
    np.testing.assert_array_equal(found["scrambled_from"], puzzle.orders[truth.order])
    assert found["right"].all()
    assert found["counts"].tolist() == [2, 2, 2]
    assert not np.array_equal(found["scrambled"], found["before"])


@pytest.mark.parametrize("turns", ["half", "all"])
@pytest.mark.parametrize("place", range(0, 8, 3))
def test_one_wrong_turn_is_one_wrong_cube_where_it_belongs(turns, place):
    puzzle = puzzle_of(turns)

    def err(said):
        return said | {"turn": said["turn"].at[place].add(1) % proxy.TURNS[turns]}

    found, _ = game(puzzle, err)
    home = found["scrambled_from"][place]
    assert np.flatnonzero(~found["right"]).tolist() == [home]
    np.testing.assert_array_equal(found["restored_from"], np.arange(8))
    same = (found["restored"] == found["before"]).all(axis=(1, 2, 3, 4))
    np.testing.assert_array_equal(same, found["right"])


def test_a_wrong_order_is_wrong_wherever_another_cube_stands():
    puzzle = puzzle_of("none")
    found, truth = game(puzzle, lambda said: {"order": (said["order"] + 1) % 10}, ("order",))
    wrong = puzzle.orders[(truth.order + 1) % 10] != puzzle.orders[truth.order]
    assert np.sum(~found["right"]) == np.sum(wrong) >= 7
    np.testing.assert_array_equal(found["restored"], found["before"][found["restored_from"]])
    np.testing.assert_array_equal(found["right"], found["restored_from"] == np.arange(8))


def test_what_is_not_asked_is_taken_as_known():
    found, _ = game(puzzle_of("half"), parts=("turn",))
    assert found["right"].all()


def test_masks_are_shown_on_the_scrambled_cubes_and_not_before():
    found, _ = game(puzzle_of("half", masking=0.5))
    bare, _ = game(puzzle_of("half"))
    np.testing.assert_array_equal(found["before"], bare["before"])
    assert np.mean(found["scrambled"] == 0) > 0.1
    assert found["right"].all()
