"""The exceptions that `main` prints as one sentence, and the exit status of each."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

DONE, FAILED, MISTAKE = 0, 1, 2
"""Exit statuses; beside them 128 + n, of a process that signal n interrupted."""


class UserError(Exception):
    """A mistake that the user can correct (exit status 2).

    The message is one sentence: what is wrong, what was found, what was expected. Library callers
    may catch it.

    Attributes:
        knob: the dotted name of the knob at fault, without "config."; "" where it isn't one.
    """

    def __init__(self, sentence: str, *, knob: str = ""):
        super().__init__(sentence)
        self.knob = knob


class RunError(Exception):
    """A run that can't go on though nothing that was given is wrong (exit status 1).

    The message says why, what to change, and what the same command does next time.
    """


class Interrupted(BaseException):
    """A signal asked the process to end; raised where nothing is left half-written.

    Attributes:
        status: the exit status, 128 + the number of the signal, as shells have it.
    """

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class ArgumentError(ValueError):
    """An argument of a public function that can't be used.

    Attributes:
        argument: its name, dotted where it lies in a mapping.
        problem: the rest of the sentence, e.g. "is 0; expected 1 to 100".
    """

    def __init__(self, argument: str, problem: str):
        super().__init__(f"{argument} {problem}")
        self.argument, self.problem = argument, problem


@contextmanager
def knobs(room: str = "", **renamed: str) -> Iterator[None]:
    """Turns an `ArgumentError` from within into a `UserError` about the knob that it came from.

    Args:
        room: the part of the config whose knobs are the arguments, e.g. "proxy"; "" for the top.
        **renamed: argument -> the dotted name of its knob, of those that lie elsewhere.
    """
    try:
        yield
    except ArgumentError as error:
        name = error.argument
        knob = renamed.get(name) or (f"{room}.{name}" if room else name)
        raise UserError(f"config.{knob} {error.problem}", knob=knob) from error
