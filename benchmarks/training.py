"""Our training step on generated volumes, as a contestant."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree
from ml_collections import ConfigDict

from benchmarks import cases
from benchmarks.contest import Contestant
from rubik_jax import allocator, parallel
from rubik_jax.data import loader
from rubik_jax.data.examples import Example
from rubik_jax.data.store import DTYPE
from rubik_jax.modes.posing import build_task
from rubik_jax.optim import Optimiser, make_optimiser
from rubik_jax.step import State, initialise, make_settings, make_state, make_step
from rubik_jax.types import Task

_VOLUMES, _ROOM = 4, 16  # that are generated, and by how many voxels they're larger than a window
_PLACES = 1000  # labelled voxels that are known of a mask


class Training(NamedTuple):
    """What is trained.

    Attributes:
        config: a run's, resolved.
        task: the problem.
        optimiser: from gradients to updates.
        state: before the first step, one copy.
        examples: generated, in memory.
        batch: volumes of a step, on all devices together.
        workers: threads that read.
    """

    config: ConfigDict
    task: Task
    optimiser: Optimiser
    state: State
    examples: list[Example]
    batch: int
    workers: int

    @property
    def foreground(self) -> float:
        """The share of windows that must hold a labelled voxel."""
        return self.config.data.foreground if self.config.task == "segment" else 0.0

    @property
    def parameters(self) -> int:
        """How many there are."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.state.params))

    def batches(self, threads: int) -> Iterator[dict[str, np.ndarray]]:
        """Endless ones on the host, prepared ahead by so many threads."""
        return loader.training_batches(
            self.examples,
            window=self.task.window,
            batch_size=self.batch,
            seed=self.config.seed,
            threads=threads,
            foreground=self.foreground,
        )

    def compile(self, batch: PyTree | None, resident: PyTree | None) -> Callable:
        """The step of `rubik_jax.train`, for such arguments and `settings` on the devices."""
        step = make_step(
            self.task,
            self.optimiser,
            per_device=parallel.per_device(self.batch, self.config.accumulate),
            accumulate=self.config.accumulate,
            steps_per_call=1,
            unroll=parallel.on_cpu(),
            foreground=self.foreground,
        )
        state = parallel.replicate(self.state)
        return parallel.mapped_step(step, state, batch, resident, self.settings())

    def settings(self) -> PyTree:
        """The last argument of the step, on the devices."""
        return parallel.replicate(make_settings(self.config.seed, self.optimiser))


def set_up(config: ConfigDict, dtype: str, batch: int, workers: int) -> Training:
    """Builds what the config asks for, computed in that dtype; keeps memory as the command does."""
    allocator.keep_freed_memory()
    config = config.copy_and_resolve_references()
    config.model.encoder.dtype = dtype
    channels = cases.channels(config)
    classes = cases.classes(config) if config.task == "segment" else 0
    task = build_task(config, channels, range(classes))
    optimiser = make_optimiser(**config.optim.to_dict(), steps=config.steps)
    state = make_state(initialise(task, config.seed), optimiser)
    count = max(_VOLUMES, parallel.count())
    examples = generate(count, task.window, channels, classes)
    return Training(config, task, optimiser, state, examples, batch, workers)


def generate(
    count: int, window: tuple[int, int, int], channels: int, classes: int
) -> list[Example]:
    """Examples of noise in the store's dtype, with masks where there are classes."""
    rng, size = np.random.default_rng(0), [n + _ROOM for n in window]
    shades = np.linspace(0, 1, 256, dtype=DTYPE)
    examples = [
        {"window": shades[rng.integers(0, 256, (*size, channels), np.uint8)]} for _ in range(count)
    ]
    for example in examples if classes else []:
        example["label"] = rng.integers(0, classes, size, np.int16)
        example["places"] = np.argwhere(example["label"])[:_PLACES].astype(np.int32)
    return examples


def contestant(config: ConfigDict, dtype: str, batch: int, workers: int) -> Contestant:
    """One that trains as `rubik_jax.train` does, windows being prepared while the device works.

    Args:
        config: as `configs/pretrain.py` or `configs/segment.py` gives it.
        dtype: what is computed in, "float32" or "bfloat16".
        batch: volumes of a step.
        workers: threads that read.
    """
    it = set_up(config, dtype, batch, workers)
    return streaming(it, *build(it)[:2])


pretraining = finetuning = contestant  # the config tells which


def compiling(config: ConfigDict, dtype: str, batch: int) -> float:
    """The seconds that it takes to trace and compile the step."""
    return build(set_up(config, dtype, batch, 0))[2]


def build(it: Training) -> tuple[Any, PyTree, float]:
    """The streamed step, a batch for it on the devices, and how long it took to compile."""
    held = on_devices(next(it.batches(0)))
    begun = time.perf_counter()
    compiled = it.compile(held, None)
    return compiled, held, time.perf_counter() - begun


def streaming(it: Training, compiled: Callable, held: PyTree) -> Contestant:
    """The contestant of what `build` returned."""
    batches = it.batches(it.workers)
    ahead = [on_devices(next(batches))]
    state, settings = [parallel.replicate(it.state)], it.settings()

    def step() -> None:
        after = compiled(state.pop(), ahead.pop(), None, settings)
        ahead.append(on_devices(next(batches)))
        state.append(jax.block_until_ready(after)[0])

    def bare() -> None:
        state.append(jax.block_until_ready(compiled(state.pop(), held, None, settings))[0])

    cubes = it.batch * it.task.units.get("cubes", 0)
    return Contestant("rubik_jax", it.parameters, it.batch, cubes, step, bare, batches.close)


def on_devices(batch: dict[str, np.ndarray]) -> PyTree:
    """The batch as a call of one step takes it."""
    call = {name: array[None] for name, array in batch.items()}
    return parallel.shard(call, axis=1)
