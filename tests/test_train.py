"""The loop: resumed equals uninterrupted, however a step is worked off; what isn't finite stops."""

import itertools
import json
import os
import signal
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from configs.pretrain import get_config as pretrain_config
from rubik_jax import checkpoints, interrupts, train
from rubik_jax.data import loader
from rubik_jax.errors import ArgumentError, Interrupted
from rubik_jax.keeping import DivergedError
from rubik_jax.optim import make_optimiser
from rubik_jax.report import page
from rubik_jax.report.progress import Steps
from rubik_jax.report.records import read
from rubik_jax.report.stopwatch import ACTIVITIES
from rubik_jax.tasks.pretrain import pretrain
from rubik_jax.train import Data, Pace, fit
from tests.tasks.supervised import STILL

# What the page of a run shows of it.
CONFIG = pretrain_config("debug")
DESCRIPTION = {
    "command": "python -m rubik_jax.main",
    "config": json.loads(CONFIG.to_json()),
    "split": {"train": ["a"], "validation": ["b"], "test": []},
    "versions": {"rubik_jax": "0"},
}
PACE = Pace(steps=6, batch_size=4, accumulate=1, steps_per_call=1, log=2, evaluate=3, checkpoint=2)


def task(norm: str = "group"):
    return pretrain(
        channels=1,
        proxy_options={
            "counts": (2, 2, 1),
            "cube": (4, 6, 5),
            "gap": (1, 1, 0),
            "jitter": (1, 0, 0),
            "orders": "greedy",
            "num_orders": 6,
            "turns": "half",
            "masking": 0.0,
            "curriculum": {"hold": 1, "ramp": 3},
        },
        model={
            "encoder": {
                "name": "vgg",
                "widths": (4,),
                "convs": (1,),
                "strides": ((1, 1, 1),),
                "norm": norm,
                "dtype": "float32",
            },
            "projection": 8,
            "heads": "tied",
            "hidden": 0,
        },
        loss={"alpha": 0.5, "beta": 0.5, "gamma": 0.5, "reduction": "mean"},
        augmentation=STILL,
        seed=0,
    )


def optimiser(pace: Pace, name: str):
    return make_optimiser(
        name=name,
        weight_decay=0.01,
        momentum=0.9,
        clip=1.0,
        steps=pace.steps,
        schedule="cosine",
        rate=1e-2,
        warmup=1,
        final=0.0,
        drops=(),
        drop_factor=0.1,
    )


def volumes(count: int = 5) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"window": rng.random((12 + i % 2, 14, 6, 1)).astype(np.float16)} for i in range(count)]


class CrashError(Exception):
    """Stands for whatever ends a process."""


def data(the_task, pace: Pace, *, resident: bool = False, crash_at: int | None = None) -> Data:
    def training(start: int, together: int):
        batches = loader.training_batches(
            volumes(),
            window=the_task.window,
            batch_size=pace.batch_size,
            seed=0,
            start=start,
            together=together,
        )
        for step, batch in enumerate(batches, start=start):
            if step == crash_at:
                raise CrashError
            yield batch

    def validation():
        return loader.held_out_batches(
            volumes(2), window=the_task.window, batch_size=pace.batch_size, repeats=3, seed=0
        )

    held = loader.resident(volumes(), window=the_task.window, shards=1) if resident else None
    return Data(training, held, validation)


def run(folder: Path, pace: Pace = PACE, *, norm="group", name="adamw", **where) -> None:
    folder.mkdir(exist_ok=True)
    the_task = task(norm)
    fit(
        the_task,
        optimiser(pace, name),
        data(the_task, pace, **where),
        folder,
        description=DESCRIPTION | the_task.about,
        pace=pace,
        seed=0,
    )


def arrays(folder: Path, kind: str = "latest") -> dict:
    return checkpoints.read(checkpoints.find(folder, kind))


def records(folder: Path) -> list[dict]:
    """All but the rates and times, which are of the clock."""
    return [
        {name: value for name, value in record.items() if "per_second" not in name}
        for record in read(folder / "metrics.jsonl")
        if record["part"] != "time"
    ]


def same_bits(one, other) -> bool:
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, one, other)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run(folder)
    return folder


@pytest.mark.parametrize("crash_at", [1, 3, 5])
def test_resumed_run_is_the_uninterrupted_one_bit_for_bit(whole, tmp_path, crash_at):
    with pytest.raises(CrashError):
        run(tmp_path / "run", crash_at=crash_at)
    run(tmp_path / "run")
    assert same_bits(arrays(tmp_path / "run"), arrays(whole))
    assert same_bits(arrays(tmp_path / "run", "best"), arrays(whole, "best"))
    assert records(tmp_path / "run") == records(whole)


def test_interrupted_runs_go_on_bit_for_bit_from_any_step(whole, tmp_path, monkeypatch, capsys):
    """Between two records, in an evaluation, and in that after the last step."""
    folder, reach, held_out = tmp_path / "run", Steps.reach, loader.held_out_batches

    def interrupted(*hook) -> dict:
        with monkeypatch.context() as patch, interrupts.catch(), pytest.raises(Interrupted):
            patch.setattr(*hook)
            run(folder)
        about = checkpoints.describe(checkpoints.find(folder, "latest"))
        assert f"the checkpoint of step {about['step']} of 6 is saved" in capsys.readouterr().out
        return about

    def at_step(bar, step: int) -> None:
        reach(bar, step)
        if step == 1:
            os.kill(os.getpid(), signal.SIGUSR1)

    def in_evaluation(number: int):
        count = itertools.count(1)

        def batches(*arguments, **knobs):
            if next(count) == number:
                os.kill(os.getpid(), signal.SIGTERM)
            yield from held_out(*arguments, **knobs)

        return batches

    about = interrupted(Steps, "reach", at_step)
    assert about["step"] == 1 and about["pending"]["totals"]["loss"][1] == PACE.batch_size
    # The one that was broken off comes first the next time.
    for number, step in ((1, 3), (2, 6)):
        about = interrupted(loader, "held_out_batches", in_evaluation(number))
        assert (about["step"], about["pending"]["owed"]) == (step, True)
        assert [r["step"] for r in records(folder) if r["part"] == "validation"] == [3] * (step > 3)
    run(folder)
    assert records(folder) == records(whole)
    for kind in ("latest", "best"):
        one, other = (checkpoints.find(of, kind) for of in (folder, whole))
        assert checkpoints.describe(one) == checkpoints.describe(other)
        assert same_bits(arrays(folder, kind), arrays(whole, kind))
    run(folder)  # and nothing is left to be done
    assert records(folder) == records(whole)


def test_every_stop_says_where_the_time_went_and_a_resumed_run_adds_up(tmp_path):
    folder, begun = tmp_path / "run", time.monotonic()
    with pytest.raises(CrashError):
        run(folder, crash_at=5)
    first = [record for record in read(folder / "metrics.jsonl") if record["part"] == "time"]
    run(folder)
    passed = time.monotonic() - begun
    times = [record for record in read(folder / "metrics.jsonl") if record["part"] == "time"]
    assert [record["step"] for record in times] == [2, 3, 4, 6]
    assert times[:3] == first
    spent = {name: sum(record.get(name, 0.0) for record in times) for name in ACTIVITIES}
    assert all(seconds > 0 for name, seconds in spent.items() if name != "probing")
    # What is lost is the step that wasn't saved, and what comes after the last stop.
    assert 0.5 * passed < sum(spent.values()) <= passed
    assert times[-1]["process_bytes"] >= times[0]["process_bytes"] > 2**20


def test_windows_are_on_their_way_before_they_are_needed():
    made = []

    def training(first: int, together: int):
        for step in itertools.count(first, together):
            made.append(threading.get_ident())
            yield {"window": np.full((together, 4, 3), step, np.float16)}

    calls = train._calls(Data(training, None, None), 6, 2)
    for taken, step in enumerate((6, 8, 10), start=1):
        window = next(calls)["window"]
        assert isinstance(window, jax.Array) and window.dtype == np.float16  # scaled on the device
        np.testing.assert_array_equal(window, np.full((1, 2, 4, 3), step))
        until = time.monotonic() + 5
        while len(made) < taken + train.AHEAD - 1 and time.monotonic() < until:
            time.sleep(0.001)
        assert len(made) == taken + train.AHEAD - 1
    assert threading.get_ident() not in made


def test_slow_data_are_waited_for_and_quick_ones_are_not(tmp_path, monkeypatch):
    clean = loader.training_batches

    def slow(*arguments, **knobs):
        for batch in clean(*arguments, **knobs):
            time.sleep(0.2)
            yield batch

    # A stop leaves time to read some calls ahead: most of these steps come long after one.
    pace = PACE._replace(steps=14, log=7, evaluate=7, checkpoint=7)

    def waited(name: str) -> float:
        run(tmp_path / name, pace)
        times = [r for r in read(tmp_path / name / "metrics.jsonl") if r["part"] == "time"]
        return sum(record.get("waiting", 0.0) for record in times[1:])  # the first holds the start

    quick = waited("quick")
    monkeypatch.setattr(loader, "training_batches", slow)
    assert waited("slow") > quick + 0.5


def test_the_page_is_there_from_the_first_record_on_and_says_how_far_it_is(tmp_path, monkeypatch):
    seen, write = [], page.write

    def watched(folder, description, results, *rest, **more):
        write(folder, description, results, *rest, **more)
        seen.append((len(results), more["running"], (folder / page.REPORT).read_text()))

    monkeypatch.setattr(page, "write", watched)
    run(tmp_path / "run", PACE._replace(log=1))
    assert [(count, running) for count, running, _ in seen] == [(0, True), (1, True), (1, False)]
    for (_, _, text), step in zip(seen[:2], (1, 3), strict=True):
        assert f"in progress, at step {step} of" in text and 'http-equiv="refresh"' in text
    assert "Mistakes" in seen[1][2] and "Mistakes" not in seen[0][2]
    assert "in progress" not in seen[2][2] and 'http-equiv="refresh"' not in seen[2][2]


def test_training_changes_every_parameter(whole, tmp_path):
    early = tmp_path / "run"
    with pytest.raises(CrashError):
        run(early, crash_at=3)
    changed = jax.tree.map(
        lambda a, b: not np.array_equal(a, b), arrays(early)["params"], arrays(whole)["params"]
    )
    assert all(jax.tree.leaves(changed)), changed


def test_batch_statistics_survive_a_resume(tmp_path):
    run(tmp_path / "whole", norm="batch")
    with pytest.raises(CrashError):
        run(tmp_path / "run", norm="batch", crash_at=4)
    run(tmp_path / "run", norm="batch")
    assert arrays(tmp_path / "run")["batch_stats"]
    assert same_bits(arrays(tmp_path / "run"), arrays(tmp_path / "whole"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> dict:
    """By SGD: Adam makes whole steps of gradients that are nothing but rounding."""
    folder = tmp_path_factory.mktemp("runs") / "plain"
    run(folder, name="sgd")
    return arrays(folder)["params"]


@pytest.mark.parametrize("knob", ["accumulate", "steps_per_call"])
def test_parts_and_calls_change_nothing_but_rounding(plain, tmp_path, knob):
    run(tmp_path / "run", PACE._replace(**{knob: 2}, evaluate=6), name="sgd")
    params = arrays(tmp_path / "run")["params"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), params, plain)


def test_resident_cohort_resumes_with_equal_bits(tmp_path):
    run(tmp_path / "whole", resident=True)
    run(tmp_path / "run", PACE._replace(steps=6), resident=True)
    assert same_bits(arrays(tmp_path / "whole"), arrays(tmp_path / "run"))
    assert len({r["loss"] for r in records(tmp_path / "run")}) > 1


def test_best_is_the_highest_validation_score(whole):
    scores = {
        r["step"]: (r["order_accuracy"] + r["orientation_accuracy"]) / 2
        for r in records(whole)
        if r["part"] == "validation"
    }
    assert set(scores) == {3, 6}
    best = checkpoints.describe(checkpoints.find(whole, "best"))
    assert best["score"] == max(scores.values()) == scores[best["step"]]


def test_a_loss_that_is_not_finite_stops_and_names_the_step(tmp_path, monkeypatch):
    clean = loader.training_batches

    def poisoned(*arguments, start, **knobs):
        for step, batch in enumerate(clean(*arguments, start=start, **knobs), start=start):
            if step == 4:
                batch["window"][0] = np.nan
            yield batch

    monkeypatch.setattr(loader, "training_batches", poisoned)
    with pytest.raises(DivergedError, match=r"at step 5; the last good checkpoint is of step 4"):
        run(tmp_path / "run")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(arrays(tmp_path / "run")))


@pytest.mark.parametrize(
    ("change", "knob"),
    [
        ({"steps_per_call": 4}, r"^steps_per_call is 4, of which steps \(6\)"),
        ({"steps_per_call": 2}, r"^steps_per_call is 2, of which evaluate \(3\)"),
        ({"log": 0}, "^log is 0"),
        ({"accumulate": 3}, "^batch_size is 4"),
    ],
)
def test_paces_that_cannot_be_are_refused(tmp_path, change, knob):
    with pytest.raises(ArgumentError, match=knob):
        run(tmp_path / "run", PACE._replace(**change))


def test_accuracies_stay_in_the_checkpoints_of_a_resumed_run(tmp_path):
    pace = PACE._replace(checkpoint=1)
    with pytest.raises(CrashError):
        run(tmp_path / "run", pace, crash_at=4)
    with pytest.raises(CrashError):
        run(tmp_path / "run", pace, crash_at=5)
    about = checkpoints.describe(checkpoints.find(tmp_path / "run", "latest"))
    assert about["step"] > 3
    assert "order_accuracy" in about["validation"]
