"""Features by the command, against the encoder applied by hand; probes that leave training be."""

import csv
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rubik_jax
from rubik_jax import checkpoints, embed, proxy
from rubik_jax.main import main
from rubik_jax.report import records
from rubik_jax.train import fit
from tests.test_finetune import command, sentence, write
from tests.test_train import DESCRIPTION, PACE, CrashError, data, optimiser, same_bits, task

PUZZLE = ["--config.proxy.cube=(6,6,6)", "--config.proxy.gap=(1,1,1)"]
LABELS = "--config.data.labels=classes.csv"
PROBED = ["--config.every.probe=1", LABELS, "--config.steps=3"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    """Twelve scans of two classes, told apart by their noise, one of them of none."""
    folder = tmp_path_factory.mktemp("cohort")
    rows = ["case,class"]
    for number in range(12):
        rng = np.random.default_rng(number)
        scan = rng.random((15, 14, 13)) ** (1 + 3 * (number % 2))
        write(folder / "scans" / f"case{number:02d}.nii.gz", np.float32(scan), np.eye(4))
        rows += [f"case{number:02d},{'even' if number % 2 == 0 else 'odd'}"] * (number > 0)
    (folder / "classes.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def probed(cohort) -> Path:
    assert main(command(cohort, "pretrain", "probed", *PUZZLE, *PROBED)) == 0
    return cohort / "probed"


def embedded(*more: str) -> int:
    return main(["main", "--mode=embed", *more])


def read(folder: Path) -> tuple[dict[str, np.ndarray], list[dict[str, str]]]:
    with np.load(folder / "embeddings.npz") as arrays:
        found = dict(arrays)
    with (folder / "embeddings.csv").open(encoding="utf-8") as file:
        return found, list(csv.DictReader(file))


def prepared(cohort: Path, case: str) -> jax.Array:
    """The case's volume as the store holds it, whichever preprocessing came last."""
    volume = max(cohort.glob(f"store/{case}-*.npy"), key=lambda path: path.stat().st_mtime_ns)
    return jnp.asarray(np.load(volume), jnp.float32)


def test_features_are_the_encoders_averages_of_each_case(cohort, probed, capsys):
    assert embedded(f"--workdir={probed}") == 0
    said = capsys.readouterr().out
    arrays, rows = read(probed / "embeddings")
    split = json.loads((probed / "split.json").read_text())
    for name, part in zip(arrays["names"], arrays["part"], strict=True):
        assert name in split[part]
    assert [row["case"] for row in rows] == arrays["names"].tolist() == sorted(arrays["names"])
    assert [row["class"] for row in rows] == ["", *["odd", "even"] * 5, "odd"]
    np.testing.assert_array_equal([row["class"] for row in rows], arrays["target"])
    written = [[float(row[f"f{i}"]) for i in range(6)] for row in rows]
    np.testing.assert_allclose(written, arrays["features"], rtol=1e-5)
    assert arrays["stage0"].shape == (12, 4) and (arrays["stage1"] == arrays["features"]).all()
    assert json.loads(str(arrays["config"]))["task"] == "pretrain"

    # The window of 13 x 13 x 13 lies twice along x and y of 15 x 14 x 13 voxels, and once along z.
    module, variables = rubik_jax.load_encoder(probed)
    voxels = prepared(cohort, "case03")
    by_hand = [
        module.apply(variables, proxy.normalise(voxels[None, x : x + 13, y : y + 13]), False)[-1]
        for x in (0, 2)
        for y in (0, 1)
    ]
    expected = jnp.stack(by_hand).mean(axis=(0, 1, 2, 3, 4))
    np.testing.assert_allclose(arrays["features"][3], expected, rtol=1e-4, atol=1e-5)

    probe = json.loads((probed / "embeddings" / "probe.json").read_text())
    assert probe["classes"] == ["even", "odd"] and probe["linear_chance"] == 0.5
    named = [name for name in split["train"] if name != "case00"]
    assert probe["how"].startswith(f"fitted on {len(named)} training cases")
    assert "linear probe" in said and probe["how"] in said


def test_other_cases_are_in_no_part_and_cross_validated(cohort, probed, tmp_path, capsys):
    shutil.copytree(cohort / "scans", tmp_path / "scans")
    longer = np.random.default_rng(0).random((15, 14, 30))
    write(tmp_path / "scans" / "longer.nii.gz", np.float32(longer), np.eye(4))
    other = [f"--workdir={probed}", f"--config.data.path={tmp_path}"]
    assert embedded(*other) == 2
    assert "expected --output" in sentence(capsys)
    assert embedded(*other, f"--output={probed}") == 2
    assert "is a run" in sentence(capsys)

    one, two = tmp_path / "one", tmp_path / "two"
    for output in (one, two):
        assert embedded(*other, "--config.data.labels=", f"--output={output}") == 0
        assert "no probe: the cases have no class" in capsys.readouterr().out
    for file in ("embeddings.npz", "embeddings.csv"):
        assert (one / file).read_bytes() == (two / file).read_bytes()
    arrays, _ = read(one)
    assert arrays["names"][-1] == "longer" and not any(arrays["part"]) and not any(arrays["target"])

    (tmp_path / "classes.csv").write_text((cohort / "classes.csv").read_text())
    assert embedded(*other, f"--output={one}") == 0
    probe = json.loads((one / "probe.json").read_text())
    assert probe["how"] == "5-fold cross-validation over 11 cases"
    assert embedded(*other, "--config.data.labels=", f"--output={one}") == 0
    assert not (one / "probe.json").exists()  # it would be of other classes


@pytest.mark.parametrize("batch_size", [1, 4, 50])
def test_windows_of_several_volumes_share_a_batch(batch_size):
    rng = np.random.default_rng(0)
    volumes = [rng.random((*size, 2)).astype(np.float16) for size in ((4, 8, 6), (9, 4, 5))]
    volumes.append(np.ones((2, 4, 5, 2), np.float16))  # is padded to the window

    def corners(windows):
        assert windows.shape == (batch_size, 4, 4, 5, 2)
        return windows[:, 0, 0, 0]

    found = embed.embed(corners, volumes, window=(4, 4, 5), batch_size=batch_size)
    tiled = [volumes[0][0, ::4, :2][:2], volumes[1][[0, 2, 5], 0, :1], volumes[2][:1, 0, :1]]
    expected = [np.float32(each).mean(axis=(0, 1)) for each in tiled]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_probing_changes_nothing_that_is_trained(cohort, probed):
    found = [r for r in records.read(probed / "metrics.jsonl") if r["part"] == "probe"]
    assert [r["step"] for r in found] == [0, 1, 2, 3]
    for name in ("knn", "linear"):
        assert all(0 <= r[f"{name}_accuracy"] <= 1 for r in found)
        assert {r[f"{name}_chance"] for r in found} == {1}  # there is one validation case
    assert main(command(cohort, "pretrain", "plain", *PUZZLE, LABELS, "--config.steps=3")) == 0
    plain, same = (
        checkpoints.read(checkpoints.find(cohort / name)) for name in ("plain", "probed")
    )
    assert same_bits(plain, same)


def test_probes_of_a_resumed_run_are_those_of_the_uninterrupted_one(tmp_path):
    def go(folder: Path, crash_at: int | None = None) -> list[dict]:
        folder.mkdir(exist_ok=True)
        the_task, pace = task(), PACE._replace(probe=1)
        where = data(the_task, pace, crash_at=crash_at)._replace(probe=summed)
        options = {"description": DESCRIPTION, "pace": pace, "seed": 0}
        fit(the_task, optimiser(pace, "adamw"), where, folder, **options)
        return [r for r in records.read(folder / "metrics.jsonl") if r["part"] == "probe"]

    whole = go(tmp_path / "whole")
    assert [r["step"] for r in whole] == [0, 1, 2, 3, 4, 5, 6]
    assert len({r["linear_auc"] for r in whole}) == 7
    for crash_at in (1, 5):  # before there is a checkpoint, and after
        with pytest.raises(CrashError):
            go(tmp_path / "run", crash_at)
    assert go(tmp_path / "run") == whole


def summed(variables) -> dict[str, float]:
    """Stands for a probe: what the weights come to, under the names of its numbers."""
    names = ("accuracy", "balanced_accuracy", "auc", "chance")
    total = float(sum(np.abs(leaf).sum() for leaf in jax.tree.leaves(variables)))
    return {f"{probe}_{name}": total for probe in ("knn", "linear") for name in names} | {
        "majority": total
    }


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--config.data.labels="], ["every.probe is 1", "no class", "config.data.labels"]),
        (["--config.data.split.validation=0.0"], ["no validation case", "data.split.validation"]),
        (["--config.every.probe=-1"], ["every.probe is -1", "0 or a multiple"]),
        (["--config.every.probe=3", "--config.steps_per_call=2"], ["steps_per_call"]),
    ],
)
def test_probes_that_cannot_be_are_refused_before_anything_runs(cohort, capsys, more, words):
    given = {override.partition("=")[0] for override in more}
    kept = [each for each in PROBED if each.partition("=")[0] not in given]
    assert main(command(cohort, "pretrain", "refused", *PUZZLE, *kept, *more)) == 2
    said = sentence(capsys)
    assert all(word in said for word in words), said
    assert not (cohort / "refused").exists()


def test_features_of_a_classifier_are_scaled_as_it_was_trained(cohort):
    more = ["--config.window=(15,14,13)", "--config.model.scaling=none", LABELS]
    assert main(command(cohort, "classify", "classes", *more)) == 0
    assert embedded(f"--workdir={cohort / 'classes'}") == 0
    arrays, _ = read(cohort / "classes" / "embeddings")
    assert dict(zip(arrays["names"], arrays["part"], strict=True))["case00"] == ""  # has no class
    module, variables = rubik_jax.load_encoder(cohort / "classes")
    by_hand = module.apply(variables, prepared(cohort, "case00")[None], False)[-1]
    expected = by_hand.mean(axis=(0, 1, 2, 3))
    np.testing.assert_allclose(arrays["features"][0], expected, rtol=1e-4, atol=1e-5)
