"""Measures how the cost of pre-training grows with what is asked of it.

python -m benchmarks.growth [--only batch,cube,cubes,channels,orders,cohort,devices] [--json FILE]
"""

import argparse
import functools
import itertools
import json
import math
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import nibabel as nib
import numpy as np

from benchmarks import machine, readers
from configs import pretrain
from rubik_jax import allocator, parallel, proxy
from rubik_jax.data import entries, loader
from rubik_jax.data.cases import Where
from rubik_jax.data.examples import Examples
from rubik_jax.data.sources import find_cases
from rubik_jax.data.store import Store
from rubik_jax.modes.opening import open_run
from rubik_jax.modes.posing import build_task
from rubik_jax.modes.splitting import draw_split
from rubik_jax.optim import make_optimiser
from rubik_jax.report import estimate
from rubik_jax.report.progress import silent
from rubik_jax.step import initialise, make_settings, make_state, make_step

_SECONDS, _STEPS = 1.0, 5  # of which the best counts, whichever takes longer
_SIDE, _CUBE = 24, 8  # voxels of the cohort's volumes, and of the cubes cut from them


class Shape(NamedTuple):
    """What a step is asked for: volumes, voxels of a cube's side, a grid, modalities, K, a net."""

    batch: int = 4
    cube: int = 16
    counts: tuple[int, int, int] = (2, 2, 2)
    channels: int = 1
    orders: int = 100
    arguments: str = ""  # of configs/pretrain.py

    @property
    def cells(self) -> int:
        """Cubes of a volume."""
        return math.prod(self.counts)


SWEEPS = {
    "batch": [Shape(batch=n) for n in (1, 2, 4, 8)],
    "cube": [Shape(cube=n) for n in (8, 16, 32)],
    # Of four cubes there are no more orders.
    "cubes": [Shape(counts=(2, 2, 1), orders=24), Shape(), Shape(counts=(3, 3, 3))],
    "channels": [Shape(channels=n) for n in (1, 4)],
    "orders": [Shape(orders=n) for n in (10, 100, 1000)],
}
COHORTS = (100, 1000, 3000)
DEVICES = (1, 2, 4, 8)


def main() -> None:
    """Measures one table after another, then prints them and writes the JSON file."""
    options = _options()
    # Each program is to be compiled, whatever was before.
    jax.config.update("jax_enable_compilation_cache", False)
    command = " ".join(["python -m benchmarks.growth", *sys.argv[1:]])
    found = machine.describe() | {"command": command}
    found["tables"] = {name: table(name) for name in options.only}
    print(page(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def table(name: str) -> list[dict]:
    """The rows of a table, each by the names of its columns."""
    if name == "cohort":
        return [cohort(count) for count in COHORTS]
    if name == "devices":
        return [on_devices(count, Shape(batch=8)) for count in DEVICES]
    return [row(name, shape) for shape in SWEEPS[name]]


def row(name: str, shape: Shape) -> dict:
    """What a step of that shape costs, beside what is varied in the table."""
    varied = {"cubes": shape.cells} if name == "cubes" else {name: getattr(shape, name)}
    if name == "orders":
        begun = time.perf_counter()
        proxy.make_orders("greedy", shape.orders, shape.cells, 0)
        varied["order set s"] = time.perf_counter() - begun
    return varied | step(shape)


@functools.cache  # the tables meet in one shape
def step(shape: Shape) -> dict:
    """A pre-training step on all devices together: its best time, its memory, its compilation.

    Windows lie on the device.
    """
    allocator.keep_freed_memory()  # as the command does
    config = pretrain.get_config(shape.arguments).copy_and_resolve_references()
    cube = (shape.cube,) * 3
    config.proxy.update({"counts": shape.counts, "cube": cube, "num_orders": shape.orders})
    task = build_task(config, shape.channels)
    optimiser = make_optimiser(**config.optim.to_dict(), steps=config.steps)
    share = parallel.per_device(shape.batch, 1)
    loops = {"accumulate": 1, "steps_per_call": 1, "unroll": parallel.on_cpu()}
    one = make_step(task, optimiser, per_device=share, **loops)
    settings = parallel.replicate(make_settings(0, optimiser))
    state = parallel.replicate(make_state(initialise(task, 0), optimiser))
    size = (1, shape.batch, *task.window, shape.channels)
    windows = np.random.default_rng(0).random(size, np.float32).astype(np.float16)
    index = np.arange(shape.batch, dtype=np.int32)[None]
    batch = parallel.shard({"window": windows, "index": index}, axis=1)
    begun = time.perf_counter()
    compiled = parallel.mapped_step(one, state, batch, None, settings)
    compiling = time.perf_counter() - begun
    spent = []
    while len(spent) < _STEPS or sum(spent) < _SECONDS:
        begun = time.perf_counter()
        # Fake devices on few cores can wait for each other for ever, unless each step is awaited.
        state, _ = jax.block_until_ready(compiled(state, batch, None, settings))
        spent.append(time.perf_counter() - begun)
    return {
        "ms a step": min(spent) * 1e3,
        "ms a cube": min(spent) * 1e3 / (shape.batch * shape.cells),
        "MiB a device": estimate.memory(compiled) / 2**20,
        "compiling s": compiling,
        "all-reduces": len(re.findall(r"\ball-reduce(?:-start)?\(", compiled.as_text())),
    }


def on_devices(count: int, shape: Shape) -> dict:
    """The same on so many fake devices of the CPU, which share its cores, in another process."""
    flags = os.environ.get("XLA_FLAGS", "")
    settings = {
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_COMPILATION_CACHE": str(jax.config.jax_enable_compilation_cache),
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={count}",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    program = (
        "import json; from benchmarks.growth import Shape, parallel, step; "
        f"print(json.dumps({{'devices': parallel.count()}} | step({shape!r})))"
    )
    python, environment = [sys.executable, "-c", program], os.environ | settings
    done = subprocess.run(python, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the step on {count} devices failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def cohort(count: int) -> dict:
    """What a cohort of so many small volumes costs a new process, prepared by another before.

    Opening its store and the loader's first batch, with the memory that both take; and a run's
    start as a whole, up to its task.
    """
    with tempfile.TemporaryDirectory() as scratch:
        rng, folder = np.random.default_rng(0), Path(scratch)
        (folder / "scans").mkdir()
        for case in range(count):
            scan = rng.integers(1, 1000, (_SIDE,) * 3, np.int16)
            nib.Nifti1Image(scan, np.eye(4)).to_filename(folder / "scans" / f"{case:05d}.nii")
        begun = time.perf_counter()
        _store(folder)
        found = {"volumes": count, "preparing s": time.perf_counter() - begun}
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return found | pool.apply(_start, (folder,))


def page(found: dict) -> str:
    """The figures as text: what was measured on, then the tables."""
    lines = [f"{machine.line(found)}; but for what is varied, {Shape()}"]
    for name, rows in found["tables"].items():
        lines += ["", f"**{name}**", "", f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"]
        lines += ["| " + " | ".join(map(_cell, row.values())) + " |" for row in rows]
    return "\n".join(lines)


def _store(folder: Path) -> Store:
    """The store of the scans in a folder, prepared where it isn't."""
    cases = find_cases("folder", Where(folder / "scans", modalities=("*.nii",))).cases
    return entries.build(cases, folder / "store", how=readers.HOW, workers=2).store


def _start(folder: Path) -> dict:
    """Opens the cohort, first by its parts, then as a run does."""
    window = (_CUBE,) * 3
    config = pretrain.get_config("cohort=folder").copy_and_resolve_references()
    config.data.path, config.data.store = str(folder / "scans"), str(folder / "store")
    config.data.modalities, config.proxy.cube = ("*.nii",), window
    before, times = _memory(), [time.perf_counter()]
    examples = Examples(_store(folder))
    times.append(time.perf_counter())
    batches = loader.training_batches(examples, window=window, batch_size=8, seed=0, threads=2)
    next(batches)
    times.append(time.perf_counter())
    grown = _memory() - before
    with silent():
        open_run(config, partial(draw_split, config))
    times.append(time.perf_counter())
    names = ("opening s", "first batch s", "run's start s")
    laps = (after - begun for begun, after in itertools.pairwise(times))
    return dict(zip(names, laps, strict=True)) | {"MiB": grown / 2**20}


def _memory() -> int:
    """Bytes that this process holds in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _cell(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _options() -> argparse.Namespace:
    names = ",".join([*SWEEPS, "cohort", "devices"])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=names, help="tables, of these")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if not {*options.only} <= {*names.split(",")}:
        parser.error(f"--only is {','.join(options.only)}; expected some of {names}")
    return options


if __name__ == "__main__":
    main()
