"""The puzzle's picture names every cube, and frames those that are wrong."""

import numpy as np
import pytest

from rubik_jax.report import puzzle
from rubik_jax.report.drawing import WRONG


@pytest.mark.parametrize("wrong", [(), (0,), (1, 3, 7)])
def test_wrong_cubes_are_framed_and_right_ones_are_not(read, wrong):
    cubes = np.linspace(-1, 1, 12 * 60).reshape(12, 3, 4, 5, 1).astype(np.float32)
    right = np.ones(12, bool)
    right[list(wrong)] = False
    order = np.arange(12)[::-1].copy()
    svg = puzzle.draw(
        before=cubes,
        scrambled=cubes[order],
        restored=cubes,
        scrambled_from=order,
        restored_from=np.arange(12),
        right=right,
        counts=np.array([2, 3, 2]),
    )
    picture = read(svg)
    assert picture.lines(WRONG) == len(wrong)
    assert f"put back: {12 - len(wrong)} of 12 right" in picture.texts
    numbers = [text for text in picture.texts if text.isdigit()]
    assert sorted(numbers) == sorted(3 * [str(n) for n in range(1, 13)])
    assert len(picture.all("image")) == 2 * 3
