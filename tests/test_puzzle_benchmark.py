"""The benchmark of puzzles: both make the same ones, and the page tells what was measured."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import numpy_puzzle, puzzle
from rubik_jax import proxy


def test_puzzles_are_the_same():
    grid, channels = proxy.make_grid((2, 1, 2), (3, 4, 5), (1, 2, 0)), 2
    played = proxy.Puzzle(grid, jnp.asarray(proxy.make_orders("greedy", 5, 4, 0)), "half", 0.0)
    window = np.random.default_rng(0).random((*grid.window, channels), np.float32)
    turns = jnp.array([0, 1, 2, 3])
    answers = proxy.Answers(jnp.array(3), turns, jnp.zeros(4, bool))
    cubes = proxy.normalise(proxy.cut(jax.random.key(0), jnp.asarray(window), grid))
    expected = proxy.scramble(cubes, answers, played)
    theirs = numpy_puzzle.Puzzle(grid.counts, grid.cube, grid.gap, np.array(played.orders))
    assert theirs.window == grid.window
    labels = np.stack(proxy.half_turn_labels(turns), axis=-1)
    found = numpy_puzzle.play(np.moveaxis(window, -1, 0), theirs, 3, labels)
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), expected, atol=1e-5)


def test_the_page_tells_how_many_times_numpy_s_rate(race_here):
    row = puzzle.compare(puzzle.Played((4, 5, 3), 2, 3), rounds=2, seconds=0)
    about = {"date": "d", "machine": "m", "device": "cpu", "load": 0, "versions": {"jax": "1"}}
    lines = puzzle.page(about | {"puzzles": {"tiny": row}}).splitlines()
    assert lines[0] == "d, m, cpu, load 0; jax 1"
    cells = [cell.strip() for cell in lines[-1].split("|")[1:-1]]
    assert cells[0] == "4x5x3x2, 3"
    for kind, at in (("step", 1), ("bare", 4)):
        ours, theirs = (row[who][kind] for who in (puzzle.OURS, puzzle.PEER))
        assert cells[at : at + 2] == [f"{ours * 1e3:.3g}", f"{theirs * 1e3:.3g}"]
        assert cells[at + 2].startswith(f"{theirs / ours:.2g} (")
