"""What is said of a run's course and cost."""

import io

import jax.numpy as jnp
import pytest
from rich.console import Console

from rubik_jax.report import estimate, progress


@pytest.fixture
def said(monkeypatch):
    """Hands out what was printed, on a terminal or on none."""

    def printing(terminal: bool) -> io.StringIO:
        out = io.StringIO()
        console = Console(
            file=out, force_terminal=terminal, highlight=False, soft_wrap=True, width=120
        )
        monkeypatch.setattr(progress, "console", console)
        return out

    return printing


def test_without_a_terminal_a_run_says_plain_lines(said, monkeypatch):
    out = said(False)
    now = iter([100.0, 100.0, 130.0, 130.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    steps = progress.Steps(total=40, start=10)
    steps.reach(15)
    steps.log(20, "loss 0.5 [bold]")  # 10 steps in 30 s, and 20 to go
    assert out.getvalue() == "step 20/40  loss 0.5 [bold]  ETA 0:01:00\n"


def test_a_log_has_the_first_and_the_last_step_and_a_line_every_ten_seconds(said, monkeypatch):
    out, now = said(False), [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    steps = progress.Steps(total=1000, start=0)
    for step in range(1, 1001):
        now[0] += 0.033
        steps.log(step, "loss 0.5")
    lines = out.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == [f"{n}/1000" for n in (1, 305, 609, 913, 1000)]
    assert lines[1].endswith("ETA 0:00:23") and lines[-1].endswith("ETA 0:00:00")


def test_a_slow_run_has_a_line_for_each_record(said, monkeypatch):
    out, now = said(False), [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    steps = progress.Steps(total=5, start=0)
    for step in range(1, 6):
        now[0] += progress.SILENCE
        steps.log(step, "")
    assert out.getvalue().count("step ") == 5


def test_on_a_terminal_there_is_a_bar_and_no_lines(said):
    out = said(True)
    with progress.Steps(total=40, start=10) as steps:
        steps.log(20, "loss 0.5")
    assert "20/40" in out.getvalue()
    assert "loss 0.5" in out.getvalue()
    assert "ETA" not in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00:00"), (59.6, "0:01:00"), (3599.4, "0:59:59"), (90061, "25:01:01")],
)
def test_clock(seconds, shown):
    assert progress.clock(seconds) == shown


@pytest.mark.parametrize("terminal", [False, True])
def test_track_hands_on_every_item_one_by_one(said, terminal):
    out = said(terminal)
    taken = []
    items = progress.track((taken.append(i) or i for i in range(3)), 3, "volumes")
    assert next(items) == 0
    assert taken == [0]
    assert list(items) == [1, 2]
    assert terminal or out.getvalue() == ""  # it took no time


def test_what_takes_long_says_how_far_it_is_and_that_it_is_done(said, monkeypatch):
    out, now = said(False), [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    for _ in progress.track(range(5), 5, "volumes"):
        now[0] += 6
    assert out.getvalue().splitlines() == [
        "volumes: 3 of 5, 0.25/s, ETA 0:00:08",
        "volumes: 5 of 5",
    ]


def test_sparse_lines_keep_a_distance_but_for_those_that_always_count(said, monkeypatch):
    out, now = said(True), [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    lines = progress.Sparse()
    for second in (4, 10, 12, 19, 20, 21):
        now[0] = second
        lines.say(f"at {second}", always=second == 21)
    assert out.getvalue().split() == ["at", "10", "at", "20", "at", "21"]


def test_fewer_items_than_were_expected_are_not_counted_as_all(said):
    out = said(False)
    assert list(progress.track(iter("ab"), 5, "cases")) == ["a", "b"]
    assert out.getvalue() == "cases: 2 of 5\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (999, "999"), (1234, "1.23 k"), (1.5e6, "1.5 M"), (2e9, "2 G"), (3e12, "3 T")],
)
def test_numbers_have_prefixes(value, shown):
    assert estimate.number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(512, "0.5 KiB"), (2**20, "1.0 MiB"), (1.5 * 2**30, "1.5 GiB"), (2**40, "1024.0 GiB")],
)
def test_sizes_have_prefixes(value, shown):
    assert estimate.size(value) == shown


def test_parameters_are_counted_by_part():
    params = {
        "encoder": {"kernel": jnp.zeros((10, 100)), "bias": jnp.zeros(200)},
        "head": jnp.zeros(()),
    }
    assert estimate.parameters(params) == "parameters: 1.2 k (encoder 1.2 k, head 1)"


def test_what_a_platform_does_not_tell_counts_as_nothing():
    class Silent:
        cost_analysis = memory_analysis = staticmethod(lambda: None)

    assert estimate.compiled(Silent(), 1, 2.6) == (
        "step: 0 FLOP per device, 0.0 KiB of its memory; compiled in 3 s"
    )
