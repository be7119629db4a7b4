"""A cohort is looked at, prepared and skipped from by the commands that a user types."""

import html
import json
import shutil
import signal
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from configs import segment
from rubik_jax import checkpoints, keeping
from rubik_jax.data.store import Store
from rubik_jax.errors import Interrupted, UserError
from rubik_jax.main import main
from rubik_jax.modes.cohort import fitting
from tests.test_bad_input import AFFINE, CASES, SIZE, cut, mask, scan, sound

SMALL = (
    "--config.model.encoder.widths=(4,)",
    "--config.model.encoder.convs=(1,)",
    "--config.model.encoder.strides=((2,2,2),)",
    "--config.steps=2",
    "--config.batch_size=2",
)
# By this seed no part of the split is made of the spoiled cases alone.
SEED = "--config.data.split.seed=4"
PUZZLE = ("--config.proxy.cube=(6,6,6)", "--config.proxy.gap=(1,1,1)", SEED, *SMALL)
SEGMENT = ("--config.window=(8,8,8)", "--config.data.masks=masks/*.nii.gz", *SMALL)


def command(root: Path, task: str, *more: str, run: str = "run", mode: str = "train") -> list[str]:
    given = {argument.partition("=")[0] for argument in more}
    usual = [
        f"--config.data.path={root}",
        f"--config.data.store={root.parent / 'store'}",
        "--config.data.modalities=('scans/*.nii.gz',)",
    ]
    return [
        "main",
        f"--mode={mode}",
        f"--config=configs/{task}.py:cohort=folder,debug",
        f"--workdir={root.parent / run}",
        *(argument for argument in usual if argument.partition("=")[0] not in given),
        *more,
    ]


@pytest.fixture
def cohort(tmp_path) -> Path:
    return sound(tmp_path / "data")


def ages(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*")}


def test_what_was_prepared_is_trained_on_by_the_same_command(cohort, capsys):
    assert main(command(cohort, "segment", *SEGMENT, mode="prepare")) == 0
    said = capsys.readouterr().out
    assert "15x14x13" in said and "int16 (4)" in said and "4 with a mask" in said
    assert "No case stands apart" in said and "memory" in said and "time" in said
    assert "prepared    15x14x13 voxels" in said and "8x8x8 voxels, fits into all" in said
    run, store = cohort.parent / "run", cohort.parent / "store"
    assert [path.name for path in run.iterdir()] == ["data_report.html"]
    page = (run / "data_report.html").read_text()
    assert page.count("<article") == len(CASES) and "percentile 0.5 to 99.5" in page
    before = ages(store)
    assert len(before) == 3 * len(CASES)
    assert main(command(cohort, "segment", *SEGMENT)) == 0
    assert ages(store) == before
    about = checkpoints.describe(checkpoints.find(run, "latest"))
    entries = [json.loads(path.read_text()) for path in store.glob("*.json")]
    assert all(entry["preprocessing"] == about["preprocessing"] for entry in entries)
    assert "axes turned to RAS" in (run / "report.html").read_text()
    assert main(command(cohort, "segment", *SEGMENT, mode="prepare")) == 0
    assert "the store holds these cases" in capsys.readouterr().out


def test_a_dry_run_names_all_that_is_wrong_and_writes_nothing(cohort, capsys):
    cut(cohort / "scans" / "b.nii.gz", 900)
    scan(cohort / "scans" / "c.nii.gz", np.full(SIZE, 7, np.int16))
    for more, status in (((), 2), (("--config.data.on_bad=skip",), 0)):
        assert (
            main(command(cohort, "segment", *SEGMENT, *more, "--dry_run", mode="prepare")) == status
        )
        out, err = capsys.readouterr()
        assert "fits into all" in out
        assert "2 cases can't be used" in out and "cut short" in out and "is constant" in out
        assert ("2 of 4 cases can't be used" in err) == (status == 2)
    assert not (cohort.parent / "run").exists() and not (cohort.parent / "store").exists()


def test_skipped_cases_are_listed_and_stay_out(cohort, capsys):
    cut(cohort / "scans" / "b.nii.gz", 900)
    scan(
        cohort / "scans" / "tiny.nii.gz", np.arange(5 * 14 * 13).reshape(5, 14, 13).astype(np.int16)
    )
    more = (*PUZZLE, "--config.data.on_bad=skip")
    assert main(command(cohort, "pretrain", *PUZZLE)) == 2
    assert "b.nii.gz is damaged or cut short" in capsys.readouterr().err
    assert main(command(cohort, "pretrain", *more)) == 0
    said = capsys.readouterr().out
    assert said.count("skipped: 2 cases") == 2  # when it was found, and at the end
    run = cohort.parent / "run"
    rows = (run / "skipped.csv").read_text()
    assert "b.nii.gz is damaged" in rows and "smaller than the window" in rows
    assert "2 cases that can't be used" in html.unescape((run / "report.html").read_text())
    split = json.loads((run / "split.json").read_text())
    assert sorted(name for part in split.values() for name in part) == ["a", "c", "d"]

    # It goes on as it began; what starts from it takes its split.
    (run / "results.json").unlink()
    assert main(command(cohort, "pretrain", *more)) == 0
    fine = (*SEGMENT, f"--config.init_from={run}", "--config.data.on_bad=skip")
    (cohort / "scans" / "tiny.nii.gz").unlink()
    assert main(command(cohort, "segment", *fine, run="fine")) == 0
    assert "the split is that of" in capsys.readouterr().out
    for path in (cohort / "scans").iterdir():
        cut(path, 500)
    assert main(command(cohort, "pretrain", *more, run="other")) == 2
    assert "none of 4 cases can be used, the first, " in capsys.readouterr().err


def test_a_run_that_goes_on_remembers_what_it_left_out(cohort, monkeypatch):
    cut(cohort / "scans" / "b.nii.gz", 900)
    more = (*PUZZLE, "--config.data.on_bad=skip", "--config.every.checkpoint=1")
    report, run = keeping.Keeper.report, cohort.parent / "run"

    def broken(keeper, step: int) -> str:
        if step == 2:
            raise Interrupted(signal.SIGINT)
        return report(keeper, step)

    monkeypatch.setattr(keeping.Keeper, "report", broken)
    assert main(command(cohort, "pretrain", *more)) == 130
    monkeypatch.undo()
    assert main(command(cohort, "pretrain", *more)) == 0
    for kind in ("latest", "best"):
        assert list(checkpoints.describe(checkpoints.find(run, kind))["skipped"]) == ["b"]
    (run / "results.json").unlink()
    assert main(command(cohort, "pretrain", *more)) == 0

    # What starts from it leaves it out as well, and goes on, though nothing is wrong with it now.
    scan(cohort / "scans" / "b.nii.gz")
    fine = command(cohort, "segment", *SEGMENT, f"--config.init_from={run}", run="fine")
    assert main(fine) == 0
    (cohort.parent / "fine" / "results.json").unlink()
    assert main(fine) == 0


def test_cases_that_are_too_small_may_be_skipped_unless_all_are():
    config = segment.get_config("cohort=folder")
    config.data.pad, config.data.on_bad = "refuse", "skip"
    store = Store(
        Path(), tuple({"name": n, "shape": [k, 9, 9, 1]} for n, k in (("a", 5), ("b", 9)))
    )
    kept, small = fitting(store, (8, 8, 8), config)
    assert kept.names == ("b",) and list(small) == ["a"]
    with pytest.raises(
        UserError,
        match=r"window of 8x8x8.*\(1 of 1 cases are; config\.window=\(5,8,8\) fits into all\)",
    ):
        fitting(store.only(["a"]), (8, 8, 8), config)


def test_predictions_repeat_what_was_done_whatever_the_scans_are_like(cohort, capsys):
    """The cohort's median spacing is that of the run, and a scan of another gets it."""
    scan(cohort / "scans" / "e.nii.gz", affine=np.diag([1.0, 1, 4, 1]))
    mask(cohort / "masks" / "e.nii.gz", affine=np.diag([1.0, 1, 4, 1]))
    done = ("--config.data.resample.kind=median", "--config.data.crop=foreground")
    assert main(command(cohort, "segment", *SEGMENT, *done)) == 0
    assert "median spacing 1 x 1 x 2 mm" in capsys.readouterr().out
    run, out = cohort.parent / "run", cohort.parent / "out"
    about = checkpoints.describe(checkpoints.find(run, "latest"))
    assert about["preprocessing"]["spacing"] == [1, 1, 2]
    new = scan(cohort.parent / "new" / "f.nii.gz", affine=np.diag([2.0, 2, 3, 1]))
    bad = scan(cohort.parent / "new" / "g.nii.gz", np.full(SIZE, 1, np.int16))
    predict = [
        "main",
        "--mode=predict",
        f"--workdir={run}",
        f"--input={new.parent}",
        f"--output={out}",
    ]
    glob = "--config.data.modalities=('*.nii.gz',)"
    assert main([*predict, glob]) == 2
    assert f"{bad} is constant" in capsys.readouterr().err
    assert main([*predict, glob, "--config.data.on_bad=skip"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["f.nii.gz", "skipped.csv"]
    bad.unlink()
    assert main([*predict, glob]) == 0  # an earlier call's list is not left to mislead
    assert [path.name for path in out.iterdir()] == ["f.nii.gz"]


def test_what_is_odd_but_sound_is_prepared_and_said(cohort, capsys):
    """Spaces, both forms of Unicode, a byte order mark and semicolons; and a mask of nothing."""
    for folder in ("scans", "masks"):
        (cohort / folder / "a.nii.gz").rename(cohort / folder / "Müller 1.nii.gz")
    mask(cohort / "masks" / "b.nii.gz", np.zeros(SIZE, np.uint8))
    name = unicodedata.normalize("NFD", "Müller 1")
    table = f"Case;Class\r\n{name};ill\r\nb;well\r\nc;ill\r\nd;well\r\n"
    (cohort / "classes.csv").write_text(table, encoding="utf-8-sig")
    labels = "--config.data.labels=classes.csv"
    assert main(command(cohort, "classify", labels, mode="prepare")) == 0
    assert main(command(cohort, "segment", *SEGMENT, mode="prepare")) == 0
    said = capsys.readouterr().out
    assert "the mask is 0 everywhere" in said
    assert any("Müller 1" in path.name for path in (cohort.parent / "store").iterdir())


def test_a_case_that_lacks_a_modality_may_be_skipped_or_filled_up(cohort, capsys):
    for case in "acd":
        scan(cohort / "t2" / f"{case}.nii.gz")
    globs = "--config.data.modalities=('scans/*.nii.gz','t2/*.nii.gz')"
    for missing, kept in (("skip", 3), ("zeros", 4)):
        more = (*PUZZLE, globs, f"--config.data.missing={missing}")
        assert main(command(cohort, "pretrain", *more, mode="prepare", run=missing)) == 0
        said = capsys.readouterr().out
        assert f"{kept} of 2 modalities" in said
        assert (said.count("has no t2/*.nii.gz") == 1) == (missing == "skip")
    store = cohort.parent / "store"
    (b,) = [np.load(path) for path in store.glob("b-*.npy")]
    assert b.shape == (*SIZE, 2) and b[..., 0].any() and not b[..., 1].any()
    assert np.abs(AFFINE).max() == 2


def test_the_same_scan_in_two_parts_and_masks_among_scans_are_warned_of(cohort, capsys):
    (cohort / "parts.csv").write_text("case,part\na,train\nb,train\nc,test\nd,test\n")
    shutil.copy(cohort / "scans" / "a.nii.gz", cohort / "scans" / "d.nii.gz")
    mask(cohort / "scans" / "b.nii.gz")
    split = f"--config.data.split.file={cohort / 'parts.csv'}"
    whole = "--config.data.split.validation=0.0"
    assert main(command(cohort, "pretrain", *PUZZLE, split, whole, "--dry_run")) == 0
    said = capsys.readouterr().out
    assert (
        "1 of 4 cases are in another part as well: 'd' (test) has the same voxels as 'a' (train)"
        in said
    )
    assert "3 of 4 cases stand apart" in said and "--mode=prepare shows them all" in said
