"""Means over cases leave out what a case doesn't have, and files hold no NaN."""

import json
import math

import pytest

from rubik_jax import metrics

NAN = math.nan


def test_means_leave_out_what_a_case_does_not_have():
    cases = [{"dice": 0.5, "hd95": NAN, "assd": NAN}, {"dice": 0.7, "hd95": 3.0, "assd": NAN}]
    mean = metrics.mean_over_cases(cases)
    assert list(mean) == ["dice", "hd95", "assd"]
    assert mean["dice"] == pytest.approx(0.6)
    assert mean["hd95"] == 3
    assert math.isnan(mean["assd"])


def test_nan_is_none_in_a_file():
    found = metrics.for_json({"dice": 0.5, "hd95": NAN, "confusion": [[1]]})
    assert json.dumps(found, allow_nan=False) == '{"dice": 0.5, "hd95": null, "confusion": [[1]]}'


def test_cases_that_have_a_measure_are_counted():
    cases = [{"dice_1": 0.5, "foreground_dice": 0.5, "hd95_1": NAN}, {"dice_1": NAN}]
    counts = {"cases_with_dice_1": 1, "cases_with_foreground_dice": 1}
    assert metrics.case_counts(cases, "dice") == counts
