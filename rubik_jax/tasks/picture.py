"""One puzzle and how a network solves it, as arrays that a person can be shown."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, Shaped

from rubik_jax import proxy


def solve(
    key: PRNGKeyArray,
    window: Shaped[Array, "x y z c"],
    puzzle: proxy.Puzzle,
    answer: Callable[[Array], dict[str, Array]],
) -> dict[str, Array]:
    """Plays one game with every cube free to turn, and undoes it by what the network says of it.

    Args:
        key: of the game.
        window: intensities in any dtype, of shape `puzzle.grid.window` and channels.
        puzzle: what is played.
        answer: cubes [m, x, y, z, c] -> the "order" [] and the "turn" [m] of each place, as far
            as they're asked for.

    Returns:
        What `report.puzzle.draw` draws, all by the grid's places (z fastest): the cubes
        "before", "scrambled" and "restored", [m, x, y, z, c]; "scrambled_from" and
        "restored_from", the number of the cube that stands in each place, [m]; "right", whether
        it's back in its place and unturned, [m]; "counts", the cubes along x, y, z.
    """
    free = jnp.ones(())
    whole, answers = proxy.play(key, window, puzzle._replace(masking=0.0), free)
    cubes, _ = proxy.play(key, window, puzzle, free)
    said = answer(cubes)
    guess = answers._replace(
        order=said.get("order", answers.order), turns=said.get("turn", answers.turns)
    )

    # Numbers go the way of the cubes when they are cubes of one voxel.
    numbers = jnp.arange(puzzle.grid.cells).reshape(-1, 1, 1, 1, 1)
    moved = proxy.scramble(numbers, answers, puzzle)
    back = proxy.unscramble(moved, guess, puzzle)
    upright = (guess.turns == answers.turns).reshape(numbers.shape)
    right = (back == numbers) & proxy.unscramble(upright, guess, puzzle)
    return {
        "before": proxy.unscramble(whole, answers, puzzle),
        "scrambled": cubes,
        "restored": proxy.unscramble(cubes, guess, puzzle),
        "scrambled_from": moved.ravel(),
        "restored_from": back.ravel(),
        "right": right.ravel(),
        "counts": jnp.array(puzzle.grid.counts),
    }
