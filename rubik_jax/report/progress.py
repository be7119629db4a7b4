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


@contextmanager
def silent() -> Iterator[None]:
    """Nothing is said within."""
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


class Steps:
    """A bar over the steps of a run; without a terminal, what is said are the lines alone."""

    def __init__(self, total: int, start: int):
        self._total, self._first = total, start
        self._begun = time.monotonic()
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
        """Says how the run stands at a step, with the time left."""
        self._bar.update(self._task, completed=step, text=text)
        done = step - self._first
        left = (time.monotonic() - self._begun) / max(done, 1) * (self._total - step)
        if not console.is_terminal:
            say(f"step {step}/{self._total}  {text}  ETA {clock(left)}")


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Hands the items on as they come in, showing how many of `total` have, and the time left."""
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
    if not console.is_terminal:
        say(f"{what}: {done} of {total}")
