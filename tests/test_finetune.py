"""From a pre-training to masks and classes, by the commands that a user types."""

import csv
import json
import shutil
import signal
from pathlib import Path

import jax
import nibabel as nib
import numpy as np
import pytest

from configs import segment
from rubik_jax import checkpoints, keeping
from rubik_jax.data import volumes
from rubik_jax.errors import Interrupted
from rubik_jax.main import main
from rubik_jax.modes import predicting
from tests.files import declare

ENCODER = [
    "--config.model.encoder.widths=(4,6)",
    "--config.model.encoder.convs=(1,1)",
    "--config.model.encoder.strides=((1,1,1),(2,2,2))",
    # So few channels are groups of one each, which would leave an average nothing to tell.
    "--config.model.encoder.norm=none",
]
CASES = "abcdefgh"


def write(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    """Eight scans in LAS order with a bright ball, its mask (label 5), and classes by the noise."""
    folder = tmp_path_factory.mktemp("cohort")
    affine = np.diag([-1.0, 1, 2, 1])
    rows = ["case,class"]
    for number, case in enumerate(CASES):
        rng = np.random.default_rng(number)
        grid = np.stack(np.meshgrid(*map(np.arange, (15, 14, 13)), indexing="ij"))
        noise = 1 if number % 2 else 8
        ball = np.linalg.norm(grid - rng.uniform(5, 8, (3, 1, 1, 1)), axis=0) < 4
        scan = rng.normal(20, noise, ball.shape) + 60 * ball
        write(folder / "scans" / f"{case}.nii.gz", scan.astype(np.float32), affine)
        write(folder / "masks" / f"{case}.nii.gz", (5 * ball).astype(np.uint8), affine)
        rows.append(f"{case},{'clear' if number % 2 else 'noisy'}")
    (folder / "classes.csv").write_text("\n".join(rows))
    return folder


def command(cohort: Path, task: str, run: str, *more: str) -> list[str]:
    given = {override.partition("=")[0] for override in more}
    return [
        "main",
        f"--config=configs/{task}.py:cohort=folder,debug",
        f"--workdir={cohort / run}",
        f"--config.data.path={cohort}",
        "--config.data.modalities=('scans/*.nii.gz',)",
        f"--config.data.store={cohort / 'store'}",
        *(override for override in ENCODER if override.partition("=")[0] not in given),
        *more,
    ]


PUZZLE = ["--config.proxy.cube=(6,6,6)", "--config.proxy.gap=(1,1,1)"]
SUPERVISED = [
    "--config.window=(12,12,12)",
    "--config.steps=40",
    "--config.every.log=20",
    "--config.every.evaluate=20",
    "--config.every.checkpoint=20",
    "--config.optim.rate=0.02",
    "--config.augment.affine=0.0",
]
SEGMENT = [*SUPERVISED, "--config.data.masks=masks/*.nii.gz", "--config.data.foreground=0.5"]
CLASSIFY = [
    *(option for option in SUPERVISED if "steps" not in option),
    "--config.steps=200",
    "--config.augment.noise=0.0",
    "--config.augment.blur=0.0",
    "--config.data.labels=classes.csv",
]


@pytest.fixture(scope="module")
def pretrained(cohort) -> Path:
    assert main(command(cohort, "pretrain", "pre", *PUZZLE)) == 0
    return cohort / "pre"


@pytest.fixture(scope="module")
def segmented(cohort, pretrained) -> Path:
    more = [*SEGMENT, f"--config.init_from={pretrained}", "--config.data.labelled=4"]
    assert main(command(cohort, "segment", "seg", *more)) == 0
    return cohort / "seg"


@pytest.fixture(scope="module")
def classified(cohort, pretrained) -> Path:
    more = [*CLASSIFY, f"--config.init_from={pretrained}"]
    assert main(command(cohort, "classify", "cls", *more)) == 0
    return cohort / "cls"


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def sentence(capsys) -> str:
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("rubik_jax: "), said
    return said


def test_segmentation_learns_and_is_reported_case_by_case(pretrained, segmented):
    results = json.loads((segmented / "results.json").read_text())
    assert results["test"]["foreground_dice"] > 0.5
    split, before = (
        json.loads((run / "split.json").read_text()) for run in (segmented, pretrained)
    )
    assert split["test"] == before["test"] and len(split["train"]) == 4
    assert set(split["train"]) < set(before["train"])
    rows = read_rows(segmented / "cases.csv")
    assert [row["case"] for row in rows] == split["test"]
    mean = np.mean([float(row["dice_5"]) for row in rows])
    assert np.isclose(mean, results["test"]["dice_5"], atol=1e-4)
    page = (segmented / "report.html").read_text()
    assert all(case in page for case in split["test"])


def test_weights_come_from_the_pre_training_and_the_rest_is_new(cohort, pretrained, capsys):
    more = [*SEGMENT, f"--config.init_from={pretrained}", "--dry_run"]
    assert main(command(cohort, "segment", "dry", *more)) == 0
    said = capsys.readouterr().out
    assert "encoder: 4 loaded" in said and "decoder: " in said and " new" in said
    assert "a dry run: nothing was trained" in said and "s a step" in said
    assert not (cohort / "dry").exists()


def test_masks_are_predicted_on_the_scans_own_grid(cohort, segmented, tmp_path):
    new = tmp_path / "new" / "scans"
    shutil.copytree(cohort / "scans", new)
    options = [f"--input={new.parent}", f"--output={tmp_path / 'out'}"]
    more = ["--config.inference.probabilities=True", "--config.inference.mirror=(0,)"]
    assert main(["main", "--mode=predict", f"--workdir={segmented}", *options, *more]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 2 * len(CASES)
    for case in CASES:
        scan, mask = (
            nib.load(folder / f"{case}.nii.gz") for folder in (cohort / "scans", tmp_path / "out")
        )
        assert mask.shape == scan.shape and (mask.affine == scan.affine).all()
        found = mask.get_fdata()
        assert set(np.unique(found)) <= {0, 5}
        shares = nib.load(tmp_path / "out" / f"{case}_probabilities.nii.gz").get_fdata()
        np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=1e-4)
        np.testing.assert_array_equal(shares.argmax(axis=-1) * 5, found)
        bright = scan.get_fdata() > 50
        assert 2 * (bright & (found == 5)).sum() / (bright.sum() + (found == 5).sum()) > 0.5


def test_a_run_is_evaluated_again_and_on_other_labelled_scans(cohort, segmented, tmp_path, capsys):
    results = (segmented / "results.json").read_text()
    (segmented / "results.json").unlink()
    assert main(["main", "--mode=evaluate", f"--workdir={segmented}"]) == 0
    assert (segmented / "results.json").read_text() == results
    for folder in ("scans", "masks"):
        for path in (cohort / folder).glob("[ab].nii.gz"):
            target = tmp_path / folder / f"new_{path.name}"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    for path in (tmp_path / "masks").glob("*"):
        known = nib.load(path)
        write(tmp_path / "six" / path.name, np.uint8(known.dataobj) + 1, known.affine)
    shutil.copytree(tmp_path / "scans", tmp_path / "other")
    other = ["main", "--mode=evaluate", f"--workdir={segmented}", f"--config.data.path={tmp_path}"]
    assert main(other) == 2
    assert "--output" in sentence(capsys)
    assert main([*other, f"--output={tmp_path / 'out'}"]) == 0
    assert [row["case"] for row in read_rows(tmp_path / "out" / "cases.csv")] == ["new_a", "new_b"]
    assert (segmented / "results.json").read_text() == results
    capsys.readouterr()
    for more, words in (
        (["--config.window=(8,8,8)"], ["config.window was settled"]),
        (["--config.data.intensity.high=50.0"], ["config.data.intensity.high was settled"]),
        ([f"--output={segmented}"], ["is a run"]),
        (
            [
                "--config.data.modalities=('scans/*.nii.gz','other/*.nii.gz')",
                f"--output={tmp_path / 'two'}",
            ],
            ["have 2 modalities, those of the run 1"],
        ),
        (
            ["--config.data.masks=six/*.nii.gz", f"--output={tmp_path / 'six'}"],
            ["the labels [1, 6], which the run doesn't know", "[0, 5]"],
        ),
    ):
        assert main([*other, *more]) == 2
        said = sentence(capsys)
        assert all(word in said for word in words), said


def test_classes_are_learned_reported_and_predicted(cohort, classified, tmp_path):
    results = json.loads((classified / "results.json").read_text())
    assert {"accuracy", "balanced_accuracy", "auc", "confusion"} <= results["test"].keys()
    assert checkpoints.describe(checkpoints.find(classified))["classes"] == ["clear", "noisy"]
    options = [f"--input={cohort / 'scans'}", f"--output={tmp_path / 'out'}"]
    more = ["--config.data.modalities=('*.nii.gz',)", "--config.inference.overlap=0.25"]
    assert main(["main", "--mode=predict", f"--workdir={classified}", *options, *more]) == 0
    rows = read_rows(tmp_path / "out" / "predictions.csv")
    assert [row["case"] for row in rows] == list(CASES)
    truth = dict(row.values() for row in read_rows(cohort / "classes.csv"))
    assert sum(row["class"] == truth[row["case"]] for row in rows) >= 6
    for row in rows:
        assert np.isclose(float(row["p_clear"]) + float(row["p_noisy"]), 1, atol=1e-5)


def test_a_broken_off_fine_tuning_ends_as_the_whole_one(cohort, segmented, monkeypatch):
    """Resumed it takes its own weights and split, and needs the run that it came from no more."""
    borrowed = cohort / "borrowed"
    (cohort / "pre").rename(borrowed)
    (cohort / "pre").symlink_to(borrowed)
    more = [*SEGMENT, f"--config.init_from={cohort / 'pre'}", "--config.data.labelled=4"]
    report = keeping.Keeper.report

    def broken(keeper, step: int) -> str:
        if step == 40:
            raise Interrupted(signal.SIGINT)
        return report(keeper, step)

    try:
        monkeypatch.setattr(keeping.Keeper, "report", broken)
        assert main(command(cohort, "segment", "again", *more)) == 130
        monkeypatch.undo()
        (cohort / "pre").unlink()
        assert main(command(cohort, "segment", "again", *more)) == 0
    finally:
        (cohort / "pre").unlink(missing_ok=True)
        borrowed.rename(cohort / "pre")
    whole, again = (
        checkpoints.read(checkpoints.find(run, "latest")) for run in (segmented, cohort / "again")
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, whole, again))


NAMES = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}


def test_regions_are_trained_on_reported_and_predicted_as_labels(tmp_path, capsys):
    """Decathlon's numbering, which the preset of BraTS takes from the names in dataset.json."""
    affine, cases = np.eye(4), [f"BRATS_{i:03d}" for i in range(5)]
    for number, case in enumerate(cases):
        rng = np.random.default_rng(number)
        grid = np.stack(np.meshgrid(*3 * [np.arange(14)], indexing="ij"))
        away = np.linalg.norm(grid - rng.uniform(5, 8, (3, 1, 1, 1)), axis=0)
        mask = np.select([away < 2, away < 3.5, away < 5], [2, 3, 1])
        scan = rng.normal(5, 1, mask.shape) + np.array([0, 30, 60, 90])[mask]
        write(tmp_path / "imagesTr" / f"{case}.nii.gz", scan.astype(np.float32), affine)
        write(tmp_path / "labelsTr" / f"{case}.nii.gz", mask.astype(np.uint8), affine)
    training = [{what: f"{what}sTr/{c}.nii.gz" for what in ("image", "label")} for c in cases]
    declare(tmp_path, modality={"0": "T1gd"}, labels=NAMES, training=training)
    run = [
        "main",
        "--config=configs/segment.py:cohort=brats,debug",
        f"--workdir={tmp_path / 'run'}",
        "--config.data.source=msd",
        f"--config.data.path={tmp_path}",
        f"--config.data.store={tmp_path / 'store'}",
        *(option for option in (*ENCODER, *SUPERVISED) if "every" not in option),
        "--config.regions.train=True",
    ]
    assert main([*run, "--config.regions.preset=brats_2023"]) == 2
    assert "which the source calls 'edema'; expected decathlon" in sentence(capsys)
    assert main(run) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["regions"] == {"whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}
    assert results["test"]["dice_whole"] > 0.8 and results["test"]["cases_with_dice_core"] == 1
    told = checkpoints.describe(checkpoints.find(tmp_path / "run"))
    assert (told["order"], told["edition"], told["values"]) == (
        [1, 2, 3],
        "decathlon",
        [0, 1, 2, 3],
    )
    out = tmp_path / "out"
    options = [f"--workdir={tmp_path / 'run'}", f"--output={out}"]
    assert main(["main", "--mode=predict", *options, f"--input={tmp_path}"]) == 0
    (case,) = told["split"]["test"]
    mask, truth = (
        np.asarray(nib.load(folder / f"{case}.nii.gz").dataobj)
        for folder in (out, tmp_path / "labelsTr")
    )
    both = np.count_nonzero((mask > 0) & (truth > 0))
    dice = 2 * both / (np.count_nonzero(mask) + np.count_nonzero(truth))
    assert dice == pytest.approx(results["test"]["dice_whole"])
    capsys.readouterr()
    other = ["--config.data.path=" + str(tmp_path), "--config.regions.preset=none"]
    assert main(["main", "--mode=evaluate", *options, *other]) == 2
    assert "config.regions was settled" in sentence(capsys)


MISTAKES = {
    "no run there": (["--config.init_from=/nowhere"], ["/nowhere", "split.json"]),
    "other widths": (
        ["--config.model.encoder.widths=(4,8)"],
        ["config.model.encoder.widths is (4, 8) here and (4, 6) there"],
    ),
    "other norm": (["--config.model.encoder.norm=group"], ["config.model.encoder.norm"]),
    "deeper trunk": (
        [
            "--config.model.encoder.widths=(4,6,8)",
            "--config.model.encoder.convs=(1,1,1)",
            "--config.model.encoder.strides=((1,1,1),(2,2,2),(2,2,2))",
        ],
        ["encoder/stage2_conv0", "missing"],
    ),
    "unknown knob": (["--config.optim.ratee=1"], ["config.optim.ratee is no knob"]),
    "window of two axes": (["--config.window=(12,12)"], ["config.window is (12, 12)"]),
    "nothing to learn": (
        ["--config.loss.cross_entropy=0.0", "--config.loss.dice=0.0"],
        ["config.loss.cross_entropy and config.loss.dice are both 0"],
    ),
    "part that is no name": (["--config.transfer.partial=(1,)"], ["config.transfer.partial"]),
    "flag of another mode": (["--input=x"], ["--input is for --mode=predict"]),
    "unknown checkpoint": (["--config.transfer.checkpoint=first"], ["config.transfer.checkpoint"]),
    "too many labelled": (["--config.data.labelled=9"], ["config.data.labelled"]),
    "unknown scaling": (["--config.model.scaling=log"], ["config.model.scaling is 'log'"]),
    "flip of two axes": (["--config.augment.flip=(True,False)"], ["config.augment.flip"]),
    "weights of other classes": (["--config.loss.class_weights=(1.0,2.0,3.0)"], ["class_weights"]),
    "frozen for ever": (["--config.optim.encoder.freeze=99"], ["config.optim.encoder.freeze"]),
    "no masks": (["--config.data.masks="], ["none of the 8 cases has a mask"]),
    "overlap of all": (["--config.inference.overlap=1.0"], ["config.inference.overlap"]),
    "unknown regions": (["--config.regions.preset=lungs"], ["config.regions.preset is 'lungs'"]),
}


CLASSES = {  # cases of class x, cases of class y, options -> words
    "one class": ("abcdefgh", "", [], ["all 8 cases", "'x'; expected at least two classes"]),
    "two cases of two classes": ("a", "b", [], ["class '", "has no training case (1 in test)"]),
    "rare class that is tested": (
        "abcdefg",
        "h",
        ["--config.data.split.file={root}/split.csv"],
        ["class 'y' has no training case (1 in test)", "config.data.labels", "config.data.split"],
    ),
    "fewer labels than classes": (
        "abcd",
        "efgh",
        ["--config.data.labelled=1"],
        ["config.data.labelled is '1'", "2 classes"],
    ),
}


@pytest.mark.parametrize("what", CLASSES)
def test_a_class_that_could_not_be_learned_is_refused_before_anything_is_prepared(
    cohort, tmp_path, capsys, what
):
    first, second, more, words = CLASSES[what]
    rows = [*(f"{case},x" for case in first), *(f"{case},y" for case in second)]
    (tmp_path / "classes.csv").write_text("\n".join(["case,class", *rows]))
    parts = [f"{case},{'test' if case == 'h' else 'train'}" for case in CASES]
    (tmp_path / "split.csv").write_text("\n".join(["case,part", *parts]))
    options = [
        *SUPERVISED,
        "--config.data.labels=classes.csv",
        *(each.format(root=tmp_path) for each in more),
    ]
    shutil.copytree(cohort / "scans", tmp_path / "scans")
    assert main(command(tmp_path, "classify", "wrong", *options)) == 2
    said = sentence(capsys)
    assert all(word in said for word in words), said
    assert not (tmp_path / "wrong").exists() and not (tmp_path / "store").exists()


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_get_one_sentence_and_status_2(cohort, pretrained, capsys, what):
    more, words = MISTAKES[what]
    given = {override.partition("=")[0] for override in more}
    rest = [*SEGMENT, f"--config.init_from={pretrained}"]
    kept = [override for override in rest if override.partition("=")[0] not in given]
    assert main(command(cohort, "segment", "wrong", *kept, *more)) == 2
    said = sentence(capsys)
    assert all(word in said for word in words), said
    assert not (cohort / "wrong").exists()


def test_a_test_case_that_the_pre_training_saw_is_refused(cohort, pretrained, capsys):
    more = [
        *SEGMENT,
        f"--config.init_from={pretrained}",
        "--config.data.split.folds=4",
        "--config.data.split.fold=1",
    ]
    assert main(command(cohort, "segment", "folds", *more)) == 2
    assert "config.data.split.seen" in sentence(capsys)
    more += ["--config.data.split.seen=('*',)", "--dry_run"]
    assert main(command(cohort, "segment", "folds", *more)) == 0


def test_what_was_seen_is_remembered_over_several_runs(cohort, segmented, capsys):
    """The fine-tuning had four of the five training cases of the run that it came from."""
    before = json.loads((cohort / "pre" / "split.json").read_text())
    kept = json.loads((segmented / "split.json").read_text())
    (left,) = set(before["train"]) - set(kept["train"])
    rest = [case for case in CASES if case != left]
    parts = cohort / "parts.json"
    parts.write_text(json.dumps({"train": rest, "validation": [], "test": [left]}))
    more = [*SEGMENT, f"--config.init_from={segmented}", f"--config.data.split.file={parts}"]
    assert main(command(cohort, "segment", "third", *more)) == 2
    assert f"test case {left!r}" in sentence(capsys)


def test_the_twin_from_scratch_is_tested_on_the_same_cases(cohort, pretrained, capsys):
    more = [*SEGMENT, f"--config.data.split.run={pretrained}", "--config.data.split.seed=5"]
    assert main(command(cohort, "segment", "twin", *more, "--dry_run")) == 0
    said = capsys.readouterr().out
    assert f"the split is that of {pretrained}" in said and "all weights are new" in said


def test_an_override_that_is_given_twice_is_refused(cohort, capsys):
    twice = ["--config.window=(12,12,12)", "--config.window=(8,8,8)"]
    assert main([*command(cohort, "segment", "twice"), *twice]) == 2
    assert "config.window is given 2 times" in sentence(capsys)


@pytest.mark.parametrize(
    ("channels", "ending"), [(1, "{}.nii.gz"), (1, "{}_0000.nii.gz"), (2, "{}.nii.gz")]
)
def test_scans_are_found_where_a_decathlon_keeps_them(tmp_path, channels, ending):
    """Masks beside them are no scans, and a number at the end is no part of a name."""
    shape = (5, 6, 7) if channels == 1 else (5, 6, 7, channels)
    scan = np.random.default_rng(0).random(shape).astype(np.float32)
    for case in "ab":
        write(tmp_path / "imagesTr" / ending.format(case), scan, np.eye(4))
        write(tmp_path / "labelsTr" / f"{case}.nii.gz", np.ones((5, 6, 7), np.uint8), np.eye(4))
    config = segment.get_config("cohort=hippocampus")
    cases = predicting._scans(config, tmp_path, channels).cases
    assert [case.name for case in cases] == ["a", "b"]
    read = [volumes.read(case.images, channels=case.channels) for case in cases]
    assert all(volume.array.shape == (5, 6, 7, channels) for volume in read)


def test_a_pre_training_predicts_nothing(pretrained, cohort, capsys):
    options = [f"--input={cohort / 'scans'}", f"--output={cohort / 'none'}"]
    assert main(["main", "--mode=predict", f"--workdir={pretrained}", *options]) == 2
    assert "pre-training" in sentence(capsys)
    assert main(["main", "--mode=predict", f"--workdir={pretrained}"]) == 2
    assert "--input is missing" in sentence(capsys)
