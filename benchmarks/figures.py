"""Where the time, the operations and the memory of our training step go."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree
from ml_collections import ConfigDict

from benchmarks import cases, ceiling, contest, operations, training
from benchmarks.training import Training
from rubik_jax import parallel, proxy
from rubik_jax.augment import augment, make_augmentation
from rubik_jax.data import loader
from rubik_jax.report import estimate
from rubik_jax.step import example_keys, stream
from rubik_jax.tasks.pretrain import make_puzzle
from rubik_jax.types import DEVICES


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

    it = training.set_up(cases.still(config), dtype, batch, workers)
    compiled, held, compiling = training.build(it)
    ours = training.streaming(it, compiled, held)
    spent = {kind: best(getattr(ours, kind)) for kind in contest.KINDS}
    memory = {"program_bytes": estimate.memory(compiled), **parallel.most_memory()}
    ours.close()
    spent["resident"] = best(_resident(it))
    spent |= {name: best(run) for name, run in _parts(it, config).items()}
    spent["forward"] -= spent.get("scramble", 0)
    spent["backward"] -= spent["forward"] + spent.get("scramble", 0)
    return {
        "batch": batch,
        "parameters": it.parameters,
        "volumes_per_second": ours.volumes / spent["step"],
        "cubes_per_second": ours.cubes / spent["step"],
        "ms": {name: value * 1e3 for name, value in spent.items()},
        "operations": _operations(it, compiled, spent["bare"]),
        "memory": memory,
        "compiling": compiling,
    }


def _resident(it: Training) -> Callable[[], None]:
    """A step whose windows are cropped on the devices, where the volumes live."""
    cohort = loader.resident(it.examples, window=it.task.window, shards=parallel.count())
    cohort = parallel.spread(cohort)
    compiled, state = it.compile(None, cohort), [parallel.replicate(it.state)]
    settings = it.settings()

    def step() -> None:
        state.append(jax.block_until_ready(compiled(state.pop(), None, cohort, settings))[0])

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
        "transfer": lambda: jax.block_until_ready(training.on_devices(batch)),
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


def _operations(it: Training, compiled: Any, seconds: float) -> dict[str, float]:
    """FLOPs of a step on all devices together, and of the devices' ceiling a second."""
    batch = next(it.batches(0))
    keys = example_keys(stream(0, 0), jnp.asarray(batch["index"]))
    zero = jnp.zeros((), jnp.int32)
    counts = operations.forward(it.task.loss, it.state.variables, batch, keys, zero)
    flops, dtype = operations.training(counts), it.config.model.encoder.dtype
    most = ceiling.measure(dtype) * parallel.count()
    return {
        "flops": flops,
        "compiled_flops": estimate.operations(compiled) * parallel.count(),
        "flops_per_second": flops / seconds,
        "ceiling": most,
        "mfu": flops / seconds / most,
    }
