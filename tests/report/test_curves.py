"""The curves hold a named line for each number, beside chance."""

import math
import re

import pytest

from rubik_jax.report import curves
from rubik_jax.report.drawing import label_colours


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


def test_each_loss_and_accuracy_has_a_line_with_its_last_value_and_chance(read):
    svg = curves.draw(records())
    expected = {"total 0.15", "order 0.1", "turn 0.05", "order 87.5%", "turn 37.5%"}
    assert expected | {"chance 6.2%", "chance 25.0%"} <= set(read(svg).texts)
    # Train and validation of the accuracy, its chance, train of the loss; and each name's own
    # line. What has no validation leaves an empty path behind.
    without = curves.draw([r for r in records() if r["part"] == "train"])
    for name in ("order", "turn"):
        colour = curves.COLOURS[name]
        assert read(svg).lines(colour) - read(without).lines(colour) == 3
    assert not any("chance" in text for text in read(without).texts)


def test_the_freedom_is_shaded_only_where_it_changes():
    shade = r"fill: currentColor; fill-opacity: 0\.1(?!\d)"
    assert re.search(shade, curves.draw(records()))
    assert not re.search(shade, curves.draw(records(freedom=(1.0, 1.0))))


def test_a_long_run_makes_no_large_picture():
    long = curves.draw(records(steps=5000))
    assert len(long) < 2 * len(curves.draw(records(steps=500)))


def test_a_single_record_is_seen_as_a_dot(read):
    dots = read(curves.draw(records()[:1])).all("use")
    for name in ("order", "turn"):
        colour = curves.COLOURS[name]
        assert sum(f"fill: {colour}" in use.get("style", "") for use in dots) == 2


def test_a_loss_of_zero_has_its_name_beside_the_losses(read):
    lossless = [
        {"part": "train", "step": s, "order_loss": float(s < 3), "turn_accuracy": 0.5}
        for s in (1, 2, 3)
    ]
    svg = curves.draw(lossless)
    assert "order 0" in read(svg).texts
    pointers = [
        path.get("d")
        for path in read(svg).all("path")
        if curves.COLOURS["order"] in path.get("style", "") and not path.get("clip-path")
    ]
    rows = [float(y) for y in re.findall(r"[ML] \S+ (\S+)", " ".join(pointers))]
    middle = float(read(svg).root.get("viewBox").split()[3]) / 2
    assert len(rows) == 2
    assert max(rows) < middle


def test_names_unknown_here_are_drawn_too(read):
    odd = [{"part": "train", "step": s, "dice_loss": 0.5, "dice_accuracy": 0.75} for s in (1, 2)]
    assert {"dice 0.5", "dice 75.0%"} <= set(read(curves.draw(odd)).texts)


def test_a_picture_is_the_same_each_time_and_shares_no_names_of_groups(read):
    svg = curves.draw(records())
    assert svg == curves.draw(records())
    assert not [group for group in read(svg).all("g") if group.get("id")]


def overlaps(step: int, values=(0, 1, 2), **changed) -> dict:
    numbers = {"foreground_dice": 0.75, "foreground_miou": 0.5, "miou": 0.625}
    dice = {f"dice_{value}": 0.8 + value / 1000 for value in values}
    return {"part": "validation", "step": step, "dice_loss": 0.25, **numbers, **dice, **changed}


def test_a_segmentation_has_dice_and_iou_and_each_label_but_the_background(read):
    picture = read(curves.draw([overlaps(step) for step in (1, 2)]))
    said = {"foreground Dice 0.750", "foreground IoU 0.500", "all-label mIoU 0.625"}
    assert said | {"Dice of 1 0.801", "Dice of 2 0.802", "dice 0.25"} <= set(picture.texts)
    assert {"loss", "Dice and IoU"} <= set(picture.texts)
    assert not any(text.startswith(("Dice of 0", "accuracy")) for text in picture.texts)
    for colour in label_colours([0, 1, 2]).values():
        assert picture.lines(colour.code) > 0


def test_many_labels_have_no_line_each(read):
    texts = read(curves.draw([overlaps(step, range(20)) for step in (1, 2)])).texts
    assert not any(text.startswith("Dice of") for text in texts)


@pytest.mark.parametrize("gap", [math.nan, None, math.inf])
def test_a_number_that_is_missing_leaves_the_others(read, gap):
    found = [overlaps(1), overlaps(2, dice_1=gap, foreground_miou=gap), overlaps(3, dice_2=gap)]
    texts = read(curves.draw(found)).texts
    assert {"Dice of 1 0.801", "Dice of 2 0.802", "foreground IoU 0.500"} <= set(texts)
    never = read(curves.draw([overlaps(s, dice_1=gap) for s in (1, 2)])).texts
    assert not any(text.startswith("Dice of 1") for text in never)


def test_a_classification_has_its_accuracies_beside_one_chance(read):
    numbers = {"accuracy": 0.75, "balanced_accuracy": 0.5, "chance": 0.25, "loss": 1.0}
    texts = read(curves.draw([{"part": "validation", "step": s, **numbers} for s in (1, 2)])).texts
    assert {"accuracy 75.0%", "balanced 50.0%", "total 1"} <= set(texts)
    assert [text for text in texts if "chance" in text] == ["chance 25.0%"]


def test_probes_are_lines_of_held_out_cases_beside_their_chance(read):
    probe = {"part": "probe", "knn_accuracy": 0.625, "knn_chance": 0.5, "linear_accuracy": 0.75}
    probed = [*records(), *(probe | {"step": step} for step in (10, 20))]
    texts = read(curves.draw(probed)).texts
    assert {"k-NN probe 62.5%", "chance 50.0%", "linear probe 75.0%"} <= set(texts)
    assert "features" in curves.section(probed) and "features" not in curves.section(records())


def test_losses_alone_have_no_empty_axes_below_them(read):
    texts = read(curves.draw([{"part": "train", "step": s, "loss": 1.0} for s in (1, 2)])).texts
    assert "loss" in texts
    assert "accuracy" not in texts
