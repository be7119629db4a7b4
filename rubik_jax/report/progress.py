"""How far work has come: a bar with the time left, or plain lines where there's no terminal."""

import io
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rubik_jax import interrupts
from rubik_jax.errors import Interrupted

T = TypeVar("T")

SILENCE = 10  # seconds without a line, where there's no terminal


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Ends the process as SIGPIPE would: nobody reads on, as after `| head`."""
        self.quiet = True
        with suppress(OSError, ValueError):  # else Python complains when it flushes at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Interrupted(signal.SIGPIPE)


console = _Console(highlight=False, soft_wrap=True)


def print_anywhere() -> None:
    """Has a terminal that lacks a character, such as the ³ of mm³, show another in its place."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def say(text: str) -> None:
    """Prints a line, above the bar where there is one."""
    console.print(text, markup=False)


class Sparse:
    """Lines of one kind, of which one that comes soon after another is left out."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def say(self, text: str, *, always: bool = False) -> None:
        """Prints what comes `SILENCE` seconds after the line before, or with `always`."""
        now = time.monotonic()
        if always or now - self._last >= SILENCE:
            self._last = now
            say(text)


@contextmanager
def silent() -> Iterator[None]:
    """Nothing is said within."""
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


class Steps:
    """A bar over the steps of a run; without a terminal, a line now and then and at the end."""

    def __init__(self, total: int, start: int):
        self._total, self._first = total, start
        self._begun = time.monotonic()
        self._lines, self._silent = Sparse(), True
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=total, completed=start, text="")

    def __enter__(self) -> "Steps":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def reach(self, step: int) -> None:
        """Moves the bar."""
        self._bar.update(self._task, completed=step)

    def log(self, step: int, text: str) -> None:
        """Says how the run stands at a step, with the time left.

        Without a terminal the first and the last step get a line, and of the others those that
        come at least `SILENCE` seconds after the line before.
        """
        self._bar.update(self._task, completed=step, text=text)
        if not console.is_terminal:
            taken = (time.monotonic() - self._begun) / max(step - self._first, 1)
            left = clock(taken * (self._total - step))
            line = f"step {step}/{self._total}  {text}  ETA {left}"
            self._lines.say(line, always=self._silent or step == self._total)
            self._silent = False


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Hands the items on as they come in, showing how many of `total` have, and the time left.

    Between two it raises `Interrupted` where a signal has come. Without a terminal a line is
    printed every `SILENCE` seconds and at the end, none where all is done before the first.
    """
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    begun = said = time.monotonic()
    done = 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        for done, item in enumerate(items, 1):
            bar.advance(task)
            now = time.monotonic()
            if not console.is_terminal and now - said > SILENCE and done < total:
                rate, said = done / (now - begun), now
                left = clock((total - done) / rate)
                say(f"{what}: {done} of {total}, {rate:.3g}/s, ETA {left}")
            yield item
            interrupts.check()
    # What was done at once needs no line.
    if not console.is_terminal and (said != begun or done != total):
        say(f"{what}: {done} of {total}")
