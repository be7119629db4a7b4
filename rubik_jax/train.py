"""The one training loop, for any task: evaluate, save, next batch, step, log the step before."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from rubik_jax import metrics, parallel
from rubik_jax.checkpoints import Checkpoints
from rubik_jax.errors import UserError
from rubik_jax.evaluate import make_evaluation
from rubik_jax.metrics import add
from rubik_jax.report import estimate, mistakes, page
from rubik_jax.report.progress import Steps, clock, say
from rubik_jax.report.records import Records
from rubik_jax.report.stopwatch import Stopwatch
from rubik_jax.step import State, initialise, make_state, make_step
from rubik_jax.types import Metrics, Task

PAGE = 60  # seconds between two pages of a run that has nothing else to show

Batches = Iterable[dict[str, np.ndarray]]


class Data(NamedTuple):
    """Where a run's examples come from.

    Attributes:
        training: step -> endless batches from that step on; not used where there is `resident`.
        resident: the training cohort for the devices, with a leading axis of devices, or None.
        validation: makes the batches that `best` is chosen on; None where nothing is held out.
        foreground: the share of resident windows that must hold a labelled voxel.
        probe: variables on the host -> what the encoder's features are worth, as plain numbers;
            None where that isn't asked for.
    """

    training: Callable[[int], Iterator[dict[str, np.ndarray]]]
    resident: dict[str, np.ndarray] | None
    validation: Callable[[], Batches] | None
    foreground: float = 0.0
    probe: Callable[[PyTree], dict[str, float]] | None = None


class Pace(NamedTuple):
    """How a run goes: numbers of steps, and of examples.

    Attributes:
        steps: of the whole run.
        batch_size: examples of a step, on all devices together.
        accumulate: in how many parts a device works off its share.
        steps_per_call: steps of one compiled call.
        log: a record every so many steps.
        evaluate: an evaluation on the validation part every so many steps.
        checkpoint: a checkpoint every so many steps.
        probe: a probe of the encoder's features every so many steps, and before the first; 0 for
            none.
    """

    steps: int
    batch_size: int
    accumulate: int
    steps_per_call: int
    log: int
    evaluate: int
    checkpoint: int
    probe: int = 0

    def check(self) -> None:
        """Raises UserError where the batch can't be shared out, or something's due in a call."""
        parallel.per_device(self.batch_size, self.accumulate)
        knobs = {
            "steps": self.steps,
            "every.log": self.log,
            "every.evaluate": self.evaluate,
            "every.checkpoint": self.checkpoint,
            "every.probe": self.probe,
        }
        for knob, value in knobs.items():
            optional = knob == "every.probe"
            if value < (0 if optional else 1) or value % self.steps_per_call:
                raise UserError(
                    f"config.{knob} is {value}; expected {'0 or ' if optional else ''}a multiple "
                    f"of config.steps_per_call ({self.steps_per_call})"
                )

    def due(self, step: int, period: int) -> bool:
        """Whether what happens every so many steps (0: never) does at this one, or at the last."""
        return period > 0 and (step % period == 0 or step == self.steps)

    def stops(self, step: int) -> bool:
        """Whether the run pauses there to evaluate, to probe or to save."""
        return any(self.due(step, each) for each in (self.evaluate, self.checkpoint, self.probe))


class DivergedError(RuntimeError):
    """The loss or the gradient is no longer finite; the message says where and what to do."""


def fit(
    task: Task,
    optimiser: optax.GradientTransformation,
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
    comes from the seed and the step, and records and checkpoints fall on the same steps.

    Args:
        task: the problem.
        optimiser: from gradients to updates.
        data: where examples come from.
        workdir: the run's directory.
        description: what each checkpoint says of itself, beside its step and accuracies.
        pace: how many steps and examples, and how often to log, to evaluate and to save.
        seed: of all that is random.
        initial: variables to begin with, of which the optimiser is built; None makes those of
            the seed.

    Raises:
        DivergedError: loss or gradient became NaN or infinite.
        UserError: numbers that don't go together.
    """
    pace.check()
    watch = Stopwatch()
    checkpoints = Checkpoints(workdir)
    first = checkpoints.step("latest") or 0
    records = Records(workdir, first or -1)  # of a run that begins anew, nothing is kept
    try:
        state = make_state(initial or initialise(task, seed), optimiser)
        say(estimate.parameters(state.params))
        if first:
            state = checkpoints.restore("latest", state)
            say(f"resumed from step {first} of {pace.steps}")
        if first < pace.steps:
            kept = checkpoints, records, watch
            keeper = _Keeper(task, data, workdir, *kept, description, pace, seed)
            if not first:
                keeper.probe(0, state.variables)
            step, state = _compiled(task, optimiser, state, first, data, pace, seed, watch)
            _go(step, state, first, pace, keeper)
    finally:
        checkpoints.close()
        records.close()


def rehearse(
    task: Task,
    optimiser: optax.GradientTransformation,
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
        seed=seed,
        per_device=parallel.per_device(pace.batch_size, pace.accumulate),
        accumulate=pace.accumulate,
        steps_per_call=stride,
        unroll=parallel.on_cpu(),
        foreground=data.foreground,
    )
    state = parallel.replicate(state)
    resident = None if data.resident is None else parallel.spread(data.resident)
    calls = _calls(data, first, stride)
    watch.lap("compiling")
    ahead = [next(calls)]
    watch.lap("waiting")
    begun = time.monotonic()
    compiled = parallel.mapped_step(step, state, ahead[0], resident)
    copies = stride if parallel.on_cpu() else 1
    say(estimate.compiled(compiled, copies, time.monotonic() - begun))
    watch.lap("compiling")

    def take(state: State) -> tuple[State, Metrics]:
        after = compiled(state, ahead.pop(), resident)
        watch.lap("stepping")
        ahead.append(next(calls))  # while the device works; only what it has to wait for is lost
        watch.lap("waiting" if parallel.ready(after) else "stepping")
        return after

    return take, state


def _go(step: Callable, state: State, first: int, pace: Pace, keeper) -> None:
    """The loop: takes steps, and hands the keeper the metrics of one after the next has begun."""
    stride = pace.steps_per_call
    pending = None
    keeper.restart_clock()
    with Steps(pace.steps, first) as bar:
        for now in range(first + stride, pace.steps + 1, stride):
            state, metrics = step(state)
            if pending is not None:
                keeper.collect(*pending)
            pending = now, metrics
            # A call is waited for while the next goes on, and the first ones are slower.
            if now == first + 2 * stride:
                begun = time.monotonic()
            if now == first + 6 * stride:
                whole = (time.monotonic() - begun) / 4 * (pace.steps - first) / stride
                say(f"about {clock(whole)} for {pace.steps - first} steps, evaluation apart")
            if pace.due(now, pace.log) or pace.stops(now):
                keeper.collect(*pending)
                pending = None
                bar.log(now, keeper.report(now))
            else:
                bar.reach(now)
            if pace.stops(now):
                keeper.stop(now, state)


class _Keeper:
    """What a run keeps: sums since the last record, the best score, records and checkpoints."""

    def __init__(self, task, data, workdir, checkpoints, records, watch, description, pace, seed):
        self.task, self.validation, self.pace, self.workdir = task, data.validation, pace, workdir
        self.checkpoints, self.records, self.description = checkpoints, records, description
        self.ask, self.watch, self.shown = data.probe, watch, -float("inf")
        self.evaluate = make_evaluation(task.evaluate, seed)
        best = checkpoints.description("best")
        self.best = best["score"] if best else None
        self.totals: Metrics | None = None
        latest = checkpoints.description("latest")
        self.numbers: dict[str, float] = latest["validation"] if latest else {}
        self.evaluated = latest.get("evaluated", latest["step"]) if latest else 0
        self.mistakes: dict[str, np.ndarray] = {}
        self.since = 0.0

    def restart_clock(self) -> None:
        """Leaves what has just been done out of the rates."""
        self.since = time.monotonic()

    def collect(self, step: int, metrics: Metrics) -> None:
        """Adds a call's metrics up, step by step, in float64; refuses what isn't finite."""
        steps = parallel.unreplicate(metrics)
        first = step - self.pace.steps_per_call + 1
        for i in range(self.pace.steps_per_call):
            each = jax.tree.map(lambda x: np.float64(x[i]), steps)  # noqa: B023
            if not np.isfinite([each["loss"].total, each["gradient_norm"].total]).all():
                raise DivergedError(self._hint(first + i))
            self.totals = each if self.totals is None else add(self.totals, each)

    def report(self, step: int) -> str:
        """Records the means since the last record, and says them in a line."""
        seconds = time.monotonic() - self.since
        numbers = {name: float(mean.value) for name, mean in self.totals.items()}
        examples = float(self.totals["loss"].count)
        rates = {unit: each * examples / seconds for unit, each in self.task.units.items()}
        per_second = {f"{unit}_per_second": rate for unit, rate in rates.items()}
        self.records.write("train", step, numbers | per_second)
        self.totals = None
        self.watch.lap("stepping")
        if time.monotonic() - self.shown > PAGE and not self.pace.stops(step):
            self.show_page(step)
        self.restart_clock()
        fast = "  ".join(f"{rate:.1f} {unit}/s" for unit, rate in rates.items())
        return f"loss {numbers['loss']:.3f}  {self.task.show(numbers)}  {fast}"

    def stop(self, step: int, state: State) -> None:
        """Evaluates and saves, as is due."""
        on_host = parallel.unreplicate(state)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(on_host.params)):
            raise DivergedError(self._hint(step))
        self.watch.lap("saving")
        evaluates = self.pace.due(step, self.pace.evaluate)
        if evaluates and self.validation is not None:
            totals = self.evaluate(state.variables, self.validation())
            self.numbers, self.mistakes = self.task.summarise(totals), mistakes.counted(totals)
            self.evaluated = step
            self.records.write("validation", step, self.numbers)
            say(f"step {step}: validation {self.task.show(self.numbers)}")
            self.watch.lap("evaluating")
            score = self.task.score(self.numbers)
            if self.best is None or score > self.best:
                self.best = score
                self.checkpoints.save("best", step, on_host, self.describe(step))
        self.probe(step, on_host.variables)
        if self.pace.due(step, self.pace.checkpoint):
            self.checkpoints.save("latest", step, on_host, self.describe(step))
        if step == self.pace.steps:
            self.checkpoints.wait()
        self.watch.lap("saving")
        self.records.write("time", step, self.watch.take() | parallel.most_memory())
        if evaluates:
            self.show_page(step)
        self.restart_clock()

    def probe(self, step: int, variables: PyTree) -> None:
        """Records what the features are worth, where that is due."""
        if self.ask is not None and self.pace.due(step, self.pace.probe):
            self.records.write("probe", step, numbers := self.ask(variables))
            say(f"step {step}: {metrics.probes.show(numbers)}")
            self.watch.lap("probing")

    def show_page(self, step: int) -> None:
        """Brings the page of the run up to date, with the scores of the last evaluation."""
        page.write(
            self.workdir,
            self.describe(self.evaluated),
            {"validation": self.numbers} if self.numbers else {},
            self.task.diagnose(self.numbers) if self.numbers else [],
            {"mistakes": self.mistakes} if self.mistakes else {},
            running=step < self.pace.steps,
        )
        self.watch.lap("reporting")
        self.shown = time.monotonic()

    def describe(self, step: int) -> dict[str, Any]:
        """What a checkpoint of this step says of itself."""
        return self.description | {
            "step": step,
            "score": self.best,
            "validation": self.numbers,
            "evaluated": self.evaluated,
        }

    def _hint(self, step: int) -> str:
        last = self.checkpoints.step("latest")
        return (
            f"loss or gradient is not finite at step {step}; the last good checkpoint is "
            f"{'none' if last is None else f'of step {last}'}; try, in another --workdir, a lower "
            "config.optim.rate, a longer config.optim.warmup, config.optim.clip=1.0 or "
            "config.model.encoder.dtype=float32"
        )


def _calls(data: Data, first: int, stride: int) -> Iterator[Any]:
    """What each call is handed: windows stacked over its steps; nothing where they're resident."""
    if data.resident is not None:
        while True:
            yield None
    batches = data.training(first)
    while True:
        group = [next(batches) for _ in range(stride)]
        stacked = {name: np.stack([batch[name] for batch in group]) for name in group[0]}
        yield parallel.shard(stacked, axis=1)
