"""The one training loop, for any task: evaluate, save, next batch, step, log the step before."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from rubik_jax import parallel
from rubik_jax.checkpoints import Checkpoints
from rubik_jax.errors import UserError
from rubik_jax.evaluate import make_evaluation
from rubik_jax.report import estimate
from rubik_jax.report.progress import Steps, clock, say
from rubik_jax.report.records import Records
from rubik_jax.step import State, make_state, make_step
from rubik_jax.types import Metrics, Task

Batches = Iterable[dict[str, np.ndarray]]


class Data(NamedTuple):
    """Where a run's examples come from.

    Attributes:
        training: step -> endless batches from that step on; not used where there is `resident`.
        resident: the training cohort for the devices, with a leading axis of devices, or None.
        validation: makes the batches that `best` is chosen on; None where nothing is held out.
    """

    training: Callable[[int], Iterator[dict[str, np.ndarray]]]
    resident: dict[str, np.ndarray] | None
    validation: Callable[[], Batches] | None


class Every(NamedTuple):
    """How often, in steps, a run does what."""

    log: int
    evaluate: int
    checkpoint: int


class DivergedError(RuntimeError):
    """The loss or the gradient is no longer finite; the message says where and what to do."""


def fit(
    task: Task,
    optimiser: optax.GradientTransformation,
    data: Data,
    workdir: Path,
    *,
    description: dict[str, Any],
    steps: int,
    batch_size: int,
    accumulate: int,
    steps_per_call: int,
    seed: int,
    every: Every,
) -> None:
    """Trains up to `steps`, from the latest checkpoint of `workdir` where it holds one.

    Resumed, a run does bit for bit what it would have done uninterrupted: all that is random
    comes from the seed and the step, and records and checkpoints fall on the same steps.

    Args:
        task: the problem.
        optimiser: from gradients to updates.
        data: where examples come from.
        workdir: the run's directory.
        description: what each checkpoint says of itself, beside its step and accuracies.
        steps: of the whole run.
        batch_size: examples of a step on all devices together.
        accumulate: in how many parts a device works off its share.
        steps_per_call: steps of one compiled call.
        seed: of all that is random.
        every: how often to log, to evaluate and to save.

    Raises:
        DivergedError: loss or gradient became NaN or infinite.
        UserError: numbers that don't go together.
    """
    _check_rhythm(steps, steps_per_call, every)
    per_device = parallel.per_device(batch_size, accumulate)
    checkpoints = Checkpoints(workdir)
    state = make_state(task, optimiser, seed)
    say(estimate.parameters(state.params))
    begun = checkpoints.step("latest")
    if begun is not None:
        state = checkpoints.restore("latest", state)
        say(f"resumed from step {begun} of {steps}")
    records = Records(workdir, begun or 0)
    try:
        if (begun or 0) < steps:
            build = make_step(
                task,
                optimiser,
                seed=seed,
                per_device=per_device,
                accumulate=accumulate,
                steps_per_call=steps_per_call,
                unroll=parallel.on_cpu(),
            )
            run = _Run(task, data, checkpoints, records, description, steps, every, seed)
            run.go(build, state, begun or 0, steps_per_call)
    finally:
        checkpoints.close()
        records.close()


class _Run:
    """The loop, and what it has in hand between two steps."""

    def __init__(self, task, data, checkpoints, records, description, steps, every, seed):
        self.task, self.data, self.steps, self.every = task, data, steps, every
        self.checkpoints, self.records, self.description = checkpoints, records, description
        self.evaluate = make_evaluation(task.evaluate, seed)
        best = checkpoints.description("best")
        self.best = best["score"] if best else -np.inf
        self.totals: Metrics | None = None
        self.numbers: dict[str, float] = {}

    def go(self, step_fn, state: State, first: int, stride: int) -> None:
        state = parallel.replicate(state)
        resident = None if self.data.resident is None else parallel.spread(self.data.resident)
        calls = _calls(self.data, first, stride)
        batches = next(calls)
        begun = time.monotonic()
        step = parallel.mapped_step(step_fn, state, batches, resident)
        say(estimate.compiled(step, time.monotonic() - begun))

        pending = None
        begun = self.since = time.monotonic()
        with Steps(self.steps, first) as bar:
            for now in range(first + stride, self.steps + 1, stride):
                state, metrics = step(state, batches, resident)
                batches = next(calls) if now < self.steps else None
                if pending is not None:
                    self.collect(*pending)
                pending = now, metrics
                if now == first + 3 * stride:  # two calls have been waited for by now
                    whole = (time.monotonic() - begun) / 2 * (self.steps - first) / stride
                    say(f"about {clock(whole)} for {self.steps - first} steps, evaluation apart")
                bar.reach(now - stride)
                if self.due(now, self.every.log) or self.stops(now):
                    self.collect(*pending)
                    pending = None
                    bar.log(now, self.report(now))
                if self.stops(now):
                    self.stop(now, state)
                    self.since = time.monotonic()

    def due(self, step: int, period: int) -> bool:
        return step % period == 0 or step == self.steps

    def stops(self, step: int) -> bool:
        return self.due(step, self.every.evaluate) or self.due(step, self.every.checkpoint)

    def collect(self, step: int, metrics: Metrics) -> None:
        """Adds a call's metrics up, step by step, in float64; refuses what isn't finite."""
        host = jax.tree.map(np.float64, parallel.unreplicate(metrics))
        count = len(host["loss"].total)
        for i in range(count):
            each = jax.tree.map(lambda x: x[i], host)  # noqa: B023
            if not np.isfinite([each["loss"].total, each["gradient_norm"].total]).all():
                last = self.checkpoints.step("latest")
                raise DivergedError(
                    f"loss or gradient is not finite at step {step - count + i + 1}; the last good "
                    f"checkpoint is {'none' if last is None else f'of step {last}'}; try a lower "
                    "config.optim.rate, a longer config.optim.warmup, config.optim.clip=1.0 or "
                    "config.model.encoder.dtype=float32"
                )
            self.totals = each if self.totals is None else jax.tree.map(np.add, self.totals, each)

    def report(self, step: int) -> str:
        """Records the means since the last record, and says them in a line."""
        seconds = time.monotonic() - self.since
        numbers = {name: float(mean.value) for name, mean in self.totals.items()}
        examples = float(self.totals["loss"].count)
        rates = {
            f"{unit}_per_second": n * examples / seconds for unit, n in self.task.units.items()
        }
        self.records.write("train", step, numbers | rates)
        self.totals, self.since = None, time.monotonic()
        shown = [f"loss {numbers['loss']:.3f}"]
        shown += [
            f"{name.removesuffix('_accuracy')} {numbers[name]:.1%}"
            for name in numbers
            if name.endswith("_accuracy")
        ]
        shown += [f"{rate:.1f} {unit.replace('_per_second', '/s')}" for unit, rate in rates.items()]
        return "  ".join(shown)

    def stop(self, step: int, state: State) -> None:
        """Evaluates and saves, as is due."""
        on_host = None
        if self.due(step, self.every.evaluate) and self.data.validation is not None:
            totals = self.evaluate(state.variables, self.data.validation())
            self.numbers = self.task.summarise(totals)
            self.records.write("validation", step, self.numbers)
            say(f"step {step}: validation {show(self.numbers)}")
            for warning in self.task.diagnose(self.numbers) if step == self.steps else ():
                say(f"warning: {warning}")
            score = self.task.score(self.numbers)
            if score > self.best:
                self.best = score
                on_host = parallel.unreplicate(state)
                self.checkpoints.save("best", step, on_host, self.describe(step, score))
        if self.due(step, self.every.checkpoint):
            on_host = parallel.unreplicate(state) if on_host is None else on_host
            self.checkpoints.save("latest", step, on_host, self.describe(step, self.best))

    def describe(self, step: int, score: float) -> dict[str, Any]:
        found = {"step": step, "score": None if np.isinf(score) else score}
        return self.description | found | {"validation": self.numbers}


def show(numbers: dict[str, float]) -> str:
    """Accuracies in a line, each beside chance."""
    names = [name.removesuffix("_accuracy") for name in numbers if name.endswith("_accuracy")]
    parts = []
    for name in names:
        chance = numbers.get(f"{name}_chance")
        beside = "" if chance is None else f" (chance {chance:.1%})"
        parts.append(f"{name} {numbers[f'{name}_accuracy']:.1%}{beside}")
    return ", ".join(parts)


def _check_rhythm(steps: int, stride: int, every: Every) -> None:
    """Raises UserError where what is due falls within a call, or is never due."""
    for knob, value in {
        "steps": steps,
        **{f"every.{k}": v for k, v in every._asdict().items()},
    }.items():
        if value < 1 or stride < 1 or value % stride:
            raise UserError(
                f"config.{knob} is {value}; expected a multiple of config.steps_per_call ({stride})"
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
