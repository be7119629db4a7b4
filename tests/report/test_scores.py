"""Each number stands in its row and column, and one that is missing is a dash."""

import math
import re
from html import unescape

from rubik_jax.report import scores

MASKS = {
    "foreground_dice": 0.811,
    "foreground_miou": 0.722,
    "miou": 0.833,
    "foreground_hd95": 4.5,
    "foreground_assd": 1.25,
    **{"dice_whole": 0.9, "iou_whole": 0.8, "hd95_whole": 3.0, "assd_whole": 0.75},
    **{"dice_1": 0.7, "iou_1": 0.6, "hd95_1": math.nan, "assd_1": None},
    **{"dice_2": 0.5, "iou_2": 0.4, "hd95_2": 2.0, "assd_2": 1.0},
    **{"dice_0": 0.99, "iou_0": 0.98},
    "cases": 12,
}


def table(html: str) -> dict[str, list[str]]:
    """Rows by their names; "" is the head."""
    rows = {}
    for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL):
        name, *cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        rows[unescape(name)] = [unescape(cell) for cell in cells]
    return rows


def test_a_segmentation_has_a_row_for_the_foreground_each_region_and_label(describe):
    html = scores.section({"test": MASKS}, describe("segment"))
    assert table(html) == {
        "": ["Dice", "IoU", "HD95, mm", "surface distance, mm"],
        "foreground": ["0.811", "0.722", "4.50", "1.25"],
        "whole": ["0.900", "0.800", "3.00", "0.75"],
        "label 1": ["0.700", "0.600", "–", "–"],
        "label 2": ["0.500", "0.400", "2.00", "1.00"],
        "background (0)": ["0.990", "0.980", "–", "–"],
    }
    assert list(table(html))[1:] == ["foreground", "whole", "label 1", "label 2", "background (0)"]
    for said in ("12 cases", "0.833", "absent", "Dice and IoU at step 4 of 4"):
        assert said in html


def test_each_mean_says_of_how_many_cases_it_is_and_each_region_of_which_labels(describe):
    counts = {"foreground_dice": 11, "dice_whole": 9, "dice_1": 0, "dice_2": 8, "dice_0": 12}
    numbers = MASKS | {f"cases_with_{name}": count for name, count in counts.items()}
    html = scores.section({"test": numbers}, describe("segment") | {"regions": {"whole": [1, 2]}})
    assert [cells[-1] for cells in table(html).values()] == ["cases", "11", "9", "0", "8", "12"]
    assert "whole = 1 + 2" in html


def test_windows_have_the_columns_that_were_measured(describe):
    losses = {"dice_loss": 0.25, "cross_entropy_loss": 0.5, "loss": 0.75, "examples": 52.0}
    numbers = {
        k: v for k, v in MASKS.items() if not k.startswith(("hd95", "assd")) and k != "cases"
    }
    unknown = ("hd95", "assd", "whole", "cases")  # while it trains
    numbers = {k: v for k, v in MASKS.items() if not any(name in k for name in unknown)}
    html = scores.section({"validation": numbers | losses}, describe("segment"))
    found = table(html)
    assert found[""] == ["Dice", "IoU"]
    assert list(found) == ["", "foreground", "label 1", "label 2", "background (0)"]
    assert "52 windows" in html


def test_a_classification_stands_beside_chance_and_the_majority(describe):
    numbers = {
        "accuracy": 0.75,
        "balanced_accuracy": 0.625,
        "auc": math.nan,
        "calibration_error": 0.0625,
        "chance": 0.25,
        "majority": 0.5,
        "confusion": [[1, 0], [0, 1]],
        "cases": 40,
    }
    html = scores.section({"test": numbers}, describe("classify"))
    assert table(html) == {
        "": ["test", "chance", "majority"],
        "accuracy": ["75.0%", "25.0%", "50.0%"],
        "balanced accuracy": ["62.5%", "25.0%", "25.0%"],
        "AUC": ["–", "–", "–"],
        "calibration error": ["0.062", "–", "–"],
    }
    assert "40 cases" in html
    html = scores.section({"test": numbers | {"auc": 0.75, "absent": ["<b"]}}, describe("classify"))
    assert table(html)["AUC"] == ["0.750", "0.500", "0.500"]
    assert "No case is of class &#x27;&lt;b&#x27;." in html
    kept = ("accuracy", "balanced_accuracy", "chance", "majority")
    while_training = {name: numbers[name] for name in kept} | {"examples": 8.0}
    html = scores.section({"validation": while_training}, describe("classify"))
    assert list(table(html)) == ["", "accuracy", "balanced accuracy"]
    assert "8 windows" in html


def test_a_probe_has_a_column_and_a_dash_where_it_was_not_asked(describe):
    order = {"order_accuracy": 0.875, "order_chance": 0.0625, "order_majority": 0.125}
    results = {
        "validation": order | {"mask_accuracy": 0.5, "examples": 40.0},
        "no_gap": {"order_accuracy": 0.25},
    }
    assert table(scores.section(results, describe("pretrain"))) == {
        "": ["validation", "chance", "majority", "no gap"],
        "order": ["87.5%", "6.2%", "12.5%", "25.0%"],
        "mask": ["50.0%", "–", "–", "–"],
    }


def test_what_is_given_back_stands_beside_what_guessing_would_leave(describe):
    numbers = {"loss": 0.02, "explained": 0.75, "mean_loss": 0.08, "examples": 8.0}
    html = scores.section({"test": numbers}, describe("reconstruct"))
    assert table(html) == {
        "": ["test", "mean"],
        "explained share": ["75.0%", "0.0%"],
        "mean squared error": ["0.0200", "0.0800"],
    }
    assert "the mean of the voxels that are asked for" in html and "8 windows" in html
    html = scores.section({"test": numbers | {"input_loss": 0.16}}, describe("restore"))
    assert table(html)["explained share"] == ["75.0%", "-100.0%", "0.0%"]
    assert table(html)[""] == ["test", "input", "mean"]
    assert "handed on" in html


def test_the_views_that_were_found_stand_beside_chance(describe):
    numbers = {"retrieval_accuracy": 0.5, "retrieval_chance": 0.0625, "spread": 0.8125}
    html = scores.section({"validation": numbers | {"examples": 20.0}}, describe("contrast"))
    assert table(html) == {
        "": ["validation", "chance"],
        "other view found": ["50.0%", "6.2%"],
        "spread of the vectors": ["0.81", "–"],
    }
    assert "20 windows" in html
