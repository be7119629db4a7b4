"""Pre-training on videos, and what becomes of it on scans of one and of four modalities."""

import csv
import json
import re
import shutil
from pathlib import Path

import jax
import nibabel as nib
import numpy as np
import pytest

import rubik_jax
from configs import action, classify, pretrain
from rubik_jax import transfer
from rubik_jax.main import main
from tests.cohorts import write_brats
from tests.data.ucf import CLASSES, each, write_ucf101

ENCODER = [
    "--config.model.encoder.widths=(4,6)",
    "--config.model.encoder.convs=(1,1)",
    "--config.model.encoder.strides=((1,1,1),(2,2,2))",
    "--config.model.encoder.norm=none",
]
STEM = "stage0_conv0"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Videos in classes that differ in their colours, scans with masks and scans with classes."""
    folder = tmp_path_factory.mktemp("home")
    write_ucf101(folder / "ucf101")
    write_brats(folder / "brats", size=(18, 20, 16))
    for number in range(6):
        noise = np.random.default_rng(number).normal(size=(12, 12, 12)).astype(np.float32)
        kind = folder / "scans" / f"kind{number % 2}"
        kind.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(noise, np.eye(4)), kind / f"{number}.nii.gz")
    return folder


def command(home: Path, config: str, run: str, *more: str) -> list[str]:
    return [
        "main",
        f"--config=configs/{config},debug",
        f"--workdir={home / run}",
        f"--config.data.store={home / 'store'}",
        *ENCODER,
        *more,
    ]


@pytest.fixture(scope="module")
def seen(home) -> Path:
    """The run that has seen the videos."""
    more = [
        *(f"--config.data.path={home / 'ucf101'}", "--config.window=(16,16,8)"),
        *("--config.data.video.side=16", "--config.data.video.frames=8"),
        *("--config.steps=60", "--config.every.evaluate=20", "--config.optim.rate=0.02"),
        *("--config.every.log=20", "--config.every.checkpoint=60", "--config.model.scaling=none"),
        *("--config.augment.intensity=0.0", "--config.data.split.validation=0.3"),
    ]
    assert main(command(home, "action.py:cohort=phantom", "seen", *more)) == 0
    return home / "seen"


def test_classes_of_videos_are_learned_by_the_official_parts(seen):
    results = json.loads((seen / "results.json").read_text())
    assert results["test"]["accuracy"] > 0.6  # chance is a third
    parts = json.loads((seen / "split.json").read_text())
    assert len(parts["test"]) == len(each()) // 3
    groups = [{re.search(r"v_.*_g\d+", name)[0] for name in names} for names in parts.values()]
    assert len(set.union(*groups)) == sum(map(len, groups))


@pytest.mark.parametrize(
    ("config", "channels", "more"),
    [
        (
            "classify.py:cohort=folder",
            1,
            ["--config.data.path={home}/scans", "--config.window=(12,12,12)"],
        ),
        ("segment.py:cohort=brats", 4, ["--config.data.path={home}/brats"]),
    ],
)
def test_what_was_seen_in_colour_is_carried_over_to_scans(
    home, seen, capsys, config, channels, more
):
    more = [
        *(option.format(home=home) for option in more),
        *("--config.steps=1", "--config.optim.rate=0.0", "--config.every.evaluate=1"),
        *("--config.every.checkpoint=1", f"--config.init_from={seen}", "--config.batch_size=2"),
    ]
    more += ["--config.window=(12,12,12)"] if channels == 4 else []
    run = f"carried{channels}"
    assert main(command(home, config, run, *more)) == 0
    said = capsys.readouterr().out
    assert f"3 -> {channels} channels" in said and "encoder: 3 loaded" in said
    assert "1 adapted" in said and "has seen none of these cases" in said
    before, after = (rubik_jax.load_encoder(home / r)[1]["params"] for r in ("seen", run))
    expected = before | {STEM: dict(before[STEM])}
    expected[STEM]["kernel"] = transfer.adapt(np.asarray(before[STEM]["kernel"]), channels)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), after, expected)


def test_new_videos_are_predicted_in_the_way_of_the_run(home, seen, tmp_path, capsys):
    new = tmp_path / "new"
    for name in CLASSES:
        new.mkdir(exist_ok=True)
        for file in (home / "ucf101" / "UCF-101" / name).glob("*_g0[12]_c02.avi"):
            shutil.copy(file, new)
    (new / "notes.txt").touch()
    options = [f"--input={new}", f"--output={tmp_path / 'out'}"]
    predict = ["main", "--mode=predict", f"--workdir={seen}", *options]
    assert main(predict) == 0
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == sorted(path.stem for path in new.glob("*.avi"))
    right = [row["class"].lower() == row["case"].split("_")[1].lower() for row in rows]
    assert np.mean(right) > 0.6
    (new / "a.avi").write_bytes(b"RIFF1234AVI ")
    assert main(predict) == 2
    assert f"case 'a' cannot be read: {new / 'a.avi'} is damaged" in capsys.readouterr().err


def test_what_a_video_is_made_into_is_settled_by_the_run(seen, capsys):
    more = ["--config.data.video.frames=4"]
    assert main(["main", "--mode=evaluate", f"--workdir={seen}", *more]) == 2
    assert "config.data.video.frames was settled" in capsys.readouterr().err


@pytest.mark.parametrize("cohort", action.COHORTS)
@pytest.mark.parametrize("net", ["vgg", "resnet"])
def test_the_config_is_a_classification_by_the_cohorts_encoder(cohort, net):
    for clips in action.CLIPS:
        c = action.get_config(f"cohort={cohort},net={net},clips={clips}")
        side, frames = c.data.video.side, c.data.video.frames
        assert c.window == (side, side, frames)
        assert c.model.encoder == pretrain.encoder(cohort, net)
        assert not any(c.augment.flip)
        known = classify.get_config()
        assert {*c.to_dict()} == {*known.to_dict()} and c.task == "classify"
        reduced = np.array(c.window) // np.prod(c.model.encoder.strides, axis=0)
        assert reduced.min() >= 2
    with pytest.raises(ValueError, match="clips is 'kinetics'; expected one of ucf101, generated"):
        action.get_config("clips=kinetics")


def test_generated_clips_stand_in(home):
    more = [
        *(f"--config.data.path={home / 'clips'}", "--config.steps=2", "--config.batch_size=2"),
        *("--config.window=(16,16,8)", "--config.data.video.side=16"),
        "--config.data.video.frames=8",
    ]
    assert main(command(home, "action.py:clips=generated", "stand_in", *more)) == 0
    assert json.loads((home / "stand_in" / "results.json").read_text())["test"]["chance"] == 1 / 12
