"""Rubik's cube recovery (Zhuang et al., MICCAI 2019) as pure functions of arrays and keys."""

from rubik_jax.proxy.grid import Grid, crop, cut, make_grid, normalise, place, random_corner
from rubik_jax.proxy.permutations import Distances, distances, make_orders
from rubik_jax.proxy.recovery import Answers, Puzzle, draw, mask, play, scramble, unscramble
from rubik_jax.proxy.rotations import TURNS, check_turns, half_turn, half_turn_labels, quarter_turn

__all__ = [
    "TURNS",
    "Answers",
    "Distances",
    "Grid",
    "Puzzle",
    "check_turns",
    "crop",
    "cut",
    "distances",
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
    "random_corner",
    "scramble",
    "unscramble",
]
