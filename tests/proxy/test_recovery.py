"""The game: what is scrambled comes back, and the answers say what was done."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rubik_jax import proxy
from rubik_jax.proxy import Answers, Puzzle
from rubik_jax.proxy.rotations import turn

SHAPES = {"none": (3, 4, 2), "half": (3, 4, 2), "all": (3, 3, 3)}
FREE = jnp.ones(())


def puzzle(turns="half", masking=0.0, num_orders=10, **grid):
    counts = grid.pop("counts", (2, 2, 2))
    made = proxy.make_grid(counts, grid.pop("cube", SHAPES[turns]), (1, 1, 1), **grid)
    orders = proxy.make_orders("greedy", num_orders, made.cells, seed=0)
    return Puzzle(made, jnp.asarray(orders), turns, masking)


def noise(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def keys(count):
    return jax.random.split(jax.random.key(7), count)


def draws(game, freedom, count=2000):
    drawn = jax.jit(jax.vmap(lambda key: proxy.draw(key, game, jnp.float32(freedom))))(keys(count))
    return jax.tree.map(np.asarray, drawn)


@pytest.mark.parametrize("turns", ["none", "half", "all"])
def test_scrambled_cubes_are_those_that_the_answers_name_and_come_back_exactly(turns):
    game = puzzle(turns)
    cubes = noise(8, *SHAPES[turns], 2)

    @jax.jit
    @jax.vmap
    def there_and_back(key):
        answers = proxy.draw(key, game, FREE)
        scrambled = proxy.scramble(cubes, answers, game)
        # All turns of every cube, for the test to look up.
        every = jax.vmap(lambda number: jax.vmap(lambda cube: turn(cube, number, turns))(cubes))
        table = every(jnp.arange(proxy.TURNS[turns]))
        return answers, scrambled, proxy.unscramble(scrambled, answers, game), table

    answers, scrambled, back, table = jax.tree.map(np.asarray, there_and_back(keys(50)))
    assert len(np.unique(answers.turns)) == proxy.TURNS[turns]
    for game_number, order in enumerate(np.asarray(game.orders)[answers.order]):
        np.testing.assert_array_equal(back[game_number], cubes)
        expected = table[0][answers.turns[game_number], order]  # place i: cube order[i], turned
        np.testing.assert_array_equal(scrambled[game_number], expected)


def test_half_turns_in_a_place_are_the_flips_of_its_labels():
    game = puzzle("half")
    cubes = noise(8, 3, 4, 2, 1)
    answers = Answers(jnp.array(3), jnp.array([0, 1, 2, 3, 0, 0, 2, 1]), jnp.zeros(8, bool))
    scrambled = np.asarray(jax.jit(lambda: proxy.scramble(cubes, answers, game))())
    flipped = {0: (), 1: (0, 1), 2: (1, 2), 3: (0, 2)}
    for place, number in enumerate(answers.turns.tolist()):
        cube = cubes[game.orders[3, place]]
        np.testing.assert_array_equal(scrambled[place], np.flip(cube, flipped[number]))


@pytest.mark.parametrize("num_orders", [2, 7])
def test_every_order_is_drawn_equally_often_the_last_one_too(num_orders):
    order = draws(puzzle(num_orders=num_orders), 1.0).order
    counts = np.bincount(order, minlength=num_orders)
    assert len(counts) == num_orders
    spread = 5 * np.sqrt(len(order) / num_orders)
    np.testing.assert_allclose(counts, len(order) / num_orders, atol=spread)


@pytest.mark.parametrize(("turns", "freedom"), [("half", 1), ("half", 0.5), ("all", 1), ("all", 0)])
def test_a_cube_turns_as_often_as_it_is_free_and_then_any_way(turns, freedom):
    drawn = draws(puzzle(turns), freedom).turns
    kinds = proxy.TURNS[turns]
    share = np.bincount(drawn.ravel(), minlength=kinds) / drawn.size
    expected = np.full(kinds, freedom / kinds) + (1 - freedom) * np.eye(kinds)[0]
    np.testing.assert_allclose(share, expected, atol=5 * np.sqrt(0.25 / drawn.size))
    assert len(share) == kinds
    if freedom:  # and each place on its own
        together = np.corrcoef(drawn.T)
        np.testing.assert_allclose(together, np.eye(8), atol=5 / np.sqrt(len(drawn)))


def test_horizontal_and_vertical_are_independent_fair_coins():
    horizontal, vertical = proxy.half_turn_labels(jnp.asarray(draws(puzzle(), 1).turns))
    for label in (horizontal, vertical, horizontal ^ vertical):
        assert label.mean() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(label.size))


def test_masking_blanks_half_the_voxels_of_masked_cubes_in_all_channels():
    cubes = noise(8, 9, 10, 11, 3)
    masked = np.arange(8) % 3 == 0
    seen = np.asarray(jax.jit(proxy.mask)(keys(1)[0], cubes, jnp.asarray(masked)))
    np.testing.assert_array_equal(seen[~masked], cubes[~masked])
    blank = seen == 0
    np.testing.assert_array_equal(blank, np.repeat(blank[..., :1], 3, axis=-1))
    np.testing.assert_array_equal(seen[~blank], np.asarray(cubes)[~blank])
    np.testing.assert_allclose(blank[masked].mean(axis=(1, 2, 3, 4)), 0.5, atol=0.08)
    a, b = blank[masked][:2]
    assert (a != b).mean() > 0.4  # each cube its own
    share = draws(puzzle(masking=0.3), 1).masked.mean()
    assert share == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("counts", [(2, 2, 2), (3, 3, 3), (2, 2, 1)])
def test_a_game_holds_the_normalised_cubes_of_its_window(counts):
    game = puzzle(counts=counts)
    windows = (100 * noise(4, *game.grid.window, 2)).astype(jnp.int16)

    @jax.jit
    @jax.vmap
    def both(key, window):
        cubes, answers = proxy.play(key, window, game, FREE)
        plain = proxy.normalise(proxy.cut(key, window, game.grid).astype(jnp.float32))
        return cubes, proxy.unscramble(cubes, answers, game), plain

    cubes, back, plain = both(keys(4), windows)
    np.testing.assert_allclose(back, plain, atol=1e-6)
    assert cubes.shape == (4, game.grid.cells, *game.grid.cube, 2)
    assert (np.abs(cubes - plain).max(axis=(1, 2, 3, 4, 5)) > 0.1).all()


def test_a_game_is_a_function_of_its_key():
    game = puzzle("all", masking=0.5, jitter=(1, 1, 1))
    window = noise(*game.grid.window, 1)
    play = jax.jit(jax.vmap(lambda key: proxy.play(key, window, game, FREE)))
    first, again = play(keys(3)), play(keys(3))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    cubes, answers = first
    assert len(np.unique(np.asarray(cubes).reshape(3, -1), axis=0)) == 3
    assert len(np.unique(answers.turns, axis=0)) == 3
    assert len(np.unique(answers.masked, axis=0)) == 3
