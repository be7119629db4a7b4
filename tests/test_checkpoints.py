"""Checkpoints give back what went in, or one sentence on why they can't."""

import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from rubik_jax import checkpoints, train
from rubik_jax.checkpoints import Checkpoints
from rubik_jax.errors import RunError, UserError
from rubik_jax.step import State

DESCRIPTION = {
    "config": {"model": {"widths": [4, 8], "norm": "group"}, "seed": 0},
    "orders": [[0, 1, 2], [2, 0, 1]],
    "split": {"train": ["a", "b"], "validation": ["ç"], "test": []},
    "score": None,
}

LONE = {"params": {"kernel": np.random.default_rng(0).standard_normal((3, 3, 400), np.float32)}}


def state(step: int) -> State:
    """Numbers that a cast or a rounding would change."""
    rng = np.random.default_rng(step)
    params = {
        "encoder": {"kernel": rng.standard_normal((3, 3, 40), np.float32)},
        "head": {"bias": rng.standard_normal(4).astype(ml_dtypes.bfloat16)},
    }
    moments = {"count": np.int32(step), "mu": jax.tree.map(np.float32, params)}
    return State(np.int32(step), params, {"mean": np.float32([np.pi, -0.0, 1e-42])}, moments)


def save(folder, *steps: int, kind: str = "latest") -> None:
    writer = Checkpoints(folder)
    for step in steps:
        writer.save(kind, step, state(step), DESCRIPTION | {"step": step})
    writer.close()


def same(one, other) -> bool:
    def bits(leaf):
        return np.asarray(leaf).dtype, np.asarray(leaf).shape, np.asarray(leaf).tobytes()

    return jax.tree.all(jax.tree.map(lambda a, b: bits(a) == bits(b), one, other))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    save(folder, 3, kind="best")
    save(folder, 3, 6)
    return folder


def test_what_is_restored_is_what_was_saved_bit_for_bit(run):
    reader = Checkpoints(run)
    like = jax.tree.map(jnp.zeros_like, state(0))
    assert same(reader.restore("latest", like), state(6))
    assert same(reader.restore("best", like), state(3))
    assert not same(state(3), state(6))
    reader.close()


def test_all_arrays_can_be_read_without_knowing_the_structure(run):
    found = checkpoints.read(checkpoints.find(run, "latest"))
    assert same(found["params"], state(6).params)
    assert same(found["batch_stats"], state(6).batch_stats)
    assert same(found["opt_state"], state(6).opt_state)


def test_a_newer_latest_replaces_the_older_and_leaves_the_best(run):
    reader = Checkpoints(run)
    assert (reader.step("latest"), reader.step("best")) == (6, 3)
    reader.close()
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["6"]
    assert [path.name for path in (run / "best").iterdir()] == ["3"]


def test_a_checkpoint_describes_itself(run):
    reader = Checkpoints(run)
    for kind, step in (("latest", 6), ("best", 3)):
        expected = DESCRIPTION | {"step": step}
        assert checkpoints.describe(checkpoints.find(run, kind)) == expected
        assert reader.description(kind) == expected
    reader.close()


def test_the_best_is_found_first_then_the_latest(run, tmp_path):
    assert checkpoints.find(run) == run / "best" / "3"
    assert checkpoints.find(run, "latest") == run / "checkpoints" / "6"
    shutil.copytree(run / "checkpoints", tmp_path / "checkpoints")
    assert checkpoints.find(tmp_path) == tmp_path / "checkpoints" / "6"
    with pytest.raises(UserError, match=r"no best checkpoint; expected .* best/<step>$"):
        checkpoints.find(tmp_path, "best")


def test_a_run_without_checkpoints_says_so(tmp_path):
    with pytest.raises(UserError, match=r"no best or latest checkpoint.*checkpoints/<step>"):
        checkpoints.find(tmp_path / "nowhere")
    reader = Checkpoints(tmp_path)
    assert reader.step("latest") is None
    assert reader.description("best") is None
    reader.close()


def test_the_highest_number_is_the_latest(tmp_path):
    for name in ("9", "10", "11.orbax-checkpoint-tmp"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert checkpoints.find(tmp_path).name == "10"


def test_a_step_is_not_written_twice_in_silence(tmp_path):
    writer = Checkpoints(tmp_path)
    writer.save("latest", 2, state(2), DESCRIPTION)
    with pytest.raises(Exception, match=r"step 2 .*(already exists|not written)"):
        writer.save("latest", 2, state(3), DESCRIPTION)
    writer.close()
    assert same(checkpoints.read(checkpoints.find(tmp_path))["params"], state(2).params)


@pytest.fixture(scope="module")
def lone(tmp_path_factory):
    """A checkpoint of one array: of several, those still being read complain when one fails."""
    folder = tmp_path_factory.mktemp("lone")
    writer = Checkpoints(folder)
    writer.save("latest", 6, LONE, DESCRIPTION)
    writer.close()
    return folder


@pytest.mark.parametrize("harm", ["cut", "missing"])
def test_a_harmed_checkpoint_is_read_whole_or_refused_in_a_sentence(lone, tmp_path, harm):
    whole = checkpoints.find(lone)
    refused = set()
    for number, path in enumerate(sorted(p for p in whole.rglob("*") if p.is_file())):
        folder = tmp_path / str(number) / "6"
        shutil.copytree(whole, folder)
        name = path.relative_to(whole)
        (folder / name).unlink()
        if harm == "cut":
            (folder / name).write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        for reader, good in ((checkpoints.read, LONE), (checkpoints.describe, DESCRIPTION)):
            try:
                assert same(reader(folder), good)
            except UserError as error:
                assert str(folder) in str(error)
                assert "\n" not in str(error)
                assert len(str(error)) < 1000
                refused.add(name.parts[0])
    assert {"state", "description"} <= refused


def test_a_run_cannot_go_on_from_a_harmed_checkpoint(lone, tmp_path):
    shutil.copytree(lone / "checkpoints", tmp_path / "checkpoints")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    max(files, key=lambda path: path.stat().st_size).write_bytes(b"")
    reader = Checkpoints(tmp_path)
    with pytest.raises(UserError, match="can't be read whole"):
        reader.restore("latest", LONE)
    reader.close()


def test_a_checkpoint_that_has_no_space_is_not_begun_and_the_one_before_stays(
    tmp_path, monkeypatch
):
    writer = Checkpoints(tmp_path)
    writer.save("latest", 2, state(2), DESCRIPTION)
    writer.wait()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(RunError, match=r"no space left on the disk of .*kB needed, 1 kB free"):
        writer.save("latest", 4, state(4), DESCRIPTION)
    writer.close()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["2"]


FILL = """
import resource, sys
from pathlib import Path
import numpy as np
from rubik_jax.checkpoints import Checkpoints
from rubik_jax.errors import RunError
from rubik_jax.train import _closing
def state(n):
    return {str(i): np.random.default_rng(i).standard_normal(n, np.float32) for i in range(9)}
writer = Checkpoints(Path(sys.argv[1]))
writer.save("latest", 1, state(99), {})
writer.wait()
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with _closing(writer):
        for kind in ("best", "latest"):
            writer.save(kind, 2, state(200_000), {})
        writer.wait()
except RunError as error:
    print(error)
"""


def test_what_the_disk_refuses_of_a_checkpoint_is_one_sentence_and_leaves_the_one_before(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", FILL, tmp_path], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "would be larger than its disk" in run.stdout and run.stdout.count("\n") == 1
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["1"]
    assert not list((tmp_path / "best").iterdir())


def test_an_error_is_not_replaced_by_one_of_closing():
    class Broken:
        def close(self):
            closed.append(self)
            raise RuntimeError("of closing")

    closed = []
    with pytest.raises(KeyError, match="the first"), train._closing(Broken(), Broken()):
        raise KeyError("the first")
    assert len(closed) == 2
    with pytest.raises(RuntimeError, match="of closing"), train._closing(Broken()):
        pass
