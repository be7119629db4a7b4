"""How cost grows is measured of programs that are what they're said to be, in miniature."""

import sys

import pytest

from benchmarks import growth
from benchmarks.growth import Shape

SMALL = Shape(batch=2, cube=4, counts=(2, 1, 1), orders=2, arguments="debug")


def test_devices_share_a_step_and_meet_once():
    measured = growth.on_devices(2, SMALL)
    assert (measured["devices"], measured["all-reduces"]) == (2, 1)
    alone = growth.on_devices(1, SMALL)
    assert (alone["devices"], alone["all-reduces"]) == (1, 0)
    assert measured["MiB a device"] < alone["MiB a device"]  # which has the whole batch


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("batch", {"batch": 2}),
        ("cube", {"cube": 4}),
        ("cubes", {"cubes": 2}),
        ("channels", {"channels": 1}),
    ],
)
def test_a_row_says_what_was_varied(monkeypatch, table, columns):
    monkeypatch.setattr(growth, "step", lambda shape: {"ms a step": shape.batch})
    assert growth.row(table, SMALL) == columns | {"ms a step": 2}


def test_the_set_of_orders_has_its_time(monkeypatch):
    monkeypatch.setattr(growth, "step", lambda shape: {})
    few, many = (growth.row("orders", Shape(orders=count)) for count in (10, 400))
    assert (few["orders"], many["orders"]) == (10, 400)
    assert min(many["order set s"], few["order set s"]) > 0


def test_a_cohort_is_opened_faster_than_it_was_prepared():
    measured = growth.cohort(4)
    assert measured["volumes"] == 4
    assert 0 < measured["opening s"] < measured["preparing s"]
    assert measured["run's start s"] > 0


def test_a_page_holds_each_table():
    found = {"date": "today", "machine": "a machine", "load": 0.5, "device": "1 x cpu"}
    tables = {"orders": [{"orders": 10, "ms a step": 1.2345}], "cohort": [{"volumes": 3}]}
    page = growth.page(found | {"versions": {"jax": "0"}, "tables": tables})
    assert "**orders**\n\n| orders | ms a step |\n|---|---|\n| 10 | 1.23 |" in page
    assert "| volumes |\n|---|\n| 3 |" in page


def test_a_table_there_isnt_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["growth", "--only", "batch,speed"])
    with pytest.raises(SystemExit, match="2"):
        growth.main()
    assert "expected some of batch,cube" in capsys.readouterr().err
