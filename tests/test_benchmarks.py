"""The benchmark command tells every figure, in miniature; nothing here depends on how fast."""

import json
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import cases, contest, operations, speed, training
from benchmarks.contest import Call
from rubik_jax.models.layers import Conv3D

CONVOLUTION = 2 * 27 * 4 * 4**3  # FLOPs of a cube of 4x4x4, from one channel to four
DENSE = 2 * (4 * 4**3 * 64 + 64 * 2 + 64 * 8)  # of its projection, its turns and its place


def tiny(make):
    """A case in miniature: one convolution."""

    def made(*arguments):
        c = make(*arguments)
        c.model.encoder.update({"widths": (4,), "convs": (1,), "strides": ((1, 1, 1),)})
        if c.task == "pretrain":
            c.proxy.update({"cube": (4, 4, 4), "num_orders": 4})
        else:
            c.window = (8, 8, 8)
        return c

    return made


def test_the_command_writes_every_figure(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(cases.PRETRAINING, "tiny", tiny(cases.PRETRAINING["small"]))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    narrow = ["--only", "pretrain", "--cases", "tiny", "--nets", "vgg", "--dtypes", "float32"]
    arguments = [*narrow, "--rounds", "1", "--seconds", "0", "--json", str(tmp_path / "found.json")]
    speed.main(arguments)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["command"] == " ".join(["python -m benchmarks.speed", *arguments])
    assert found["device"].endswith("cpu") and found["on_cpu"]
    assert {"python", "jax", "flax", "optax"} <= found["versions"].keys()
    (row,) = found["training"]
    what = [row[name] for name in ("task", "case", "net", "head", "dtype", "batch")]
    assert what == ["pretrain", "tiny", "vgg", "", "float32", 2]
    assert row["volumes_per_second"] == pytest.approx(2e3 / row["ms"]["step"])
    assert row["cubes_per_second"] == pytest.approx(8 * row["volumes_per_second"])
    timed = {*("step", "bare", "resident", "host", "transfer", "scramble", "update", "augment")}
    assert row["ms"].keys() == timed | {"forward", "backward"}  # differences of what is timed
    assert min(row["ms"][name] for name in timed) > 0
    it = row["operations"]
    assert it["flops"] == 2 * 8 * (2 * CONVOLUTION + 3 * DENSE)
    assert it["flops_per_second"] == pytest.approx(it["flops"] / row["ms"]["bare"] * 1e3)
    assert it["mfu"] == pytest.approx(it["flops_per_second"] / it["ceiling"])
    assert min(*row["memory"].values(), *row["compiling"].values()) > 0
    assert "| pretrain tiny, vgg, float32 | 2 |" in capsys.readouterr().out


def test_a_fine_tuning_contestant_takes_steps():
    config = cases.still(tiny(cases.FINETUNING["small"])("duc", "vgg"))
    ours = training.finetuning(config, "bfloat16", 2, 1)
    for run in (ours.step, ours.bare, ours.step):
        run()
    ours.close()
    assert ours[1:4] == (27 * 4 + 2 * 4 + (27 * 16 + 2 * 4) + (4 * 2 + 2), 2, 0)


def test_generated_examples_are_like_those_of_the_store():
    examples = training.generate(2, (4, 5, 6), 3, 4)
    for example in examples:
        assert example["window"].shape == (20, 21, 22, 3)
        assert example["window"].dtype == np.float16
        assert example["label"].dtype == np.int16
        assert np.all(example["label"][tuple(example["places"].T)] > 0)
        assert {*np.unique(example["label"])} == {0, 1, 2, 3}
    assert examples[0]["window"].min() == 0 and examples[0]["window"].max() == 1


@pytest.mark.parametrize("strides", [(1, 1, 1), (2, 2, 1)])
def test_a_convolution_counts_each_output_voxel_once(strides):
    layer, x = (
        Conv3D(features=5, kernel_size=(3, 3, 1), strides=strides),
        jnp.zeros((2, 4, 6, 8, 3)),
    )
    variables = jax.eval_shape(layer.init, jax.random.key(0), x)
    (flops,) = operations.forward(layer.apply, variables, x)
    outputs = 2 * (4 // strides[0]) * (6 // strides[1]) * 8 * 5
    assert flops == outputs * 2 * (3 * 3 * 3)


def test_a_race_keeps_the_best_of_the_rounds():
    nap = partial(time.sleep, 0.001)
    parameters, volumes = 7, {"one": 1, "other": 2}
    factories = {
        name: Call("benchmarks.contest:Contestant", (name, parameters, count, 0, nap, nap, int))
        for name, count in volumes.items()
    }
    found = contest.race(factories, 2, 0)
    for name, each in found.items():
        assert (each["parameters"], each["volumes"]) == (parameters, volumes[name])
        for kind in contest.KINDS:
            assert len(each["rounds"][kind]) == 2
            assert each[kind] == min(each["rounds"][kind]) > 0


def test_unequal_contestants_dont_race():
    factories = {
        str(size): Call("benchmarks.contest:Contestant", ("", size, 1, 0, int, int, int))
        for size in (7, 8)
    }
    with pytest.raises(RuntimeError, match="7 has 7, 8 has 8"):
        contest.race(factories, 1, 0)


def test_a_contestant_that_fails_is_named(capfd):
    factories = {"ours": Call("benchmarks.contest:there_is_none")}
    with pytest.raises(RuntimeError, match="ours failed"):
        contest.race(factories, 1, 0)
    assert "there_is_none" in capfd.readouterr().err


def test_ratios_are_of_volumes_a_second():
    ours = {"volumes": 4, "step": 2, "bare": 1, "rounds": {"step": [2, 4], "bare": [1, 1]}}
    theirs = {"volumes": 2, "step": 3, "bare": 1, "rounds": {"step": [3, 4], "bare": [1, 2]}}
    found = contest.ratios(ours, theirs)
    assert found["step"] == {"best": 3, "least": 2, "most": 3}
    assert found["bare"] == {"best": 2, "least": 2, "most": 4}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--cases", "lung"], "--cases is lung; expected some of haemorrhage,brats,small"),
        (["--only", "finetune", "--cases", "haemorrhage"], "are some of brats,small"),
        (["--against", "keras"], "--against is keras; expected some of torch,monai"),
    ],
)
def test_what_cant_be_measured_is_refused(capsys, arguments, sentence):
    with pytest.raises(SystemExit, match="2"):
        speed.main(arguments)
    assert sentence in capsys.readouterr().err
