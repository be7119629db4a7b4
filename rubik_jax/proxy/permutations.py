"""Sets of K orders of M cubes that lie far apart in Hamming distance (paper, section 2.1)."""

import itertools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int8

from rubik_jax.errors import ArgumentError

Orders = Int[np.ndarray, "k m"]

# Up to this many cubes all orders are listed (8! = 40320); beyond, a sample stands for them.
_LISTED = 8
_SAMPLE = 50_000


class Distances(NamedTuple):
    """Hamming distances between the pairs of a set of orders; zeros for a set of one."""

    least: int
    mean: float


def make_orders(orders: str, num_orders: int, cells: int, seed: int) -> Orders:
    """Returns that many distinct orders; row k says which cube stands in each place.

    Args:
        orders: how they are chosen, "greedy" or "group".
        num_orders: K in the paper.
        cells: M in the paper.
        seed: the same seed gives the same set.

    Raises:
        ArgumentError: more orders than there are, or an unknown way to choose them.
    """
    makers = {"greedy": greedy_orders, "group": group_orders}
    if orders not in makers:
        raise ArgumentError("orders", f"is {orders!r}; expected one of {sorted(makers)}")
    most = math.factorial(cells)
    if not 1 <= num_orders <= most:
        raise ArgumentError(
            "num_orders",
            f"is {num_orders}, but {cells} cubes have {most} orders; expected a number from 1 to "
            "that",
        )
    if orders == "group" and (cells != 8 or num_orders > 336):
        raise ArgumentError.of(
            "{orders}=group was asked for {} orders of {} cubes; expected at most 336 orders of 8 "
            "cubes (use {orders}=greedy)",
            *(num_orders, cells),
        )
    return makers[orders](num_orders, cells, seed)


def greedy_orders(count: int, cells: int, seed: int) -> Orders:
    """Picks one order after another, each as far as can be from those picked so far.

    Far means the largest *minimum* distance (a largest mean leaves pairs at distance 2), ties
    broken by chance. Where the orders are too many to be listed, picks from a sample of them.
    """
    rng = np.random.default_rng(seed)
    pool = _candidates(count, cells, rng)
    nearest = np.full(len(pool), cells + 1, np.int8)
    picked = np.empty((count, cells), np.int32)
    for row in range(count):
        best = np.argmax(nearest)  # the pool is shuffled, so the first is a chance one
        picked[row] = pool[best]
        np.minimum(nearest, np.count_nonzero(pool != pool[best], axis=1), out=nearest)
    return picked


def group_orders(count: int, cells: int, seed: int) -> Orders:
    """Optimal sets for eight cubes, out of groups that act sharply on eight points.

    AGL(1,8), the maps x -> ax + b over GF(8), is sharply 2-transitive: two of its 56 orders agree
    in one place at most, distance 7. PGL(2,7), the fractional linear maps of the projective line
    over GF(7), is sharply 3-transitive: two of its 336 agree in two places at most, distance 6.
    Both are as many orders as those distances allow: 8*7 and 8*7*6.
    """
    group = _affine_over_8() if count <= 56 else _fractional_over_7()
    return np.random.default_rng(seed).permutation(group)[:count].astype(np.int32)


def distances(orders: Orders) -> Distances:
    """The least and the mean Hamming distance between two orders of the set."""
    if len(orders) < 2:
        return Distances(0, 0.0)
    rows = [np.count_nonzero(orders[i + 1 :] != orders[i], axis=1) for i in range(len(orders) - 1)]
    pairs = np.concatenate(rows)
    return Distances(int(pairs.min()), float(pairs.mean()))


def _candidates(count: int, cells: int, rng: np.random.Generator) -> Int8[np.ndarray, "n m"]:
    if cells <= _LISTED:
        listed = np.array(list(itertools.permutations(range(cells))), np.int8)
        return rng.permutation(listed)
    wanted = max(_SAMPLE, 2 * count)
    sampled = rng.permuted(np.tile(np.arange(cells, dtype=np.int8), (wanted, 1)), axis=1)
    distinct = np.unique(sampled, axis=0)
    return rng.permutation(distinct)


def _affine_over_8() -> Int[np.ndarray, "56 8"]:
    return np.array(
        [[_times_over_8(a, x) ^ b for x in range(8)] for a in range(1, 8) for b in range(8)]
    )


def _times_over_8(a: int, b: int) -> int:
    """The product in GF(8), polynomials over GF(2) modulo x^3 + x + 1, as bits."""
    product = (a if b & 1 else 0) ^ (a << 1 if b & 2 else 0) ^ (a << 2 if b & 4 else 0)
    for bit in (4, 3):
        if product >> bit & 1:
            product ^= 0b1011 << (bit - 3)
    return product


def _fractional_over_7() -> Int[np.ndarray, "336 8"]:
    """The maps x -> (ax + b) / (cx + d) with ad != bc; 7 stands for infinity."""

    def image(a: int, b: int, c: int, d: int, x: int) -> int:
        top, bottom = (a, c) if x == 7 else ((a * x + b) % 7, (c * x + d) % 7)
        return 7 if bottom == 0 else top * pow(bottom, -1, 7) % 7

    maps = {
        tuple(image(*m, x) for x in range(8))
        for m in itertools.product(range(7), repeat=4)
        if (m[0] * m[3] - m[1] * m[2]) % 7
    }
    return np.array(sorted(maps))
