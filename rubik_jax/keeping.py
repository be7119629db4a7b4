"""How often a run stops, and what it does then: adds up, evaluates, saves, records, shows."""

import time
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from rubik_jax import metrics, parallel
from rubik_jax.errors import ArgumentError, RunError
from rubik_jax.evaluate import make_evaluation
from rubik_jax.report.progress import Sparse, say
from rubik_jax.step import State
from rubik_jax.types import Mean, Metrics

PAGE = 60  # seconds between two pages of a run that has nothing else to show


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
        """Raises ArgumentError where the batch can't be shared out, or a call runs past a stop."""
        parallel.per_device(self.batch_size, self.accumulate)
        for name in ("steps", "log", "evaluate", "checkpoint", "probe"):
            value, optional = getattr(self, name), name == "probe"
            if value < (0 if optional else 1):
                raise ArgumentError.of(
                    f"{{{name}}} is {{}}; expected {'0 or ' if optional else ''}a multiple of "
                    "{steps_per_call} ({})",
                    *(value, self.steps_per_call),
                )
            if value % self.steps_per_call:  # most are the config's own: what was given is to blame
                fits = -(-value // self.steps_per_call) * self.steps_per_call
                raise ArgumentError.of(
                    f"{{steps_per_call}} is {{}}, of which {{{name}}} ({{}}) is no multiple; "
                    f"expected a divisor of it, or {{{name}}}={{}}",
                    *(self.steps_per_call, value, fits),
                )

    def due(self, step: int, period: int) -> bool:
        """Whether what happens every so many steps (0: never) does at this one, or at the last."""
        return period > 0 and (step % period == 0 or step == self.steps)

    def stops(self, step: int) -> bool:
        """Whether the run pauses there to evaluate, to probe or to save."""
        return any(self.due(step, each) for each in (self.evaluate, self.checkpoint, self.probe))


class DivergedError(RunError):
    """The loss or the gradient is no longer finite; the message says where and what to do."""


class Keeper:
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
        pending = (latest or {}).get("pending", {})
        if "totals" in pending:
            self.totals = {
                name: Mean(*map(np.float64, mean)) for name, mean in pending["totals"].items()
            }
        self.passed: float = pending.get("passed", 0.0)
        watch.add(pending.get("spent", {}))
        self.announced = Sparse()  # of validation; metrics.jsonl and the page have every one

    def restart_clock(self, passed: float = 0.0) -> None:
        """Leaves what has just been done out of the rates, but for so many seconds."""
        self.since = time.monotonic() - passed

    def collect(self, step: int, sums: Metrics) -> None:
        """Adds a call's metrics up, step by step, in float64; refuses what isn't finite."""
        steps = parallel.unreplicate(sums)
        first = step - self.pace.steps_per_call + 1
        for i in range(self.pace.steps_per_call):
            each = jax.tree.map(lambda x: np.float64(x[i]), steps)  # noqa: B023
            if not np.isfinite([each["loss"].total, each["gradient_norm"].total]).all():
                raise DivergedError(self._hint(first + i))
            self.totals = each if self.totals is None else metrics.add(self.totals, each)

    def report(self, step: int) -> str:
        """Records the means since the last record, and says them in a line."""
        seconds = time.monotonic() - self.since
        numbers = metrics.means(self.totals)
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
        from rubik_jax.report import mistakes  # here, as `page`: matplotlib can wait till then

        on_host = self._on_host(step, state)
        self.watch.lap("saving")
        evaluates = self.pace.due(step, self.pace.evaluate)
        if evaluates and self.validation is not None:
            totals = self.evaluate(state.variables, self.validation())
            self.numbers, self.mistakes = self.task.summarise(totals), mistakes.counted(totals)
            self.evaluated = step
            self.records.write("validation", step, self.numbers)
            self.announced.say(
                f"step {step}: validation {self.task.show(self.numbers)}",
                always=step == self.pace.steps,
            )
            self.watch.lap("evaluating")
            score = self.task.score(self.numbers)
            if self.best is None or score > self.best:
                self.best = score
                self.checkpoints.save("best", step, on_host, self.describe(step))
        self.probe(step, on_host.variables)
        if self.checkpoints.step("latest") == step:  # of an interrupt, which left this to be done
            self.checkpoints.describe_anew("latest", self.describe(step))
        elif self.pace.due(step, self.pace.checkpoint):
            self.checkpoints.save("latest", step, on_host, self.describe(step))
        if step == self.pace.steps:
            self.checkpoints.wait()
        self.watch.lap("saving")
        self.records.write("time", step, self.watch.take() | parallel.most_memory())
        if evaluates:
            self.show_page(step)
        self.restart_clock()

    def leave(self, step: int, state: State, *, owed: bool = False) -> None:
        """Saves where the run is interrupted, with the sums since the last record.

        Args:
            step: the last that was taken.
            state: after it.
            owed: whether `stop` was due at that step and isn't done, which the next process does.
        """
        on_host = self._on_host(step, state)
        self.watch.lap("stepping")
        self.checkpoints.wait()
        if self.checkpoints.step("latest") != step:
            pending = {"owed": owed, "spent": self.watch.take()}
            if self.totals is not None:
                # JSON gives every bit of a float64 back.
                sums = jax.tree.map(lambda x: np.asarray(x).tolist(), self.totals)
                pending |= {"totals": sums, "passed": time.monotonic() - self.since}
            description = self.describe(step) | {"pending": pending}
            self.checkpoints.save("latest", step, on_host, description)
            self.checkpoints.wait()
        say(f"interrupted: the checkpoint of step {step} of {self.pace.steps} is saved")

    def probe(self, step: int, variables: PyTree) -> None:
        """Records what the features are worth, where that is due."""
        if self.ask is not None and self.pace.due(step, self.pace.probe):
            self.records.write("probe", step, numbers := self.ask(variables))
            say(f"step {step}: {metrics.probes.show(numbers)}")
            self.watch.lap("probing")

    def show_page(self, step: int) -> None:
        """Brings the page of the run up to date, with the scores of the last evaluation."""
        from rubik_jax.report import page

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

    def _on_host(self, step: int, state: State) -> State:
        """The state as it's saved; DivergedError where it isn't finite."""
        on_host = parallel.unreplicate(state)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(on_host.params)):
            raise DivergedError(self._hint(step))
        return on_host

    def _hint(self, step: int) -> str:
        last = self.checkpoints.step("latest")
        return (
            f"loss or gradient is not finite at step {step}; the last good checkpoint is "
            f"{'none' if last is None else f'of step {last}'}; try, in another --workdir, a lower "
            "config.optim.rate, a longer config.optim.warmup, config.optim.clip=1.0 or "
            "config.model.encoder.dtype=float32"
        )
