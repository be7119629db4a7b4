"""The command as a user types it: what it makes, what it refuses and in which words."""

import contextlib
import gzip
import json
import os
import shutil
import signal
from pathlib import Path

import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest

import rubik_jax
from configs import pretrain
from rubik_jax import checkpoints, claims, parallel, workdir
from rubik_jax.data import volumes
from rubik_jax.errors import ArgumentError, Interrupted
from rubik_jax.main import main

SMALL = [
    "--config.proxy.cube=(6,6,6)",
    "--config.proxy.gap=(1,1,1)",
    "--config.model.encoder.widths=(4,)",
    "--config.model.encoder.convs=(1,)",
    "--config.model.encoder.strides=((2,2,2),)",
]


def scan(path: Path, array: np.ndarray | None = None) -> Path:
    """Writes a volume, by default one that a 2x2x2 grid of 6x6x6 cubes fits into."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if array is None:
        array = np.random.default_rng(len(path.name)).random((15, 14, 13))
    nib.save(nib.Nifti1Image(np.asarray(array, np.float32), np.diag([-1, 2, 3, 1])), path)
    return path


@pytest.fixture
def cohort(tmp_path) -> Path:
    for case in "abcdef":
        scan(tmp_path / "scans" / f"{case}{case}.nii.gz")
    return tmp_path / "scans"


def command(cohort: Path, *more: str) -> list[str]:
    there = cohort.parent
    given = {override.partition("=")[0] for override in more}
    usual = [
        f"--workdir={there / 'run'}",
        f"--config.data.path={cohort}",
        f"--config.data.store={there / 'store'}",
        *SMALL,
    ]
    return [
        "main",
        "--config=configs/pretrain.py:cohort=folder,debug",
        *(override for override in usual if override.partition("=")[0] not in given),
        *more,
    ]


def sentence(capsys) -> str:
    """What was said on standard error: one line, no traceback."""
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert said.startswith("rubik_jax: ")
    assert "Traceback" not in said
    return said


def test_train_again_evaluate_and_load(cohort, capsys):
    run = cohort.parent / "run"
    assert main(command(cohort)) == 0
    said = capsys.readouterr().out
    assert "step 4/4" in said
    assert "(chance 1.0%)" in said
    assert str(run / "report.html") in said
    results = json.loads((run / "results.json").read_text())
    assert {"test", "blank", "no_gap"} <= results.keys()
    split = json.loads((run / "split.json").read_text())
    assert sorted(name for part in split.values() for name in part) == [
        "aa",
        "bb",
        "cc",
        "dd",
        "ee",
        "ff",
    ]
    about = checkpoints.describe(checkpoints.find(run, "latest"))
    assert about["split"] == split
    assert np.shape(about["orders"]) == (100, 8)
    assert about["config"] == json.loads((run / "config.json").read_text())
    module, variables = rubik_jax.load_encoder(run)
    assert module.apply(variables, jnp.zeros((1, 6, 6, 6, 1)), False)[-1].any()

    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert main(command(cohort)) == 0
    assert "is finished" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}

    (run / "results.json").unlink()
    scan(cohort / "gg.nii.gz")  # is in no part of the run's split
    assert main(["main", "--mode=evaluate", f"--workdir={run}"]) == 0
    assert json.loads((run / "results.json").read_text()) == results

    assert main(command(cohort, "--config.steps=6")) == 2
    assert "config.steps=4, not 6" in sentence(capsys)
    (run / "results.json").unlink()
    assert main(command(cohort)) == 2
    assert "no longer fits the cohort" in sentence(capsys)


def test_one_volume_is_trained_on_and_nothing_held_out(tmp_path, capsys):
    path = scan(tmp_path / "scans" / "only.nii")
    assert main(command(path.parent, "--config.data.modalities=('*.nii',)")) == 0
    assert "nothing is held out" in capsys.readouterr().out
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert "train" in results
    assert results["checkpoint"] == "checkpoints/4"


def test_small_volumes_may_be_padded_when_asked_for(cohort, capsys):
    scan(cohort / "tiny.nii.gz", np.random.default_rng(0).random((9, 14, 13)))
    assert main(command(cohort)) == 2
    said = sentence(capsys)
    assert all(part in said for part in ("'tiny'", "9x14x13", "13x13x13", "config.data.pad=edge"))
    assert main(command(cohort, "--config.data.pad=edge", "--config.data.resident=True")) == 0


def truncated(cohort: Path) -> None:
    path = cohort / "aa.nii.gz"
    path.write_bytes(path.read_bytes()[:-600])


def bad_voxel(cohort: Path) -> None:
    array = np.random.default_rng(0).random((15, 14, 13))
    array[3, 4, 5] = np.nan
    scan(cohort / "aa.nii.gz", array)


def empty(cohort: Path) -> None:
    for path in cohort.iterdir():
        path.unlink()


def other_mask(cohort: Path) -> None:
    for path in list(cohort.iterdir()):
        scan(cohort / "masks" / path.name, np.ones((15, 14, 12)))


def not_nifti(cohort: Path) -> None:
    (cohort / "aa.nii.gz").write_bytes(gzip.compress(b"no scan at all" * 100))


def other_run(cohort: Path) -> None:
    (cohort.parent / "run").mkdir()
    (cohort.parent / "run" / "letter.txt").write_text("mine")


MISTAKES = {
    "truncated gzip": (truncated, [], ["aa.nii.gz"]),
    "not NIfTI": (not_nifti, [], ["aa.nii.gz"]),
    "empty folder": (empty, [], ["scans", "empty folder"]),
    "2D image": (lambda c: scan(c / "aa.nii.gz", np.eye(20)), [], ["aa.nii.gz", "2"]),
    "4D series": (
        lambda c: scan(c / "aa.nii.gz", np.random.default_rng(0).random((15, 14, 13, 5))),
        [],
        ["aa.nii.gz", "4D"],
    ),
    "NaN voxel": (bad_voxel, [], ["aa.nii.gz", "1 "]),
    "constant volume": (
        lambda c: scan(c / "aa.nii.gz", np.full((15, 14, 13), 7)),
        [],
        ["aa.nii.gz", "constant"],
    ),
    "mask of another shape": (
        other_mask,
        ["--config.data.modalities=('*.nii.gz',)", "--config.data.masks=masks/*.nii.gz"],
        ["masks/aa.nii.gz", "15x14x12"],
    ),
    "missing path": (None, ["--config.data.path=/nowhere/at/all"], ["/nowhere/at/all"]),
    "unknown knob": (None, ["--config.proxy.cubes=(3,3,3)"], ["cubes"]),
    "wrong type": (None, ["--config.steps=1e4"], ["steps"]),
    "unknown flag": (None, ["--confg=x"], ["confg"]),
    "unknown mode": (None, ["--mode=pretrain"], ["pretrain"]),
    "unknown argument": (None, ["--config=configs/pretrain.py:cohort=mars"], ["mars", "brats"]),
    "missing config": (None, ["--config=configs/nothing.py"], ["configs/nothing.py"]),
    "cube too large": (
        None,
        ["--config.proxy.cube=(8,6,6)"],
        ["'aa'", "15x14x13", "17x13x13", "config.proxy.cube"],
    ),
    "more orders than there are": (
        None,
        ["--config.proxy.counts=(2,2,1)", "--config.proxy.num_orders=25"],
        ["25", "24 orders"],
    ),
    "group of other cubes": (
        None,
        ["--config.proxy.num_orders=337", "--config.proxy.orders=group"],
        ["at most 336 orders of 8 cubes"],
    ),
    "quarter turns of a cuboid": (
        None,
        ["--config.proxy.turns=all", "--config.proxy.cube=(6,6,5)"],
        ["config.proxy.turns=all", "(6, 6, 5)"],
    ),
    "jitter beyond the gap": (None, ["--config.proxy.jitter=(2,0,0)"], ["jitter", "gap"]),
    "negative rate": (None, ["--config.optim.rate=-1.0"], ["config.optim.rate is -1.0"]),
    "steps between saves": (None, ["--config.steps_per_call=3"], ["steps_per_call"]),
    "workdir of something else": (other_run, [], ["config.json"]),
    "half a voxel": (None, ["--config.proxy.cube=(1.5,2,2)"], ["config.proxy.cube", "1.5"]),
    "rate that is no number": (None, ["--config.optim.rate=nan"], ["config.optim.rate is nan"]),
    "seed too large": (None, [f"--config.seed={2**64}"], ["config.seed"]),
    "strides of one axis": (
        None,
        ["--config.model.encoder.strides=(1,2,2)"],
        ["config.model.encoder.strides"],
    ),
    "no grid": (None, ["--config=configs/pretrain.py:grid=0"], ["grid is '0'"]),
    "unknown source": (None, ["--config.data.source=mars"], ["mars", "msd"]),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_get_one_sentence_and_status_2(cohort, capsys, what):
    spoil, more, words = MISTAKES[what]
    if spoil:
        spoil(cohort)
    assert main(command(cohort, *more)) == 2
    said = sentence(capsys)
    assert all(word in said for word in words), said
    assert not (cohort.parent / "run" / "config.json").exists()


def test_a_workdir_that_cannot_be_written_is_refused(cohort, capsys):
    (cohort.parent / "run").write_text("a file")
    assert main(command(cohort)) == 2
    assert "is a file" in sentence(capsys)
    assert main(["main", "--mode=evaluate", f"--workdir={cohort}"]) == 2
    assert "is not a run" in sentence(capsys)
    assert main(["main", "--config=configs/pretrain.py"]) == 2
    assert "--workdir is missing" in sentence(capsys)
    assert main(["main", "--workdir=x"]) == 2
    assert "--config is missing" in sentence(capsys)


def test_evaluating_a_run_that_is_not_done_does_not_end_it(cohort, capsys, monkeypatch):
    run = cohort.parent / "run"
    monkeypatch.setattr("rubik_jax.modes.training.report", interrupted)
    assert main(command(cohort)) == 130
    monkeypatch.undo()
    # Its last checkpoint taken away, it stands where an interrupted run would.
    (run / "checkpoints" / "4").rename(run / "checkpoints" / "3")
    assert main(["main", "--mode=evaluate", f"--workdir={run}"]) == 0
    assert json.loads((run / "results.json").read_text())["finished"] is False
    # Nor is it done at its last step, while the evaluation of that is still to come.
    latest = (run / "checkpoints" / "3").rename(run / "checkpoints" / "4")
    about = checkpoints.describe(latest) | {"pending": {"owed": True}}
    (latest / "description" / "metadata").write_text(json.dumps(about))
    assert main(["main", "--mode=evaluate", f"--workdir={run}"]) == 0
    assert json.loads((run / "results.json").read_text())["finished"] is False
    assert main(command(cohort)) == 0
    assert json.loads((run / "results.json").read_text())["finished"] is True
    capsys.readouterr()


@pytest.mark.parametrize(
    ("mode", "output", "held"),
    [
        ("train", "", "run"),
        ("prepare", "", "run"),
        ("evaluate", "", "run"),
        ("embed", "", "run"),
        ("embed", "run/features", "run"),
        ("embed", "other", "other"),
        ("evaluate", "other", "other"),
        ("predict", "other", "other"),
    ],
)
def test_a_second_command_that_writes_into_a_folder_is_refused(cohort, capsys, mode, output, held):
    there = cohort.parent
    words = command(cohort, f"--mode={mode}")
    if mode not in ("train", "prepare"):
        config = pretrain.get_config("cohort=folder,debug").to_dict()
        workdir.write(there / "run" / "config.json", config)
        words = ["main", f"--mode={mode}", f"--workdir={there / 'run'}"]
    words += [f"--output={there / output}"] * bool(output)
    words += [f"--input={cohort}"] * (mode == "predict")
    with claims.claim(there / held) as mine:
        assert mine
        before = {path: path.stat().st_mtime_ns for path in there.rglob("*")}
        assert main(words) == 2
        said = sentence(capsys)
        assert f"{there / held} is being written by another command (host " in said
        assert f"process {os.getpid()}, since 20" in said
        assert before == {path: path.stat().st_mtime_ns for path in there.rglob("*")}


@pytest.mark.parametrize("mode", ["evaluate", "embed", "predict"])
def test_what_another_run_lives_in_is_no_output(cohort, capsys, mode):
    config = pretrain.get_config("cohort=folder,debug").to_dict()
    for run in ("run", "other"):
        workdir.write(cohort.parent / run / "config.json", config)
    words = ["main", f"--mode={mode}", f"--workdir={cohort.parent / 'run'}"]
    words += [f"--input={cohort}"] * (mode == "predict")
    for run in ("run", "other"):
        assert main([*words, f"--output={cohort.parent / run}"]) == 2
        assert "is a run; expected a folder of its own" in sentence(capsys)
        assert [path.name for path in (cohort.parent / run).iterdir()] == ["config.json"]


@pytest.mark.parametrize("mode", ["train", "prepare"])
def test_a_platform_that_is_not_there_is_a_mistake_in_every_mode(cohort, capsys, mode, monkeypatch):
    def missing():
        raise ArgumentError("JAX_PLATFORMS", "is 'cuda', for which jax finds no device here")

    monkeypatch.setattr(parallel, "require_devices", missing)
    assert main(command(cohort, f"--mode={mode}")) == 2
    assert "JAX_PLATFORMS is 'cuda'" in sentence(capsys)


def test_a_dry_run_claims_nothing(cohort, capsys):
    with claims.claim(cohort.parent / "run"):
        assert main(command(cohort, "--mode=prepare", "--dry_run")) == 0
    assert not (cohort.parent / "run").exists()
    capsys.readouterr()


def test_a_signal_while_a_cohort_is_prepared_ends_it_with_nothing_half_written(
    cohort, capsys, monkeypatch
):
    read = volumes.read

    def signalled(*arguments, **knobs):
        os.kill(os.getpid(), signal.SIGTERM)
        return read(*arguments, **knobs)

    monkeypatch.setattr(volumes, "read", signalled)
    assert main(command(cohort, "--mode=prepare")) == 143
    assert "interrupted by SIGTERM; " in sentence(capsys)
    assert not (cohort.parent / "run").exists()
    assert not list((cohort.parent / "store").glob("*.tmp"))


def test_a_signal_after_the_last_look_is_not_lost(cohort, capsys, monkeypatch):
    def signalled(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("rubik_jax.modes.preparing.prepare", signalled)
    assert main(command(cohort, "--mode=prepare")) == 130
    assert "interrupted by SIGINT" in sentence(capsys)


def interrupted(*_: object) -> None:
    raise Interrupted(signal.SIGINT)


def test_another_config_takes_the_place_of_a_run_without_a_checkpoint(cohort, capsys):
    run = cohort.parent / "run"
    assert main(command(cohort)) == 0
    shutil.rmtree(run / "checkpoints")
    (run / "results.json").unlink()
    more = ["--config.steps=2", "--config.every.evaluate=1", "--config.model.projection=8"]
    assert main(command(cohort, *more)) == 0
    about = checkpoints.describe(checkpoints.find(run))
    assert about["config"]["steps"] == 2
    capsys.readouterr()


@pytest.mark.parametrize("mode", ["predict", "evaluate"])
def test_modalities_in_another_order_than_the_runs_are_refused(tmp_path, capsys, mode):
    config = pretrain.get_config("cohort=folder").to_dict()
    config["data"]["modalities"] = ("**/*_T1w.nii.gz", "**/*_FLAIR.nii.gz")
    workdir.write(tmp_path / "config.json", config)
    swapped = "--config.data.modalities=('*/*_flair.nrrd','*/*_t1w.nrrd')"
    assert main(["main", f"--mode={mode}", f"--workdir={tmp_path}", swapped]) == 2
    assert "in another order; expected T1w, FLAIR" in sentence(capsys)


def test_programs_are_kept_beside_the_run(cohort, monkeypatch):
    asked = []

    def keep(folder, *, make):
        asked.append((folder, make))
        return contextlib.nullcontext()

    monkeypatch.setattr(parallel, "keep_compiled", keep)
    assert main(command(cohort, "--mode=prepare", "--dry_run")) == 0
    assert asked == [(cohort.parent / ".compiled", False)]
