"""The benchmark command gives every figure, in miniature; nothing here depends on time."""

import json
import os

import jax
import jax.numpy as jnp
import pytest

from benchmarks import cases, contest, operations, speed, training
from rubik_jax.models.layers import Conv3D


def tiny(make):
    """A case in miniature."""

    def made(*arguments):
        c = make(*arguments)
        if c.task == "pretrain":
            c.proxy.update({"cube": (4, 4, 4), "num_orders": 4})
        else:
            c.window = (8, 8, 8)
        c.model.encoder.update({"widths": (4, 4), "convs": (1, 1), "strides": ((1,) * 3, (2,) * 3)})
        return c

    return made


def test_the_command_writes_every_figure(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(cases.PRETRAINING, "tiny", tiny(cases.PRETRAINING["small"]))
    narrow = ["--only", "pretrain", "--cases", "tiny", "--nets", "vgg", "--dtypes", "float32"]
    arguments = [*narrow, "--rounds", "1", "--seconds", "0", "--json", str(tmp_path / "found.json")]
    speed.main(arguments)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["command"] == " ".join(["python -m benchmarks.speed", *arguments])
    assert found["device"].endswith("cpu") and found["on_cpu"]
    assert {"python", "jax", "flax", "optax"} <= found["versions"].keys()
    (row,) = found["training"]
    what = {name: row[name] for name in ("task", "case", "net", "head", "dtype", "batch")}
    assert list(what.values()) == ["pretrain", "tiny", "vgg", "", "float32", 2]
    assert row["cubes_per_second"] == pytest.approx(8 * row["volumes_per_second"])
    assert row["volumes_per_second"] == pytest.approx(2e3 / row["ms"]["step"])
    timed = {*("step", "bare", "resident", "host", "transfer", "scramble", "update", "augment")}
    assert row["ms"].keys() == timed | {"forward", "backward"}  # differences of what is timed
    assert min(row["ms"][name] for name in timed) > 0
    it = row["operations"]
    assert it["flops_per_second"] == pytest.approx(it["flops"] / row["ms"]["bare"] * 1e3)
    assert it["mfu"] == pytest.approx(it["flops_per_second"] / it["ceiling"])
    assert min(*row["memory"].values(), *row["compiling"].values()) > 0
    assert "| pretrain tiny, vgg, float32 | 2 |" in capsys.readouterr().out
