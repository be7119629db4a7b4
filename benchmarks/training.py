"""Our training step on generated volumes: a contestant, and where its time and memory go."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree
from ml_collections import ConfigDict

from benchmarks import cases, ceiling, contest, operations
from benchmarks.contest import Contestant
from rubik_jax import allocator, parallel, proxy
from rubik_jax.augment import augment, make_augmentation
from rubik_jax.data import loader
from rubik_jax.data.examples import Example
from rubik_jax.data.store import DTYPE
from rubik_jax.modes.posing import build_task
from rubik_jax.optim import make_optimiser
from rubik_jax.step import State, example_keys, initialise, make_state, make_step, stream
from rubik_jax.tasks.pretrain import make_puzzle
from rubik_jax.types import DEVICES, Task

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
    optimiser: optax.GradientTransformation
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
        """The step of `rubik_jax.train`, for such arguments on the devices."""
        step = make_step(
            self.task,
            self.optimiser,
            seed=self.config.seed,
            per_device=parallel.per_device(self.batch, self.config.accumulate),
            accumulate=self.config.accumulate,
            steps_per_call=1,
            unroll=parallel.on_cpu(),
            foreground=self.foreground,
        )
        return parallel.mapped_step(step, parallel.replicate(self.state), batch, resident)


def set_up(config: ConfigDict, dtype: str, batch: int, workers: int) -> Training:
    """Builds what the config asks for, computed in that dtype; memory is kept as the command does."""
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
    return _streaming(it, *_compiled(it)[:2])


pretraining = finetuning = contestant  # the config tells which


def compiling(config: ConfigDict, dtype: str, batch: int) -> float:
    """The seconds that it takes to trace and compile the step."""
    return _compiled(set_up(config, dtype, batch, 0))[2]


def measure(
    config: ConfigDict, dtype: str, batch: int, workers: int, rounds: int, seconds: float
) -> dict:
    """All figures of a step on this device, the best of the rounds.

    Args:
        config: with the random changes of windows that it asks for, which are timed apart: the
            step is measured without them.
        dtype: what is computed in.
        batch: volumes of a step.
        workers: threads that read.
        rounds: in which each part is timed.
        seconds: for which it is in each round, at least.
    """

    def best(run: Callable[[], object]) -> float:
        run()  # the first one is slower
        return min(contest.turn(run, seconds) for _ in range(rounds))

    it = set_up(cases.still(config), dtype, batch, workers)
    compiled, held, compiling = _compiled(it)
    streaming = _streaming(it, compiled, held)
    spent = {kind: best(getattr(streaming, kind)) for kind in contest.KINDS}
    memory = {"program_bytes": _needed(compiled), **parallel.most_memory()}
    streaming.close()
    spent["resident"] = best(_resident(it))
    spent |= {name: best(run) for name, run in _parts(it, config).items()}
    spent["forward"] -= spent.get("scramble", 0)
    spent["backward"] -= spent["forward"] + spent.get("scramble", 0)
    return {
        "batch": batch,
        "parameters": it.parameters,
        "volumes_per_second": streaming.volumes / spent["step"],
        "cubes_per_second": streaming.cubes / spent["step"],
        "ms": {name: value * 1e3 for name, value in spent.items()},
        "operations": _operations(it, compiled, spent["bare"]),
        "memory": memory,
        "compiling": compiling,
    }


def _compiled(it: Training) -> tuple[Any, PyTree, float]:
    """The streamed step, a batch for it on the devices, and how long it took to compile."""
    held = _on_devices(next(it.batches(0)))
    begun = time.perf_counter()
    compiled = it.compile(held, None)
    return compiled, held, time.perf_counter() - begun


def _streaming(it: Training, compiled: Callable, held: PyTree) -> Contestant:
    batches = it.batches(it.workers)
    ahead = [_on_devices(next(batches))]
    state = [parallel.replicate(it.state)]

    def step() -> None:
        after = compiled(state.pop(), ahead.pop(), None)
        ahead.append(_on_devices(next(batches)))
        state.append(jax.block_until_ready(after)[0])

    def bare() -> None:
        state.append(jax.block_until_ready(compiled(state.pop(), held, None))[0])

    cubes = it.batch * it.task.units.get("cubes", 0)
    return Contestant("rubik_jax", it.parameters, it.batch, cubes, step, bare, batches.close)


def _resident(it: Training) -> Callable[[], None]:
    """A step whose windows are cropped on the devices, where the volumes live."""
    cohort = loader.resident(it.examples, window=it.task.window, shards=parallel.count())
    cohort = parallel.spread(cohort)
    compiled, state = it.compile(None, cohort), [parallel.replicate(it.state)]

    def step() -> None:
        state.append(jax.block_until_ready(compiled(state.pop(), None, cohort))[0])

    return step


def _parts(it: Training, shipped: ConfigDict) -> dict[str, Callable[[], object]]:
    """What a step is made of, each alone: "forward" from the windows on, "backward" with it.

    And, beside the step, "augment": the random changes of windows that the shipped config makes.
    """
    task, zero = it.task, jnp.zeros((), jnp.int32)
    batches = it.batches(0)
    batch = next(batches)
    held = parallel.shard(batch)
    variables, opt_state = parallel.replicate((it.state.variables, it.state.opt_state))
    options = make_augmentation(**shipped.augment.to_dict())

    def keys(batch):
        return example_keys(stream(it.config.seed, 0), batch["index"])

    def loss(variables, batch):
        return task.loss(variables, batch, keys(batch), zero)[0]

    def gradient(variables, batch):
        def of(params):
            return loss(variables | {"params": params}, batch)

        value, grads = jax.value_and_grad(of)(variables["params"])
        return value, jax.lax.pmean(grads, DEVICES)

    def update(variables, opt_state, grads):
        updates, opt_state = it.optimiser.update(grads, opt_state, variables["params"])
        return optax.apply_updates(variables["params"], updates), opt_state

    def change(batch):
        windows = batch["window"].astype(jnp.float32)
        changed = jax.vmap(augment, (0, 0, 0 if "label" in batch else None, None))
        return changed(keys(batch), windows, batch.get("label"), options)

    parts = {
        "host": lambda: next(batches),
        "transfer": lambda: jax.block_until_ready(_on_devices(batch)),
    }
    if it.config.task == "pretrain":
        puzzle, _ = make_puzzle(**it.config.proxy.to_dict(), seed=it.config.seed)

        def scramble(batch):
            play = jax.vmap(proxy.play, (0, 0, None, None))
            return play(keys(batch), batch["window"], puzzle, jnp.ones(()))

        parts["scramble"] = _mapped(scramble, held)
    return parts | {
        "forward": _mapped(loss, variables, held),
        "backward": _mapped(gradient, variables, held),
        "update": _mapped(update, variables, opt_state, variables["params"]),
        "augment": _mapped(change, held),
    }


def _mapped(function: Callable, *arguments: PyTree) -> Callable[[], object]:
    """Calls a function of one device on all of them, and waits for it."""
    compiled = jax.pmap(function, axis_name=DEVICES).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))


def _on_devices(batch: dict[str, np.ndarray]) -> PyTree:
    """The batch as a call of one step takes it."""
    call = {name: array[None] for name, array in batch.items()}
    return parallel.shard(call, axis=1)


def _operations(it: Training, compiled: Any, seconds: float) -> dict[str, float]:
    """FLOPs of a step on all devices together, and of the devices' ceiling a second."""
    batch = next(it.batches(0))
    keys = example_keys(stream(0, 0), jnp.asarray(batch["index"]))
    zero = jnp.zeros((), jnp.int32)
    counts = operations.forward(it.task.loss, it.state.variables, batch, keys, zero)
    flops, dtype = operations.training(counts), it.config.model.encoder.dtype
    most = ceiling.measure(dtype) * parallel.count()
    cost = compiled.cost_analysis() or {}
    cost = cost[0] if isinstance(cost, list) else cost
    return {
        "flops": flops,
        "compiled_flops": cost.get("flops", 0.0) * parallel.count(),
        "flops_per_second": flops / seconds,
        "ceiling": most,
        "mfu": flops / seconds / most,
    }


def _needed(compiled: Any) -> int:
    """The bytes of a device's memory that a program needs, its arguments included."""
    it = compiled.memory_analysis()
    sizes = it.argument_size_in_bytes + it.output_size_in_bytes + it.temp_size_in_bytes
    return sizes - it.alias_size_in_bytes
