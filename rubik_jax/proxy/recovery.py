"""The game itself: scrambling the cubes of a window, with the labels, and putting them back."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

from rubik_jax.proxy.grid import Grid, cut, normalise
from rubik_jax.proxy.rotations import TURNS, inverse, turn

Cubes = Float[Array, "m x y z c"]


class Puzzle(NamedTuple):
    """What is played.

    Attributes:
        grid: how a window is cut.
        orders: the set of K orders; row k says which cube stands in each place.
        turns: "none", "half" (horizontal and vertical half turns) or "all" (24 rotations).
        masking: the probability that a cube is masked (Rubik's Cube+), 0 for none.
    """

    grid: Grid
    orders: Int[Array, "k m"]
    turns: str
    masking: float


class Answers(NamedTuple):
    """What the network must say; places are those of the *scrambled* cubes.

    Attributes:
        order: which of the K orders was used.
        turns: the number of the turn of the cube in each place.
        masked: whether the cube in each place was masked.
    """

    order: Int[Array, ""]
    turns: Int[Array, "m"]
    masked: Bool[Array, "m"]


def draw(key: PRNGKeyArray, puzzle: Puzzle, freedom: Float[Array, ""]) -> Answers:
    """Draws an order, and for each place a turn and whether it is masked.

    Each cube is free to turn with probability `freedom`; a free one draws any of its turns with
    equal chance. So with freedom 1 the horizontal and the vertical label of a half turn are two
    independent fair coins.
    """
    order_key, turn_key, free_key, mask_key = jax.random.split(key, 4)
    count, cells = puzzle.orders.shape
    turns = jax.random.randint(turn_key, (cells,), 0, TURNS[puzzle.turns])
    return Answers(
        order=jax.random.randint(order_key, (), 0, count),
        turns=jnp.where(jax.random.bernoulli(free_key, freedom, (cells,)), turns, 0),
        masked=jax.random.bernoulli(mask_key, puzzle.masking, (cells,)),
    )


def scramble(
    cubes: Shaped[Array, "m x y z c"], answers: Answers, puzzle: Puzzle
) -> Shaped[Array, "m x y z c"]:
    """Puts cube `orders[k][i]` into place i and turns it there; orders are gathers."""
    moved = cubes[puzzle.orders[answers.order]]
    return jax.vmap(turn, (0, 0, None))(moved, answers.turns, puzzle.turns)


def unscramble(
    cubes: Shaped[Array, "m x y z c"], answers: Answers, puzzle: Puzzle
) -> Shaped[Array, "m x y z c"]:
    """Undoes `scramble` exactly."""
    undo = inverse(answers.turns, puzzle.turns)
    turned = jax.vmap(turn, (0, 0, None))(cubes, undo, puzzle.turns)
    return turned[jnp.argsort(puzzle.orders[answers.order])]


def mask(key: PRNGKeyArray, cubes: Cubes, masked: Bool[Array, "m"]) -> Cubes:
    """Blanks half of the voxels, drawn one by one, of every masked cube, in all channels alike.

    Rubik's Cube+ (Zhu et al., Medical Image Analysis 64, 2020, section 3): zero is the mean of
    a normalised cube.
    """
    kept = jax.random.bernoulli(key, 0.5, cubes.shape[:-1])
    return jnp.where((kept | ~masked[:, None, None, None])[..., None], cubes, 0.0)


def play(
    key: PRNGKeyArray, window: Shaped[Array, "x y z c"], puzzle: Puzzle, freedom: Float[Array, ""]
) -> tuple[Float[Array, "m a b d c"], Answers]:
    """Makes a puzzle of a window: cut, normalise, scramble, mask; with its answers.

    Args:
        key: all that is random here comes from it.
        window: intensities in any dtype, of shape `puzzle.grid.window` and channels.
        puzzle: what is played.
        freedom: the probability that a cube is free to turn, in [0, 1].
    """
    cut_key, draw_key, mask_key = jax.random.split(key, 3)
    cubes = normalise(cut(cut_key, window, puzzle.grid).astype(jnp.float32))
    answers = draw(draw_key, puzzle, freedom)
    cubes = scramble(cubes, answers, puzzle)
    return (mask(mask_key, cubes, answers.masked) if puzzle.masking else cubes), answers
