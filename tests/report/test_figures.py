"""The pictures hold what they must: a named line for each number, a frame for each fault."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from rubik_jax.report import figures

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    return root


def texts(svg: str) -> list[str]:
    return [text.text for text in parsed(svg).iter(f"{SVG}text")]


def paths(svg: str, colour: str) -> int:
    """How many paths are drawn in a colour, with the marks that a path is made of apart."""
    drawn = [path.get("style", "") for path in parsed(svg).iter(f"{SVG}path")]
    return sum("fill: none" in style and f"stroke: {colour}" in style for style in drawn)


def records(freedom=(0.0, 1.0), steps: int = 20) -> list[dict]:
    train = [
        {
            "part": "train",
            "step": step,
            "loss": 3 / step,
            "order_loss": 2 / step,
            "turn_loss": 1 / step,
            "order_accuracy": 1 - 1 / step,
            "turn_accuracy": 0.5,
            "freedom": freedom[step > steps // 2],
        }
        for step in range(1, steps + 1)
    ]
    chances = {"order_chance": 0.0625, "turn_chance": 0.25}
    validation = [
        {"part": "validation", "step": step, "order_accuracy": 0.875, "turn_accuracy": 0.375}
        for step in (steps // 2, steps)
    ]
    return train + [record | chances for record in validation]


def test_each_loss_and_accuracy_has_a_line_with_its_last_value_and_chance():
    svg = figures.curves(records())
    expected = {"total 0.15", "order 0.1", "turn 0.05", "order 87.5%", "turn 37.5%"}
    assert expected | {"chance 6.2%", "chance 25.0%"} <= set(texts(svg))
    # Train and validation of the accuracy, its chance, train of the loss; and each name's own
    # line. What has no validation leaves an empty path behind.
    without = figures.curves([r for r in records() if r["part"] == "train"])
    for name in ("order", "turn"):
        colour = figures.COLOURS[name]
        assert paths(svg, colour) - paths(without, colour) == 3
    assert not any("chance" in text for text in texts(without))


def test_the_freedom_is_shaded_only_where_it_changes():
    shade = r"fill: currentColor; fill-opacity: 0\.1(?!\d)"
    assert re.search(shade, figures.curves(records()))
    assert not re.search(shade, figures.curves(records(freedom=(1.0, 1.0))))


def test_a_long_run_makes_no_large_picture():
    long = figures.curves(records(steps=5000))
    assert len(long) < 2 * len(figures.curves(records(steps=500)))


def test_a_single_record_is_seen_as_a_dot():
    dots = list(parsed(figures.curves(records()[:1])).iter(f"{SVG}use"))
    for name in ("order", "turn"):
        colour = figures.COLOURS[name]
        assert sum(f"fill: {colour}" in use.get("style", "") for use in dots) == 2


def test_a_loss_of_zero_has_its_name_beside_the_losses():
    lossless = [{"part": "train", "step": s, "order_loss": float(s < 3)} for s in (1, 2, 3)]
    svg = figures.curves(lossless)
    assert "order 0" in texts(svg)
    pointers = [
        path.get("d")
        for path in parsed(svg).iter(f"{SVG}path")
        if figures.COLOURS["order"] in path.get("style", "") and not path.get("clip-path")
    ]
    rows = [float(y) for y in re.findall(r"[ML] \S+ (\S+)", " ".join(pointers))]
    middle = float(parsed(svg).get("viewBox").split()[3]) / 2
    assert len(rows) == 2
    assert max(rows) < middle


def test_names_unknown_here_are_drawn_too():
    odd = [{"part": "train", "step": s, "dice_loss": 0.5, "dice_accuracy": 0.75} for s in (1, 2)]
    assert {"dice 0.5", "dice 75.0%"} <= set(texts(figures.curves(odd)))


@pytest.mark.parametrize("wrong", [(), (0,), (1, 3, 7)])
def test_wrong_cubes_are_framed_and_right_ones_are_not(wrong):
    cubes = np.linspace(-1, 1, 12 * 60).reshape(12, 3, 4, 5, 1).astype(np.float32)
    right = np.ones(12, bool)
    right[list(wrong)] = False
    order = np.arange(12)[::-1].copy()
    svg = figures.puzzle(
        before=cubes,
        scrambled=cubes[order],
        restored=cubes,
        scrambled_from=order,
        restored_from=np.arange(12),
        right=right,
        counts=np.array([2, 3, 2]),
    )
    assert paths(svg, figures.WRONG) == len(wrong)
    assert f"put back: {12 - len(wrong)} of 12 right" in texts(svg)
    numbers = [text for text in texts(svg) if text.isdigit()]
    assert sorted(numbers) == sorted(3 * [str(n) for n in range(1, 13)])
    assert len(list(parsed(svg).iter(f"{SVG}image"))) == 2 * 3


def test_a_picture_is_the_same_each_time_and_shares_no_names_of_groups():
    svg = figures.curves(records())
    assert svg == figures.curves(records())
    assert not [group for group in parsed(svg).iter(f"{SVG}g") if group.get("id")]
