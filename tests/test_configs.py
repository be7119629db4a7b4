"""Every shipped config, shrunk, comes to a step that fits its data; its sizes are what they say."""

import importlib
import json

import jax
import nibabel as nib
import numpy as np
import pytest

from configs import classify, contrast, pretrain, reconstruct, restore, segment
from rubik_jax import knobs, parallel, proxy
from rubik_jax.main import main
from rubik_jax.step import example_keys, make_settings, make_state, make_step
from rubik_jax.types import DEVICES
from tests.cohorts import write_brats, write_haemorrhage

SMALLEST = {  # the smallest volume of a cohort, in voxels
    "phantom": (44, 52, 44),
    "hippocampus": (31, 40, 24),
    "haemorrhage": (230, 270, 30),
    "brats": (240, 240, 155),
    "acdc": (128, 128, 6),
    "head_ct": (128, 128, 19),
    "adrenal": (28, 28, 28),
}
VARIANTS = [
    *(cohort for cohort in pretrain.COHORTS if cohort != "folder"),
    "phantom,grid=3",
    "phantom,proxy=ordering",
    "phantom,proxy=rotation",
    "phantom,proxy=plus",
    "phantom,heads=paper",
    "folder,heads=joint",
]


def cubes(c) -> proxy.Grid:
    return proxy.make_grid(c.proxy.counts, c.proxy.cube, c.proxy.gap, c.proxy.jitter)


@pytest.mark.parametrize("cohort", SMALLEST)
@pytest.mark.parametrize("grid", ["2", "3", "2x2x1"])
def test_windows_fit_the_smallest_volume(cohort, grid):
    if cohort == "haemorrhage" and grid == "3":
        grid = "3x3x2"  # three cubes along 30 slices would be 6 thin
    window = cubes(pretrain.get_config(f"cohort={cohort},grid={grid}")).window
    assert all(need <= have for need, have in zip(window, SMALLEST[cohort], strict=True))


@pytest.mark.parametrize(("grid", "orders"), [("1x1x2", 2), ("1x2x2", 24), ("2", 100), ("3", 100)])
def test_a_grid_has_no_more_orders_than_its_cubes_allow(grid, orders):
    assert pretrain.get_config(f"grid={grid}").proxy.num_orders == orders


@pytest.mark.parametrize("grid", ["9", "1", "0", "2x2", "a"])
def test_a_grid_that_cannot_be_is_to_blame_itself(grid):
    with pytest.raises(ValueError, match=f"grid is '{grid}'"):
        pretrain.get_config(f"grid={grid}")


def test_cubes_are_the_papers():
    assert pretrain.get_config("cohort=haemorrhage").proxy.cube == (64, 64, 12)
    assert pretrain.get_config("cohort=brats").proxy.cube == (64, 64, 64)


def test_last_features_keep_places():
    for cohort in pretrain.COHORTS:
        c = pretrain.get_config(f"cohort={cohort}")
        left = np.array(c.proxy.cube) // np.prod(c.model.encoder.strides, axis=0)
        assert left.min() >= 2, cohort


@pytest.mark.parametrize("game", [reconstruct, restore, contrast])
def test_other_games_have_the_window_the_encoder_and_the_budget_of_the_puzzle(game):
    for cohort in pretrain.COHORTS:
        c, before = (m.get_config(f"cohort={cohort}") for m in (game, pretrain))
        assert c.window == cubes(before).window, cohort
        assert c.model.encoder == before.model.encoder, cohort
        for shared in ("steps", "batch_size", "optim", "data", "augment", "evaluate"):
            assert c[shared] == before[shared], (cohort, shared)
        knobs.check(c.to_dict(), game.get_config().to_dict(), c.task)
        for sides in ("block", "box", "view"):
            proxy.check_sides(sides, c.proxy.get(sides, (1, 1, 1)), c.window)


def test_the_papers_heads_have_neither_a_hidden_layer_nor_a_curriculum():
    c = pretrain.get_config("cohort=brats,heads=paper")
    assert (c.model.heads, c.model.hidden) == ("paper", 0)
    assert set(c.proxy.curriculum.to_dict().values()) == {0}


@pytest.mark.parametrize("heads", ["paper", "tied", "joint"])
def test_parts_of_the_puzzle_are_the_puzzle_without_the_others(heads):
    rubik, ordering, rotation, plus = (
        pretrain.get_config(f"proxy={name},heads={heads}")
        for name in ("rubik", "ordering", "rotation", "plus")
    )
    assert (ordering.proxy.orders, ordering.proxy.turns) == ("greedy", "none")
    assert (rotation.proxy.orders, rotation.proxy.turns) == ("none", "half")
    assert rotation.proxy.curriculum.hold == 0  # or there would be nothing to learn at first
    assert (rubik.proxy.masking, plus.proxy.masking) == (0, 0.5)
    for part in (ordering, rotation, plus):
        assert part.model == rubik.model
        assert (part.steps, part.proxy.cube) == (rubik.steps, rubik.proxy.cube)


def test_unknown_arguments_are_refused():
    for text in (
        "cohort=mars",
        "net=unet",
        "grid=2x2",
        "grid=two",
        "proxy=all",
        "debug=1",
        "colour=red",
    ):
        with pytest.raises(ValueError, match="expected"):
            pretrain.get_config(text)
    for game in (reconstruct, restore, contrast):
        for text in ("cohort=mars", "net=unet", "grid=2", "proxy=rubik"):
            with pytest.raises(ValueError, match="expected"):
                game.get_config(text)


def write_cohort(c, folder, size) -> None:
    """Eight cases in the layout that the config reads, one of the window's size or more."""
    if c.data.source == "brats":
        write_brats(folder, cases=8, size=size)
    elif c.data.get("labels") == "causes.csv":
        write_haemorrhage(folder, size=size)
    elif c.data.source == "medmnist3d":
        write_medmnist(folder)
    elif c.data.modalities and c.data.modalities[0].startswith("images/"):
        write_frames(folder, size)
    else:
        write_msd(folder, size, c.data.get("labels") == "folders")
        if c.data.source != "msd":
            (folder / "dataset.json").unlink()


def write_medmnist(file) -> None:
    rng = np.random.default_rng(0)
    parts = {"train": 8, "val": 4, "test": 4}
    arrays = {}
    for part, count in parts.items():
        arrays[f"{part}_images"] = rng.integers(0, 2, (count, 28, 28, 28), np.uint8) * 255
        arrays[f"{part}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 2
    np.savez(file, **arrays)


def write_frames(folder, size) -> None:
    """Two images of each of eight patients, their masks by both names, and a table of classes."""
    rng = np.random.default_rng(0)
    names = [f"patient{n}_{phase}" for n in range(8) for phase in ("ed", "es")]
    for kind, high in (("images", 255), ("masks", 3), ("oedema", 2)):
        (folder / kind).mkdir(parents=True)
        for name in names:
            voxels = rng.integers(0, high, size).astype(np.uint8)
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / kind / f"{name}.nii.gz")
    rows = [f"{name},{'xy'[int(name[7]) % 2]}" for name in names]
    (folder / "classes.csv").write_text("\n".join(["case,class", *rows]))


def write_msd(folder, size, by_class: bool) -> None:
    """Images and masks with a dataset.json, or images in a folder for each class."""
    rng = np.random.default_rng(0)
    (folder / "labelsTr").mkdir(parents=True)
    for number, case in enumerate("abcdefgh"):
        home = folder / (f"class{number % 2}" if by_class else "imagesTr")
        home.mkdir(exist_ok=True)
        image = nib.Nifti1Image(rng.uniform(0, 80, size).astype(np.float32), np.eye(4))
        nib.save(image, home / f"{case}.nii.gz")
        if not by_class:
            label = nib.Nifti1Image(rng.integers(0, 3, size).astype(np.uint8), np.eye(4))
            nib.save(label, folder / "labelsTr" / f"{case}.nii.gz")
    listed = [
        {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"}
        for case in "abcdefgh"
    ]
    (folder / "dataset.json").write_text(json.dumps({"modality": {"0": "MRI"}, "training": listed}))


def command(task, variant, c, tmp_path, *overrides) -> list[str]:
    name = "data.npz" if c.data.source == "medmnist3d" else "data"
    places = {"path": tmp_path / name, "store": tmp_path / "store"}
    return [
        "main",
        f"--config=configs/{task}.py:cohort={variant},debug",
        f"--workdir={tmp_path / 'run'}",
        *(f"--config.data.{knob}={place}" for knob, place in places.items()),
        "--config.steps=2",
        "--config.batch_size=2",
        *overrides,
    ]


def shape(x) -> tuple:
    return x.shape, x.dtype


def trace(task, optimiser, data, workdir, *, pace, seed, initial=None, **_) -> None:
    """In the place of `fit`: traces a step and an evaluation on the run's own batches.

    That shows all that two steps would show of a config, and costs no compilation; what steps
    compute is tested elsewhere.
    """
    assert initial is None
    key = jax.random.key(seed)
    per_device = parallel.per_device(pace.batch_size, pace.accumulate)
    step = make_step(
        task,
        optimiser,
        per_device=per_device,
        accumulate=pace.accumulate,
        steps_per_call=1,
        unroll=False,
    )
    state = jax.eval_shape(
        lambda key: parallel.replicate(make_state(task.init(key), optimiser)), key
    )
    batch = parallel.shard(next(data.training(0, 1)), axis=1)
    after, metrics = jax.eval_shape(
        jax.pmap(step, axis_name=DEVICES),
        *(state, batch, None, parallel.replicate(make_settings(seed, optimiser))),
    )
    assert jax.tree.map(shape, after) == jax.tree.map(shape, state)
    assert "loss" in metrics

    def evaluated(key, batch):
        return task.evaluate(task.init(key), batch, example_keys(key, batch["index"]))

    batch = jax.tree.map(lambda x: x[None], next(iter(data.validation())))
    mapped = jax.vmap(evaluated, (None, 0), axis_name=DEVICES)
    totals = jax.eval_shape(mapped, key, batch)
    assert "loss" in totals
    workdir.joinpath("traced").touch()


@pytest.fixture
def traced(tmp_path, monkeypatch):
    monkeypatch.setattr("rubik_jax.modes.training.fit", trace)
    monkeypatch.setattr("rubik_jax.modes.training.report", lambda *_: None)

    def run(arguments) -> None:
        assert main(arguments) == 0
        assert (tmp_path / "run" / "traced").exists()

    return run


@pytest.mark.parametrize("variant", VARIANTS)
def test_shrunk_pretraining_comes_to_a_step(variant, tmp_path, traced):
    c = pretrain.get_config(f"cohort={variant},debug")
    shrunk = []
    if c.data.source not in ("phantom", "medmnist3d"):
        # As thin as it was along z, so that the strides of thin volumes are put to the test.
        c.proxy.cube, c.proxy.gap = tuple(min(side, 16) for side in c.proxy.cube), (1, 1, 1)
        shrunk = [f"--config.proxy.cube={c.proxy.cube}", "--config.proxy.gap=(1,1,1)"]
    size = tuple(n + 1 for n in cubes(c).window)
    if c.data.source != "phantom":
        name = "data.npz" if c.data.source == "medmnist3d" else "data"
        write_cohort(c, tmp_path / name, size)
    traced(command("pretrain", variant, c, tmp_path, *shrunk))


@pytest.mark.parametrize(
    ("task", "variant"),
    [
        ("segment", "phantom,net=resnet"),
        ("segment", "hippocampus,head=duc"),
        ("segment", "brats"),
        ("segment", "acdc"),
        ("segment", "head_ct,head=duc"),
        ("segment", "folder,head=duc"),
        *(("classify", cohort) for cohort in classify.COHORTS if cohort != "phantom"),
    ],
)
def test_shrunk_fine_tuning_comes_to_a_step(task, variant, tmp_path, traced):
    c = importlib.import_module(f"configs.{task}").get_config(f"cohort={variant},debug")
    shrunk = [] if c.data.source == "medmnist3d" else ["--config.window=(16,16,8)"]
    if variant.startswith("folder") and task == "segment":
        shrunk += ["--config.data.modalities=('imagesTr/*.nii.gz',)"]
        shrunk += ["--config.data.masks=labelsTr/*.nii.gz"]
    if c.data.source != "phantom":
        name = "data.npz" if c.data.source == "medmnist3d" else "data"
        write_cohort(c, tmp_path / name, (18, 20, 10))
    if (task, variant) == ("classify", "hippocampus"):  # which has no classes of its own
        rows = "".join(f"{case},{number % 2}\n" for number, case in enumerate("abcdefgh"))
        (tmp_path / "classes.csv").write_text(f"case,class\n{rows}")
        shrunk += [f"--config.data.labels={tmp_path / 'classes.csv'}"]
    traced(command(task, variant, c, tmp_path, *shrunk))


def test_an_encoder_is_the_same_before_and_after_the_transfer():
    for task in (segment, classify):
        for cohort in task.COHORTS:
            before, after = (module.get_config(f"cohort={cohort}") for module in (pretrain, task))
            assert before.model.encoder == after.model.encoder, cohort
            assert before.data.intensity == after.data.intensity, cohort
