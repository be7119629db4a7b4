"""Every case stands in the table and among the dots, the worst first."""

import math

from rubik_jax.report import cases
from tests.report.test_scores import table


def masked(case: str, foreground: float, label: float, distance: float = 2.0) -> dict:
    dice = {"foreground_dice": foreground, "dice_1": label, "dice_0": 0.99}
    return {"case": case, **dice, "foreground_hd95": distance}


def test_masks_are_listed_from_the_worst_and_those_without_anything_last(describe):
    rows = [
        masked("<fine>", 0.9, 0.8),
        masked("empty", math.nan, math.nan, math.nan),
        masked("poor", 0.1, 0.2, 12.0),
    ]
    html = cases.section(rows, describe("segment") | {"values": [0, 1]})
    found = table(html)
    assert found[""] == ["Dice, foreground", "Dice, label 1", "HD95, mm"]
    assert list(found) == ["", "poor", "<fine>", "empty"]
    assert found["poor"] == ["0.100", "0.200", "12.0"]
    assert found["empty"] == ["–", "–", "–"]
    assert "<fine>" not in html


def test_there_is_a_dot_for_each_score_that_exists(read):
    scores = {"foreground": [0.5, 0.25, math.nan], "label 1": [math.nan] * 3}
    picture = read(cases.draw(scores))
    assert {"Dice", "foreground", "label 1"} <= set(picture.texts)
    dots = [use for use in picture.all("use") if "fill-opacity: 0.5" in use.get("style", "")]
    assert len(dots) == 2


def test_classes_are_listed_from_the_surest_mistake(describe):
    rows = [
        {"case": case, "class": "yes", "answer": "yes" if p > 0.5 else "no", "p_yes": p}
        for case, p in {"sure": 0.9, "wrong": 0.1, "torn": 0.4}.items()
    ]
    found = table(cases.section(rows, describe("classify")))
    assert list(found) == ["", "wrong", "torn", "sure"]
    assert found["wrong"] == ["yes", "no", "0.100"]


def test_a_large_cohort_is_listed_in_part(describe, monkeypatch):
    monkeypatch.setattr(cases, "LISTED", 3)
    rows = [masked(str(i), i / 10, 0.5) for i in range(5)]
    html = cases.section(rows, describe("segment") | {"values": [0, 1]})
    assert list(table(html)) == ["", "0", "1", "2"]
    assert "the first 3 of 5" in html
