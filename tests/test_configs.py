"""Every shipped config, shrunk, trains two steps; and its own sizes are what they say."""

import json

import nibabel as nib
import numpy as np
import pytest

from configs import pretrain
from rubik_jax import proxy
from rubik_jax.main import main

SMALLEST = {  # the smallest volume of a cohort, in voxels
    "phantom": (44, 52, 44),
    "hippocampus": (31, 40, 24),
    "haemorrhage": (230, 270, 30),
    "brats": (240, 240, 155),
}
VARIANTS = [*pretrain.COHORTS, "phantom,net=resnet", "phantom,grid=3", "folder,heads=joint"]


def cubes(c) -> proxy.Grid:
    return proxy.make_grid(c.proxy.counts, c.proxy.cube, c.proxy.gap, c.proxy.jitter)


@pytest.mark.parametrize("cohort", SMALLEST)
@pytest.mark.parametrize("grid", ["2", "3", "2x2x1"])
def test_windows_fit_the_smallest_volume(cohort, grid):
    if cohort == "haemorrhage" and grid == "3":
        grid = "3x3x2"  # three cubes along 30 slices would be 6 thin
    window = cubes(pretrain.get_config(f"cohort={cohort},grid={grid}")).window
    assert all(need <= have for need, have in zip(window, SMALLEST[cohort], strict=True))


def test_cubes_are_the_papers():
    assert pretrain.get_config("cohort=haemorrhage").proxy.cube == (64, 64, 12)
    assert pretrain.get_config("cohort=brats").proxy.cube == (64, 64, 64)


def test_last_features_keep_places():
    for cohort in pretrain.COHORTS:
        c = pretrain.get_config(f"cohort={cohort}")
        left = np.array(c.proxy.cube) // np.prod(c.model.encoder.strides, axis=0)
        assert left.min() >= 2, cohort


def test_unknown_arguments_are_refused():
    for text in ("cohort=mars", "net=unet", "grid=2x2", "grid=two", "debug=1", "colour=red"):
        with pytest.raises(ValueError, match="expected"):
            pretrain.get_config(text)


def write_cohort(c, folder) -> None:
    """Four cases with as many modalities as the config names, in its source's layout."""
    window = np.array(cubes(c).window) + 1
    rng = np.random.default_rng(0)
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    ends = [m.rpartition("*")[2] for m in c.data.modalities]
    for case in "abcd":
        for end in ends:
            image = nib.Nifti1Image(rng.uniform(0, 80, window).astype(np.float32), np.eye(4))
            nib.save(image, folder / "imagesTr" / f"{case}{end}")
        if c.data.source == "msd":
            label = nib.Nifti1Image(rng.integers(0, 3, window).astype(np.uint8), np.eye(4))
            nib.save(label, folder / "labelsTr" / f"{case}{ends[0]}")
    listed = [
        {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"}
        for case in "abcd"
    ]
    about = {"modality": {"0": "MRI"}, "training": listed}
    (folder / "dataset.json").write_text(json.dumps(about))


@pytest.mark.parametrize("variant", VARIANTS)
def test_shrunk_config_trains_two_steps(variant, tmp_path):
    c = pretrain.get_config(f"cohort={variant},debug")
    shrunk = [f"--config.data.path={tmp_path / 'data'}", f"--config.data.store={tmp_path / 's'}"]
    if c.data.source != "phantom":
        # As thin as it was along z, so that the strides of thin volumes are put to the test.
        c.proxy.cube, c.proxy.gap = tuple(min(side, 16) for side in c.proxy.cube), (1, 1, 1)
        shrunk += [f"--config.proxy.cube={c.proxy.cube}", "--config.proxy.gap=(1,1,1)"]
        write_cohort(c, tmp_path / "data")
    run = tmp_path / "run"
    command = [f"--config=configs/pretrain.py:cohort={variant},debug", f"--workdir={run}"]
    fast = ["--config.steps=2", "--config.batch_size=2"]
    assert main(["main", *command, *shrunk, *fast]) == 0
    lines = (run / "metrics.jsonl").read_text().splitlines()
    train = [r for r in map(json.loads, lines) if r["part"] == "train"]
    assert [r["step"] for r in train] == [1, 2]
    assert all(np.isfinite(r["loss"]) for r in train)
