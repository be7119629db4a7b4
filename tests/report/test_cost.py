"""What a run has cost adds up over its records, in words and in pictures."""

import pytest

from rubik_jax.report import cost
from rubik_jax.report.stopwatch import ACTIVITIES, Stopwatch


def spent(step: int, **numbers) -> dict:
    return {"part": "time", "step": step, **numbers}


def rates(steps: int) -> list[dict]:
    return [
        {"part": "train", "step": step, "cubes_per_second": 80.0 + step, "volumes_per_second": 10.0}
        for step in range(1, steps + 1)
    ]


def test_seconds_are_summed_over_stops_and_resumed_parts():
    found = cost.seconds([spent(2, stepping=3.0, compiling=10.0), spent(4, stepping=5.0)])
    assert found == {"stepping": 8.0, "compiling": 10.0}


def test_time_memory_and_rate_are_said():
    records = [
        spent(2, stepping=60.0, saving=20.0, process_bytes=3 * 2**30),
        spent(4, stepping=3600.0, process_bytes=2**30, device_bytes=5 * 2**30),
    ]
    html = cost.section([*rates(4), *records])
    for said in ("1:01:00", "99.5%", "0:00:20", "0.5%", "1:01:20"):
        assert f">{said}<" in html
    assert "5.0 GiB of a device's own memory and 3.0 GiB of the host's memory" in html
    assert ACTIVITIES["evaluating"] not in html
    assert html.count("<svg") == 1


@pytest.mark.parametrize("records", [[], [{"part": "train", "step": 1, "loss": 1.0}]])
def test_what_was_not_recorded_has_no_section(records):
    assert cost.section(records) == ""


def test_a_rate_is_one_line_with_its_last_value(read):
    picture = read(cost.draw(rates(5), "cubes_per_second"))
    assert {"cubes per second", "last 85"} <= set(picture.texts)


def test_a_stopwatch_gives_all_time_to_what_went_on(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 7.0, 8.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    watch = Stopwatch()
    for activity in ("saving", "stepping", "saving"):
        watch.lap(activity)
    assert watch.take() == {"stepping": 2.0, "saving": 5.0}
    watch.lap("stepping")
    assert watch.take() == {"stepping": 1.0}
