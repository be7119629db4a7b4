"""The one training loop, for any task: evaluate, save, next batch, step, log the step before."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from rubik_jax import interrupts, parallel
from rubik_jax.checkpoints import Checkpoints
from rubik_jax.errors import Interrupted
from rubik_jax.keeping import Keeper, Pace
from rubik_jax.optim import Optimiser
from rubik_jax.report import estimate
from rubik_jax.report.progress import Steps, clock, say
from rubik_jax.report.records import Records
from rubik_jax.report.stopwatch import Stopwatch
from rubik_jax.step import State, initialise, make_settings, make_state, make_step
from rubik_jax.types import Metrics, Task

AHEAD = 2  # calls whose windows are on their way to the devices, beside the one they work on

Batches = Iterable[dict[str, np.ndarray]]


class Data(NamedTuple):
    """Where a run's examples come from.

    Attributes:
        training: (step, how many) -> endless batches from that step on, so many steps' at a time,
            stacked; not used where there is `resident`.
        resident: the training cohort for the devices, with a leading axis of devices, or None.
        validation: makes the batches that `best` is chosen on; None where nothing is held out.
        foreground: the share of resident windows that must hold a labelled voxel.
        probe: variables on the host -> what the encoder's features are worth, as plain numbers;
            None where that isn't asked for.
    """

    training: Callable[[int, int], Iterator[dict[str, np.ndarray]]]
    resident: dict[str, np.ndarray] | None
    validation: Callable[[], Batches] | None
    foreground: float = 0.0
    probe: Callable[[PyTree], dict[str, float]] | None = None


def fit(
    task: Task,
    optimiser: Optimiser,
    data: Data,
    workdir: Path,
    *,
    description: dict[str, Any],
    pace: Pace,
    seed: int,
    initial: PyTree | None = None,
) -> None:
    """Trains up to `pace.steps`, from the latest checkpoint of `workdir` where it holds one.

    Where the weights come from, in this order: that checkpoint, `initial`, the seed.

    Resumed, a run does bit for bit what it would have done uninterrupted: all that is random
    comes from the seed and the step, and records fall on the same steps. A signal that
    `interrupts` notes ends it at the next step boundary with a checkpoint, which also holds the
    sums that the next record is made of.

    Args:
        task: the problem.
        optimiser: from gradients to updates.
        data: where examples come from.
        workdir: the run's directory.
        description: what each checkpoint says of itself, beside its step, its accuracies and what
            the task has to say.
        pace: how many steps and examples, and how often to log, to evaluate and to save.
        seed: of all that is random.
        initial: variables to begin with, of which the optimiser is built; None makes those of
            the seed.

    Raises:
        DivergedError: loss or gradient became NaN or infinite.
        ArgumentError: numbers of the pace that don't go together.
        Interrupted: a signal came.
    """
    pace.check()
    description = description | task.about
    watch = Stopwatch()
    checkpoints = Checkpoints(workdir)
    first = checkpoints.step("latest") or 0
    latest = checkpoints.description("latest") or {}
    owed = latest.get("pending", {}).get("owed", False)
    # Of a run that begins anew, nothing is kept.
    records = Records(workdir, first or -1, complete=not owed)
    with _closing(checkpoints, records):
        state = make_state(initial or initialise(task, seed), optimiser)
        say(estimate.parameters(state.params))
        if first:
            state = checkpoints.restore("latest", state)
            say(f"resumed from step {first} of {pace.steps}")
        if first < pace.steps or owed:
            checkpoints.require_space("latest", state)
            kept = checkpoints, records, watch
            keeper = Keeper(task, data, workdir, *kept, description, pace, seed)
            if not first:
                keeper.probe(0, state.variables)
            if owed:
                keeper.stop(first, parallel.replicate(state))
            if first < pace.steps:
                step, state = _compiled(task, optimiser, state, first, data, pace, seed, watch)
                _go(step, state, first, pace, keeper)


@contextmanager
def _closing(*written: Any) -> Iterator[None]:
    """Closes them; where the work fails, its error counts, and not those of closing."""
    try:
        yield
    except BaseException:
        for each in written:
            with suppress(Exception):
                each.close()
        raise
    for each in written:
        each.close()


def rehearse(
    task: Task,
    optimiser: Optimiser,
    data: Data,
    *,
    pace: Pace,
    seed: int,
    initial: PyTree | None = None,
) -> float:
    """Says what `fit` would take of memory and time, by a few steps whose outcome is forgotten.

    Returns:
        The seconds of a step.
    """
    pace.check()
    state = make_state(initial or initialise(task, seed), optimiser)
    say(estimate.parameters(state.params))
    step, state = _compiled(task, optimiser, state, 0, data, pace, seed, Stopwatch())
    calls = 3
    for call in range(calls + 1):  # the first one is slower
        interrupts.check()
        state, metrics = step(state)
        jax.block_until_ready(metrics)
        if call == 0:
            begun = time.monotonic()
    seconds = (time.monotonic() - begun) / calls / pace.steps_per_call
    say(
        f"{seconds:.2g} s a step: about {clock(seconds * pace.steps)} for {pace.steps} steps, "
        "evaluation apart"
    )
    return seconds


def _compiled(task, optimiser, state: State, first: int, data: Data, pace: Pace, seed: int, watch):
    """A function that takes the next call's steps, compiled; and the state that it starts with."""
    stride = pace.steps_per_call
    step = make_step(
        task,
        optimiser,
        per_device=parallel.per_device(pace.batch_size, pace.accumulate),
        accumulate=pace.accumulate,
        steps_per_call=stride,
        unroll=parallel.on_cpu(),
        foreground=data.foreground,
    )
    state = parallel.replicate(state)
    resident = None if data.resident is None else parallel.spread(data.resident)
    settings = parallel.replicate(make_settings(seed, optimiser))
    calls = _calls(data, first, stride)
    watch.lap("compiling")
    ahead = list(itertools.islice(calls, 1))
    interrupts.check()
    watch.lap("waiting")
    begun = time.monotonic()
    compiled = parallel.mapped_step(step, state, ahead[0], resident, settings)
    copies = stride if parallel.on_cpu() else 1
    say(estimate.compiled(compiled, copies, time.monotonic() - begun))
    watch.lap("compiling")
    interrupts.check()

    def take(state: State) -> tuple[State, Metrics]:
        after = compiled(state, ahead.pop(), resident, settings)
        watch.lap("stepping")
        # While the device works; only what it has to wait for is lost.
        ahead.extend(itertools.islice(calls, 1))
        watch.lap("waiting" if parallel.ready(after) else "stepping")
        return after

    return take, state


def _go(step: Callable, state: State, first: int, pace: Pace, keeper) -> None:
    """The loop: takes steps, and hands the keeper the metrics of one after the next has begun."""
    stride = pace.steps_per_call
    pending = None
    keeper.restart_clock(keeper.passed)
    with Steps(pace.steps, first) as bar:
        for now in range(first + stride, pace.steps + 1, stride):
            state, metrics = step(state)
            if pending is not None:
                keeper.collect(*pending)
            pending = now, metrics
            if pace.due(now, pace.log) or pace.stops(now):
                keeper.collect(*pending)
                pending = None
                bar.log(now, keeper.report(now))
            else:
                bar.reach(now)
            try:
                if pace.stops(now):
                    keeper.stop(now, state)
            except Interrupted:
                keeper.leave(now, state, owed=True)
                raise
            if interrupts.requested():
                if pending is not None:
                    keeper.collect(*pending)
                keeper.leave(now, state)
                interrupts.check()


def _calls(data: Data, first: int, stride: int) -> Iterator[Any]:
    """What each call takes: windows stacked over its steps; None where they're resident.

    It ends where a signal comes before the windows do.
    """
    if data.resident is not None:
        while True:
            yield None
    batches = (parallel.shard(each, axis=1) for each in data.training(first, stride))
    # In another thread, since to begin a transfer takes the host as long as to begin a step.
    thread = ThreadPoolExecutor(1)
    try:
        begun = deque(thread.submit(next, batches) for _ in range(AHEAD))
        while interrupts.done(begun[0]):
            yield begun.popleft().result()
            begun.append(thread.submit(next, batches))
    finally:
        # What a run's end has to say isn't held up by a read; the end of the process is.
        thread.shutdown(wait=False, cancel_futures=True)
