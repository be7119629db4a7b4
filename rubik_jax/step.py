"""The training step, written for one device: games, gradients, one mean over devices, an update."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Array, Int, Key, PRNGKeyArray, PyTree, Shaped

from rubik_jax.optim import Optimiser
from rubik_jax.types import DEVICES, Batch, Mean, Metrics, Task

# Streams of randomness beside those of the steps 0, 1, 2, ...
INIT, EVALUATION = 2**32 - 1, 2**32 - 2


class State(NamedTuple):
    """All that a run needs to go on.

    Attributes:
        step: steps taken.
        params: parameters, float32.
        batch_stats: running averages of batch normalisation; empty without it.
        opt_state: the optimiser's.
    """

    step: Int[Array, ""]
    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree

    @property
    def variables(self) -> dict[str, PyTree]:
        """What a Flax module is applied with."""
        stats = {"batch_stats": self.batch_stats} if self.batch_stats else {}
        return {"params": self.params, **stats}


class Settings(NamedTuple):
    """What runs that share a compiled step may differ in.

    Attributes:
        seed: of all that is random, uint32.
        numbers: the optimiser's.
    """

    seed: ArrayLike
    numbers: PyTree


def make_settings(seed: int, optimiser: Optimiser) -> Settings:
    """The settings of a run, on the host."""
    return Settings(np.uint32(seed), optimiser.numbers)


def stream(seed: ArrayLike, number: Int[Array, ""] | int) -> PRNGKeyArray:
    """The key of a step, or of `INIT` or `EVALUATION`."""
    return jax.random.fold_in(jax.random.key(seed), number)


def example_keys(key: PRNGKeyArray, index: Int[Array, "b"]) -> Key[Array, "b"]:
    """One key per example, by its index in the global batch: the same on any number of devices."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, index)


def initialise(task: Task, seed: int) -> PyTree:
    """The variables that a run begins with, where they come from nowhere else."""
    return jax.jit(task.init)(stream(seed, INIT))


def make_state(variables: PyTree, optimiser: Optimiser) -> State:
    """The state before the first step."""
    params = variables["params"]
    opt_state = optimiser.init(params)
    return State(jnp.zeros((), jnp.int32), params, variables.get("batch_stats", {}), opt_state)


def make_step(
    task: Task,
    optimiser: Optimiser,
    *,
    per_device: int,
    accumulate: int,
    steps_per_call: int,
    unroll: bool,
    foreground: float = 0.0,
) -> Callable[[State, Any, Any, Settings], tuple[State, Metrics]]:
    """Builds `step(state, batches, resident, settings) -> (state, metrics)` for one device.

    Exactly one of `batches` and `resident` is given: windows from the host, stacked over the
    steps of a call, [steps_per_call, per_device, ...]; or the device's share of the cohort
    (`data.loader.resident`), from which the windows are cropped here.

    Args:
        task: the problem.
        optimiser: from gradients to updates.
        per_device: examples of a step on this device.
        accumulate: in how many parts they're worked off, one after another.
        steps_per_call: how many steps one call takes.
        unroll: whether to compile the loops over steps and parts as that many copies.
        foreground: the share of resident windows that must hold a labelled voxel.

    Returns:
        The step. Its metrics are sums over all devices, with a leading axis of steps.
    """

    def one_step(
        state: State, batch: Batch | None, resident, settings: Settings
    ) -> tuple[State, Metrics]:
        index = (
            lax.axis_index(DEVICES) * per_device + jnp.arange(per_device)
            if batch is None
            else batch["index"]
        )
        keys = example_keys(stream(settings.seed, state.step), index)
        if batch is None:
            pairs = jax.vmap(jax.random.split)(keys)
            keys, places = pairs[:, 0], pairs[:, 1]
            draw = jax.vmap(draw_example, (0, None, None, None))
            batch = draw(places, resident, task.window, foreground) | {"index": index}
        grads, stats, metrics = gradients(state, batch, keys)
        grads, stats, metrics = over_devices(grads, stats, metrics)
        metrics["gradient_norm"] = Mean(optax.global_norm(grads), jnp.ones(()))
        updates, opt_state = optimiser.update(
            grads, state.opt_state, state.params, settings.numbers
        )
        params = optax.apply_updates(state.params, updates)
        return State(state.step + 1, params, stats, opt_state), metrics

    def gradients(state: State, batch: Batch, keys) -> tuple[PyTree, PyTree, Metrics]:
        """Of the mean loss over this device's examples, worked off in `accumulate` parts."""

        def part(stats, inputs):
            part_batch, part_keys = inputs

            def loss(params):
                variables = state._replace(params=params, batch_stats=stats).variables
                return task.loss(variables, part_batch, part_keys, state.step)

            (_, (stats, metrics)), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
            return stats, (grads, metrics)

        parts = jax.tree.map(
            lambda x: x.reshape(accumulate, per_device // accumulate, *x.shape[1:]),
            (batch, keys),
        )
        stats, (grads, metrics) = _loop(part, state.batch_stats, parts, accumulate, unroll)
        mean_grads = jax.tree.map(lambda g: g.mean(axis=0), grads)
        return mean_grads, stats, jax.tree.map(lambda m: m.sum(axis=0), metrics)

    def step(state: State, batches, resident, settings: Settings) -> tuple[State, Metrics]:
        def body(state: State, batch: Batch | None) -> tuple[State, Metrics]:
            return one_step(state, batch, resident, settings)

        return _loop(body, state, batches, steps_per_call, unroll)

    return step


def over_devices(grads: PyTree, stats: PyTree, metrics: Metrics) -> tuple[PyTree, PyTree, Metrics]:
    """Means of gradients and batch statistics over the devices, and sums of metrics.

    Everything goes through one all-reduce: each costs a wait for the slowest device, and XLA
    merges them on some platforms only. What is reduced is laid side by side for that, which is
    little beside the activations; a single device is spared it.
    """
    devices = lax.axis_size(DEVICES)
    if devices == 1:
        return grads, stats, metrics
    row, restore = ravel_pytree((grads, stats, metrics))
    grads, stats, metrics = restore(lax.psum(row, DEVICES))
    return *jax.tree.map(lambda x: x / devices, (grads, stats)), metrics


def _loop(body: Callable, carry: Any, inputs: PyTree, length: int, unroll: bool) -> tuple:
    """`lax.scan`, or the same written out.

    On the CPU, XLA runs a convolution within a loop on a path that was 25 times slower where it
    was measured, and `lax.scan` makes a loop of a single iteration even with `unroll=True`.
    """
    if not unroll:
        return lax.scan(body, carry, inputs, length=length)
    outputs = []
    for i in range(length):
        carry, output = body(carry, jax.tree.map(lambda x: x[i], inputs))  # noqa: B023
        outputs.append(output)
    return carry, jax.tree.map(lambda *each: jnp.stack(each), *outputs)


def draw_example(
    key: PRNGKeyArray,
    resident: dict[str, Array],
    window: tuple[int, int, int],
    foreground: float,
) -> dict[str, Shaped[Array, "..."]]:
    """A window at a random place of a random case of this device's share, with its answers.

    With the chance `foreground` it holds a labelled voxel, as `data.loader.draw` has it.
    """
    case_key, place_key, labelled_key, chance_key = jax.random.split(key, 4)
    case = jax.random.randint(case_key, (), 0, resident["count"])
    free = resident["sizes"][case] - jnp.array(window)
    least, most = jnp.zeros_like(free), free
    if foreground and "places" in resident:
        places = resident["places"][case]
        place = places[jax.random.randint(labelled_key, (), 0, len(places))]
        held = resident["labelled"][case] & jax.random.bernoulli(chance_key, foreground)
        least = jnp.where(held, jnp.clip(place - jnp.array(window) + 1, 0, free), least)
        most = jnp.where(held, jnp.clip(place, 0, free), most)
    corner = jax.random.randint(place_key, (3,), least, most + 1)

    def cut(volumes: Array) -> Array:
        rest = volumes.shape[4:]
        start = (case, *corner, *(0 for _ in rest))
        return lax.dynamic_slice(volumes, start, (1, *window, *rest))[0]

    drawn = {name: cut(resident[name]) for name in ("window", "label") if name in resident}
    return drawn | ({"target": resident["target"][case]} if "target" in resident else {})
