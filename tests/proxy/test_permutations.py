"""Sets of orders: distinct, far apart, and the optimal ones what they are said to be."""

import itertools

import numpy as np
import pytest

from rubik_jax.errors import ArgumentError
from rubik_jax.proxy import distances, make_orders


def apart(first, second):
    return sum(a != b for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("kind", "count", "cells"),
    [
        ("greedy", 24, 4),  # all there are
        ("greedy", 100, 8),
        ("greedy", 60, 9),  # from here on out of a sample
        ("greedy", 60, 27),
        ("group", 8, 8),
        ("group", 57, 8),
        ("group", 336, 8),
    ],
)
def test_orders_are_distinct_permutations_and_come_from_the_seed(kind, count, cells):
    orders = make_orders(kind, count, cells, seed=3)
    assert orders.shape == (count, cells)
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(cells), (count, 1)))
    assert len({tuple(order) for order in orders}) == count
    np.testing.assert_array_equal(orders, make_orders(kind, count, cells, seed=3))
    assert (orders != make_orders(kind, count, cells, seed=4)).any()


@pytest.mark.parametrize(("cells", "count"), [(3, 6), (4, 24), (5, 40)])
def test_each_greedy_order_is_as_far_from_those_before_as_any_could_be(cells, count):
    orders = [tuple(order) for order in make_orders("greedy", count, cells, seed=1)]
    for picked in range(1, count):
        farthest = max(
            min(apart(order, before) for before in orders[:picked])
            for order in itertools.permutations(range(cells))
        )
        assert min(apart(orders[picked], before) for before in orders[:picked]) == farthest


def test_greedy_sets_lie_far_apart():
    assert distances(make_orders("greedy", 8, 8, seed=0)).least == 8  # a Latin square
    assert distances(make_orders("greedy", 100, 8, seed=0)).least >= 5
    assert distances(make_orders("greedy", 100, 27, seed=0)).least >= 24


@pytest.mark.parametrize(("size", "least"), [(56, 7), (336, 6)])
def test_the_optimal_sets_are_groups_at_their_distance(size, least):
    orders = make_orders("group", size, 8, seed=0)
    assert distances(orders).least == least
    members = {tuple(order) for order in orders.tolist()}
    composed = orders[:, orders].reshape(-1, 8)  # i after j, for all pairs
    assert {tuple(order) for order in composed.tolist()} == members


@pytest.mark.parametrize(("count", "least"), [(2, 7), (30, 7), (57, 6), (200, 6)])
def test_a_part_of_an_optimal_set_keeps_its_distance(count, least):
    assert distances(make_orders("group", count, 8, seed=5)).least >= least


def test_distances_are_those_of_all_pairs():
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(6), (20, 1)), axis=1)
    pairs = [apart(one, other) for one, other in itertools.combinations(orders, 2)]
    least, mean = distances(orders)
    assert least == min(pairs)
    assert mean == pytest.approx(sum(pairs) / len(pairs))
    assert distances(orders[:1]) == (0, 0.0)


@pytest.mark.parametrize(
    ("kind", "count", "cells", "sentence"),
    [
        ("greedy", 25, 4, "num_orders is 25, but 4 cubes have 24"),
        ("greedy", 0, 4, "num_orders is 0"),
        ("group", 337, 8, "337 orders of 8 cubes"),
        ("group", 10, 27, "10 orders of 27 cubes"),
        ("best", 10, 8, "orders is 'best'.*greedy.*group"),
    ],
)
def test_a_set_that_cannot_be_is_refused(kind, count, cells, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make_orders(kind, count, cells, seed=0)
