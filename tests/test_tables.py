"""The paper's tables: a plan that is fair to all, worked off once, whoever is at it."""

import json
import math
import shlex
import shutil
import signal
import threading
import time

import pytest

from configs import pretrain, tables
from rubik_jax import arguments, workdir
from rubik_jax import main as command
from rubik_jax.claims import claim
from rubik_jax.errors import Interrupted, UserError
from rubik_jax.main import _shipped as shipped
from rubik_jax.main import main
from rubik_jax.modes import cohort as listing
from rubik_jax.modes import tallying, working
from rubik_jax.modes.planning import STRATEGIES, in_plan, make_plan
from rubik_jax.modes.tabulating import find_missing
from rubik_jax.modes.tallying import tally
from rubik_jax.modes.working import Plan, work
from rubik_jax.report import strategies
from rubik_jax.report import tables as csv_of


def plan_of(folder, text="", **knobs):
    config = tables.get_config(text)
    config.update_from_flattened_dict(knobs)
    return make_plan(folder, config, shipped)


def differing(one, other) -> set[str]:
    one, other = (workdir.flat(cell.config.to_dict()) for cell in (one, other))
    assert one.keys() == other.keys()
    return {name for name in one if one[name] != other[name]}


EVERYTHING = {"strategies": tuple(STRATEGIES), "labelled": ("4", "8"), "pretrainings": 2}


@pytest.mark.parametrize("cohort", tables.COHORTS)
def test_strategies_differ_in_their_first_weights_alone(tmp_path, cohort):
    cells = plan_of(tmp_path, f"cohort={cohort}", **EVERYTHING)
    scratch = {c.name: c for c in cells if c.strategy == "scratch"}
    for cell in (c for c in cells if c.target and c.strategy != "scratch"):
        twin = scratch[cell.name.replace(f"/{cell.strategy}/", "/scratch/")]
        assert differing(cell, twin) == {"init_from"}


@pytest.mark.parametrize("knob", ["steps", "optim.rate", "augment.noise", "every.log"])
def test_pretrainings_on_the_cohort_have_one_budget(tmp_path, knob):
    value = {"steps": 77, "every.log": 7}.get(knob, 0.0625)
    cells = plan_of(tmp_path, **EVERYTHING, **{f"pretrain.{knob}": value})
    on_cohort = [c.config for c in cells if not c.target and c.strategy != "action"]
    assert {workdir.flat(c.to_dict())[knob] for c in on_cohort} == {value}
    shared = ("batch_size", "optim", "augment", "every", "data")
    assert len({json.dumps([c.to_dict()[part] for part in shared]) for c in on_cohort}) == 1
    encoders = {json.dumps(c.config.model.encoder.to_dict()) for c in cells}
    assert len(encoders) == 1


@pytest.mark.parametrize("cohort", tables.COHORTS)
def test_runs_share_the_cohort_that_was_named(cohort):
    config, own = tables.get_config(f"cohort={cohort}"), pretrain.get_config(f"cohort={cohort}")
    kinds = ("pretrain", "reconstruct", "restore", "contrast", "classify", "segment")
    for data in (config.data, *(config[kind].data for kind in kinds)):
        for knob in ("source", "path", "intensity"):
            assert data[knob] == own.data[knob]
    assert config.data.labels == {"haemorrhage": "causes.csv", "head_ct": "classes.csv"}.get(
        cohort, ""
    )


def test_needs_come_first_and_names_are_unique(tmp_path):
    cells = plan_of(tmp_path, **EVERYTHING)
    names = [cell.name for cell in cells]
    assert len({*names}) == len(names)
    for place, cell in enumerate(cells):
        assert {*cell.needs} <= {*names[:place]}
        before = cell.config.get("init_from")
        assert not before or before in {str(tmp_path / need) for need in cell.needs}


@pytest.mark.parametrize("cohort", tables.COHORTS)
def test_commands_give_the_cells_own_configs(tmp_path, cohort):
    knobs = {"data.path": "scans with spaces", "segment.window": (8, 16, 8), "seeds": (3,)}
    for cell in plan_of(tmp_path, f"cohort={cohort}", **knobs):
        read = command._parse(arguments.read(shlex.split(cell.command)[3:]))
        assert read.folder == tmp_path / cell.name
        cell.config.update_from_flattened_dict(workdir.rooted(cell.config.to_dict()))
        assert json.loads(read.config.to_json()) == json.loads(cell.config.to_json())


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("strategies", ("scratch", "luck")),
        ("strategies", ("ordering", "rubik")),
        ("targets", ()),
        ("labelled", ("8", "8")),
        ("pretrainings", 4),
    ],
)
def test_impossible_plans_are_refused(tmp_path, knob, value):
    with pytest.raises(UserError, match=rf"config\.{knob} is .*; expected"):
        plan_of(tmp_path, **{knob: value})


@pytest.mark.parametrize(
    ("run", "knob", "of_plan"),
    [
        ("pretrain", "proxy.cube", "pretrain.proxy.cube"),
        ("pretrain", "data.pad", "pretrain.data.pad"),
        ("segment", "data.intensity.low", "data.intensity.low"),
        ("classify", "data.labelled", "labelled"),
        ("action", "data.path", "action.data.path"),
    ],
)
def test_a_runs_knob_is_named_as_the_plans(run, knob, of_plan):
    config = tables.get_config("cohort=folder")
    error = in_plan(UserError.of("make {" + knob + "}={} smaller", "config.seed"), run, config)
    assert str(error) == f"make config.{of_plan}=config.seed smaller"  # a value is no name
    assert error.knob == of_plan


def test_a_mistake_that_names_no_knob_names_the_kind_of_run():
    error = in_plan(UserError("case 'a' is damaged"), "restore", tables.get_config("cohort=folder"))
    assert str(error) == "in the runs of config.restore: case 'a' is damaged"


@pytest.fixture
def ran(monkeypatch):
    """The folders of the runs that were asked for; those are finished at once, or fail."""
    folders = []

    def train(folder, *_, **__):
        folders.append(folder)
        time.sleep(0.002)
        if (folder / "fails").exists():
            raise UserError("it fails")
        workdir.write(folder / workdir.RESULTS, {"finished": True})

    monkeypatch.setattr(working, "train", train)
    monkeypatch.setattr(working, "WAIT", 0.01)
    return folders


def work_off(plan: Plan) -> list:
    """Works on the plan; returns the cells that had been finished after each run."""
    seen = []
    costs = dict.fromkeys((cell.kind for cell in plan.cells), 1.0)
    work(plan, costs, lambda: seen.append(sum(map(plan.finished, plan.cells))))
    return seen


def test_every_cell_is_run_once_and_told_of(tmp_path, ran):
    plan = Plan(tmp_path, plan_of(tmp_path, **EVERYTHING), {})
    assert work_off(plan) == list(range(1, len(plan.cells) + 1))
    assert ran == [tmp_path / cell.name for cell in plan.cells]
    work_off(plan)
    assert len(ran) == len(plan.cells)


def test_workers_share_the_cells(tmp_path, ran):
    plan = Plan(tmp_path, plan_of(tmp_path, **EVERYTHING), {})
    workers = [threading.Thread(target=work_off, args=(plan,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(ran) == sorted(tmp_path / cell.name for cell in plan.cells)


def test_who_is_waited_for_is_said_once(tmp_path, ran, capsys):
    plan = Plan(tmp_path, plan_of(tmp_path, strategies=("scratch",)), {})
    with claim(tmp_path / plan.cells[-1].name):
        worker = threading.Thread(target=work_off, args=(plan,))
        worker.start()
        while len(ran) < len(plan.cells) - 1:
            time.sleep(0.01)
        time.sleep(0.2)
    worker.join()
    said = capsys.readouterr().out
    assert said.count(f"waiting for the runs that others are at: {plan.cells[-1].name} (host") == 1
    assert all(map(plan.finished, plan.cells))


def test_a_failure_leaves_what_needs_it_until_the_next_call(tmp_path, ran):
    plan = Plan(tmp_path, plan_of(tmp_path), {})
    (tmp_path / "pretrain/rubik/seed0/fails").mkdir(parents=True)
    work_off(plan)
    left = [cell for cell in plan.cells if not plan.finished(cell)]
    assert {cell.strategy for cell in left} == {"rubik"}
    assert [plan.failure(cell) for cell in left] == ["it fails"] + [""] * (len(left) - 1)
    states = dict(tallying._states(plan))
    assert states == dict.fromkeys(
        [("rubik", target, "8") for target in ("classify", "unet", "duc")],
        "pretrain/rubik/seed0 failed: it fails",
    )
    (tmp_path / "pretrain/rubik/seed0/fails").rmdir()
    work_off(plan)
    assert all(map(plan.finished, plan.cells))
    assert len(ran) == len(plan.cells) + 1


def test_an_interrupt_ends_the_plan_and_is_no_failure(tmp_path, ran, monkeypatch):
    plan = Plan(tmp_path, plan_of(tmp_path), {})

    def interrupted(*_: object, **__: object) -> None:
        raise Interrupted(signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(working, "train", interrupted)
        work_off(plan)
    assert not any(map(plan.failure, plan.cells))
    assert not list(tmp_path.rglob("*"))  # the claim is given back
    work_off(plan)
    assert all(map(plan.finished, plan.cells))


def test_what_is_missing_is_never_tried(tmp_path, ran):
    plan = Plan(tmp_path, plan_of(tmp_path), {"classify": "no classes", "rubik": "no scans"})
    work_off(plan)
    left = {(cell.strategy, cell.target) for cell in plan.cells if not plan.finished(cell)}
    assert left == {
        (cell.strategy, cell.target)
        for cell in plan.cells
        if cell.target == "classify" or cell.strategy == "rubik"
    }


def begin(plan: Plan) -> None:
    """Writes the plan's split."""
    parts = {"train": ["c"] * 4, "validation": [], "test": ["a", "b"]}
    workdir.write(plan.folder / workdir.SPLIT, parts)


def finish(plan: Plan, measure) -> None:
    """Writes what a run of each cell would have left, its cases as `measure` has them."""
    begin(plan)
    for cell in plan.runnable:
        folder = plan.folder / cell.name
        # Half turns are told by the paper's two labels each, and not by the turn.
        numbers = {"order_accuracy": 0.9, "order_chance": 0.01, "turn_accuracy": 0.5}
        numbers |= {"orientation_accuracy": 0.7, "orientation_chance": 0.5}
        workdir.write(folder / workdir.RESULTS, {"test": numbers, "finished": True})
        workdir.write(folder / workdir.SPLIT, {"train": ["c"] * 4, "validation": [], "test": []})
        if cell.target:
            rows = [{"case": case, **measure(cell, case)} for case in ("a", "b")]
            csv_of.write(folder / csv_of.CASES, rows)


def test_tables_say_what_the_runs_files_say(tmp_path):
    config = tables.get_config()
    plan = Plan(tmp_path, make_plan(tmp_path, config, shipped), {})

    def measure(cell, case):
        if cell.target == "classify":
            return {"class": "x", "answer": "x" if case == "a" else "y"}
        return {"foreground_miou": 0.5 if case == "a" else math.nan}

    finish(plan, measure)
    made = tally(plan, config, "command")
    assert not made.states and len(made.results) == 24
    for result in made.results:
        other = 0.0 if result.target == "classify" else math.nan
        expected = {"a": 1.0 if result.target == "classify" else 0.5, "b": other}
        assert result.cases == pytest.approx(expected, nan_ok=True)
    rubik = next(proxy for proxy in made.proxies if proxy.strategy == "rubik")
    assert [(a.name, a.chance, a.values) for a in rubik.answers] == [
        ("order", 0.01, (0.9,)),
        ("orientation", 0.5, (0.7,)),
    ]
    assert made.counts == {"8": 4}
    page = strategies.markdown(made)
    assert all(f"| {strategy.name}" in page for strategy in made.strategies)


def test_what_is_missing_keeps_its_row(tmp_path):
    config = tables.get_config("clips=ucf101,debug")
    config.data.path, config.action.data.path = str(tmp_path / "scans"), str(tmp_path / "videos")
    missing = find_missing(config, listing.list_cases(config.pretrain).cases)
    assert missing.keys() == {"action"} and str(tmp_path / "videos") in missing["action"]
    cases = [case._replace(target=None) for case in listing.list_cases(config.pretrain).cases]
    plan = Plan(tmp_path, make_plan(tmp_path, config, shipped), find_missing(config, cases))
    assert plan.missing.keys() == {"action", "classify"}
    begin(plan)
    made = tally(plan, config, "command")
    page = strategies.markdown(made)
    assert "UCF101" in page and str(tmp_path / "videos") in page
    assert "the cohort has no classes: expected them in config.data.labels" in page


def test_generated_clips_are_called_so(tmp_path):
    config = tables.get_config("clips=generated")
    plan = Plan(tmp_path, make_plan(tmp_path, config, shipped), {})
    begin(plan)
    row = next(s for s in tally(plan, config, "command").strategies if s.key == "action")
    assert row.name == "action clips (generated)" and "UCF101 is absent" in row.note


def test_an_estimate_is_of_the_knobs_it_is_asked_for(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(working, "rehearsal", lambda config: asked.append(config.steps) or 1.0)
    knobs = {"strategies": ("scratch",), "targets": ("unet",)}
    for steps in (100, 100, 200):
        plan = Plan(tmp_path, plan_of(tmp_path, **knobs, **{"segment.steps": steps}), {})
        assert working.estimate(plan, tables.get_config())["unet"] == pytest.approx(steps, rel=0.01)
    assert asked == [100, 200]


@pytest.mark.parametrize(
    ("labelled", "said"),
    [
        ("ten", "expected 'all', a number"),
        ("99", "config.labelled is '99': expected 1 to 5"),
        ("3", "have 4 classes"),
    ],
)
def test_labels_that_there_are_not_are_refused_at_once(tmp_path, capsys, labelled, said):
    places = {"path": "scans", "store": "store"}
    paths = [f"--config.data.{knob}={tmp_path / name}" for knob, name in places.items()]
    words = ["main", "--mode=tables", "--config=configs/tables.py:debug", *paths]
    plan = [f"--workdir={tmp_path / 'plan'}", f"--config.labelled=('4','{labelled}')"]
    assert main([*words, *plan]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "plan").exists()


def test_the_split_is_that_which_is_asked_for(tmp_path, capsys):
    places = {"path": "scans", "store": "store"}
    paths = [f"--config.data.{knob}={tmp_path / name}" for knob, name in places.items()]
    few = ["--config.strategies=('scratch',)", "--config.targets=('duc',)", "--dry_run"]
    few += ["--config.labelled=('3',)"]
    plan = tmp_path / "plan"
    words = ["main", "--mode=tables", "--config=configs/tables.py:debug", f"--workdir={plan}"]
    words += paths + few
    for share, count in (("0.25", 2), ("0.5", 4)):  # of the 8 cases
        assert main([*words, f"--config.data.split.test={share}"]) == 0
        assert len(workdir.read(plan / workdir.SPLIT)["test"]) == count
    begun = tables.get_config("debug")
    begun.data.split.test = 0.5
    workdir.write(plan / workdir.CONFIG, begun.to_dict())
    assert main([*words, "--config.data.split.test=0.5"]) == 0
    capsys.readouterr()
    assert main([*words, "--config.data.split.test=0.5", "--config.data.split.folds=2"]) == 2
    assert "holds a plan with another config.data.split" in capsys.readouterr().err


def test_command_writes_the_tables(tmp_path, capsys):
    words = [
        "main",
        "--mode=tables",
        "--config=configs/tables.py:debug",
        f"--workdir={tmp_path / 'plan'}",
        f"--config.data.path={tmp_path / 'scans'}",
        f"--config.data.store={tmp_path / 'store'}",
        "--config.strategies=('scratch','rubik')",
        "--config.targets=('duc',)",
        "--config.labelled=('3',)",
        "--config.seeds=(0,)",
    ]
    assert main(words) == 0
    page = (tmp_path / "plan/tables.md").read_text()
    assert "Rubik's cube recovery" in page and "from scratch" in page
    results = sorted((tmp_path / "plan").glob("**/results.json"))
    assert len(results) == 3
    parts = workdir.read(tmp_path / "plan" / workdir.SPLIT)
    for folder in (file.parent for file in results):
        own = workdir.read(folder / workdir.SPLIT)
        assert own["test"] and {*own["test"]} <= {*parts["test"]}
        assert {*own["train"]} <= {*parts["train"]}
    before = [file.stat().st_mtime_ns for file in results]
    capsys.readouterr()
    assert main([*words, "--dry_run"]) == 0
    assert "1 done" in capsys.readouterr().out
    assert main(words) == 0
    assert [file.stat().st_mtime_ns for file in results] == before
    shutil.move(tmp_path / "scans", tmp_path / "scratch")
    words = [*(word.replace("scans", "scratch") for word in words), "--config.data.workers=1"]
    assert main(words) == 0
    assert [file.stat().st_mtime_ns for file in results] == before
    # What was run with other knobs is nothing that this plan's tables could show.
    assert main([*words, "--config.segment.loss.dice=2.0"]) == 2
    assert "holds a run with config.loss.dice=1.0, not 2.0" in capsys.readouterr().err
    assert [file.stat().st_mtime_ns for file in results] == before


def test_a_plan_is_no_run(tmp_path, capsys):
    (tmp_path / "begun/checkpoints/2").mkdir(parents=True)
    begun = f"--workdir={tmp_path / 'begun'}"
    assert main(["main", "--mode=tables", "--config=configs/tables.py", begun]) == 2
    assert "is a run; expected a folder of the plan's own" in capsys.readouterr().err
    assert main(["main", "--config=configs/tables.py", f"--workdir={tmp_path / 'run'}"]) == 2
    assert "is for --mode=tables alone; found --mode=train" in capsys.readouterr().err
    workdir.write(tmp_path / "tables/config.json", {"task": "tables"})
    assert main(["main", "--mode=evaluate", f"--workdir={tmp_path / 'tables'}"]) == 2
    assert "is a plan of runs; expected one of the runs below it" in capsys.readouterr().err
    plan = f"--workdir={tmp_path / 'plan'}"
    assert main(["main", "--mode=tables", "--config=configs/segment.py", plan]) == 2
    assert "configs/segment.py is for" in capsys.readouterr().err
