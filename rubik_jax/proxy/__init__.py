"""Rubik's cube recovery (Zhuang et al., MICCAI 2019) and other games, as pure functions."""

from rubik_jax.proxy.corruption import (
    Distortion,
    check_sides,
    count_blocks,
    distort,
    random_blocks,
)
from rubik_jax.proxy.grid import Grid, crop, cut, make_grid, normalise, place, random_corner
from rubik_jax.proxy.permutations import Distances, distances, make_orders
from rubik_jax.proxy.recovery import Answers, Puzzle, draw, mask, play, scramble, unscramble
from rubik_jax.proxy.rotations import TURNS, check_turns, half_turn, half_turn_labels, quarter_turn

__all__ = [
    "TURNS",
    "Answers",
    "Distances",
    "Distortion",
    "Grid",
    "Puzzle",
    "check_sides",
    "check_turns",
    "count_blocks",
    "crop",
    "cut",
    "distances",
    "distort",
    "draw",
    "half_turn",
    "half_turn_labels",
    "make_grid",
    "make_orders",
    "mask",
    "normalise",
    "place",
    "play",
    "quarter_turn",
    "random_blocks",
    "random_corner",
    "scramble",
    "unscramble",
]
