"""The exceptions that `main` prints as one sentence, and the exit status of each.

A sentence keeps apart what names an argument or a knob from all else. What a leaf reports of its
arguments so becomes a sentence about knobs where the config is known, and in a plan of runs one
about the plan's knobs, though nobody looks for names in prose.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from string import Formatter
from typing import Any

DONE, FAILED, MISTAKE = 0, 1, 2
"""Exit statuses; beside them 128 + n, of a process that signal n interrupted."""


class Name(str):
    """The name of an argument or a knob as a part of a sentence, dotted where it is a member."""

    __slots__ = ()


Parts = tuple[str, ...]
"""A sentence, in order; the names in it are `Name`s."""


def fill(text: str, *values: Any) -> Parts:
    """The parts of a sentence by a template, as `str.format` reads one.

    Args:
        text: {} stands for the next of the values, as {!r} or {:g} has it; {model.width} for that
            name.
        *values: they are taken as they are, whatever they look like.
    """
    parts, left, form = [], list(values), Formatter()
    for literal, field, spec, conversion in form.parse(text):
        parts.append(literal)
        if field:
            parts.append(Name(field))
        elif field is not None:
            parts.append(form.format_field(form.convert_field(left.pop(0), conversion), spec))
    if left:
        raise TypeError(f"more values than {{}} in {text!r}")
    return tuple(part for part in parts if part)


class UserError(Exception):
    """A mistake that the user can correct (exit status 2).

    The message is one sentence: what is wrong, what was found, what was expected. Library callers
    may catch it.

    Attributes:
        parts: the sentence; each `Name` is that of a knob, without "config.". Of a plain text,
            which is taken as it is, only a knob that it begins with is kept apart.
        knob: the dotted name of the knob at fault, without "config."; "" where it isn't one.
    """

    def __init__(self, sentence: str | Parts, *, knob: str = ""):
        super().__init__(sentence)
        if isinstance(sentence, str):
            rest = sentence.removeprefix(f"config.{knob}")
            known = knob and rest != sentence and rest[:1] in (" ", "=", ":", ",", ";")
            sentence = (Name(knob), rest) if known else (sentence,)
        self.parts = sentence
        self.knob = knob or next((p for p in self.parts if isinstance(p, Name)), "")

    @classmethod
    def of(cls, text: str, *values: Any) -> "UserError":
        """One by a template as `fill` takes; the first name in it is the knob at fault."""
        return cls(fill(text, *values))

    def __str__(self) -> str:
        return "".join(f"config.{p}" if isinstance(p, Name) else p for p in self.parts)

    def renamed(self, name: Callable[[str], str]) -> "UserError":
        """The same mistake, with other names of the knobs."""
        knob = name(self.knob) if self.knob else ""
        return UserError(_renamed(self.parts, name), knob=knob)


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
        parts: the sentence; each `Name` is that of an argument.
        argument: its name, dotted where it lies in a mapping.
    """

    def __init__(self, argument: str, problem: str = "", *, parts: Parts = ()):
        super().__init__(argument, problem)
        self.argument, self.parts = argument, parts or (Name(argument), f" {problem}")

    @classmethod
    def of(cls, text: str, *values: Any) -> "ArgumentError":
        """One by a template as `fill` takes; the first name in it is the argument at fault."""
        parts = fill(text, *values)
        return cls(next(part for part in parts if isinstance(part, Name)), parts=parts)

    def __str__(self) -> str:
        return "".join(self.parts)

    def renamed(self, name: Callable[[str], str]) -> "ArgumentError":
        """The same mistake, with other names of the arguments."""
        return ArgumentError(name(self.argument), parts=_renamed(self.parts, name))


@contextmanager
def members_of(argument: str = "", **renamed: str) -> Iterator[None]:
    """Has an `ArgumentError` from within name members of that argument, which is a mapping.

    Args:
        argument: "" where the arguments are the caller's own.
        **renamed: argument -> the caller's name of it, of those that lie elsewhere.
    """
    try:
        yield
    except ArgumentError as error:
        raise error.renamed(_naming(argument, renamed)) from error


@contextmanager
def knobs(room: str = "", **renamed: str) -> Iterator[None]:
    """Turns an `ArgumentError` from within into a `UserError` about the knobs that it came from.

    Args:
        room: the part of the config whose knobs are the arguments, e.g. "proxy"; "" for the top.
        **renamed: argument -> the dotted name of its knob, of those that lie elsewhere.
    """
    try:
        yield
    except ArgumentError as error:
        named = error.renamed(_naming(room, renamed))
        raise UserError(named.parts, knob=named.argument) from error


def _naming(room: str, renamed: dict[str, str]) -> Callable[[str], str]:
    """Name -> the name there; a mapping that is named otherwise takes its members along."""

    def name(found: str) -> str:
        head, dot, rest = found.partition(".")
        if head in renamed:
            return f"{renamed[head]}{dot}{rest}"
        return f"{room}.{found}" if room else found

    return name


def _renamed(parts: Parts, name: Callable[[str], str]) -> Parts:
    return tuple(Name(name(part)) if isinstance(part, Name) else part for part in parts)
