"""Holds the knobs of a run against those there are: their names, their kinds, their ranges."""

import math
from typing import Any

from rubik_jax.errors import UserError
from rubik_jax.spelling import did_you_mean
from rubik_jax.workdir import flat

MANY = 2**31 - 1
RANGES = {  # from the least to the most, of the knobs that a task has
    "seed": (0, MANY),
    "steps": (1, MANY),
    "batch_size": (1, MANY),
    "accumulate": (1, MANY),
    "steps_per_call": (1, MANY),
    "optim.rate": (0, math.inf),
    "optim.encoder.rate": (0, math.inf),
    "optim.encoder.decay": (0, 1),
    "optim.encoder.freeze": (0, MANY),
    "optim.clip": (0, math.inf),
    "optim.final": (0, 1),
    "optim.momentum": (0, 1),
    "optim.weight_decay": (0, math.inf),
    "data.count": (1, MANY),
    "data.video.frames": (2, MANY),
    "data.video.side": (2, MANY),
    "data.video.split": (1, 3),
    "data.workers": (0, 1024),
    "data.split.seed": (0, MANY),
    "data.split.folds": (0, MANY),
    "data.split.fold": (0, MANY),
    "data.foreground": (0, 1),
    "evaluate.repeats": (1, MANY),
    "inference.batch_size": (1, MANY),
    "proxy.ratio": (0, 1),
    "proxy.nonlinear": (0, 1),
    "proxy.shuffle": (0, 1),
    "proxy.paint": (0, 1),
    "proxy.inpaint": (0, 1),
    "proxy.temperature": (0, math.inf),
    "loss.cross_entropy": (0, math.inf),
    "loss.dice": (0, math.inf),
    "loss.alpha": (0, math.inf),
    "loss.beta": (0, math.inf),
    "loss.gamma": (0, math.inf),
    "model.projection": (0, MANY),
    "model.hidden": (0, MANY),
}


def check(given: dict[str, Any], shipped: dict[str, Any], task: str) -> None:
    """Refuses what a config can't mean.

    Args:
        given: the knobs of a run, nested.
        shipped: those of the shipped config of its task, which names all there are.
        task: its name.

    Raises:
        UserError: a knob too many or too few, a value of another kind than the shipped one, or a
            number beyond its range.
    """
    given, known = flat(given), flat(shipped)
    for name in sorted(given.keys() ^ known.keys()):
        if name in given:
            near = did_you_mean(name, known.keys() - given.keys(), "config.{}")
            raise _wrong(name, f"is no knob; expected those of configs/{task}.py{near}")
        raise _wrong(name, f"is missing; expected the knobs of configs/{task}.py")
    for name, value in given.items():
        if not alike(value, known[name]):
            raise _wrong(name, f"is {value!r}; expected {described(known[name])}")
    for name, (least, most) in RANGES.items():
        if name in given and not least <= given[name] <= most:
            raise _wrong(name, f"is {given[name]}; expected {least} to {most}")


def _wrong(name: str, problem: str) -> UserError:
    return UserError(f"config.{name} {problem}", knob=name)


def described(like: Any) -> str:
    """What a knob takes, for a sentence, by the shipped value."""
    if like is None or isinstance(like, str):
        return "text"
    if isinstance(like, bool):
        return "True or False"
    if isinstance(like, tuple | list):
        return f"a tuple such as {tuple(like) or ('a', 'b')}"
    return f"a {'whole ' if isinstance(like, int) else ''}number such as {like}"


def alike(value: Any, like: Any) -> bool:
    """Whether a knob's value is of the kind of the shipped one, to the elements of tuples."""
    if value is None or like is None:  # a path that is not set
        return all(each is None or isinstance(each, str) for each in (value, like))
    if isinstance(like, tuple | list):
        # An empty one is shipped for names or for numbers; what takes it checks which.
        return isinstance(value, tuple | list) and (
            all(alike(each, like[0]) for each in value)
            if like
            else len({isinstance(each, str) for each in value}) < 2
        )
    if isinstance(like, float):
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is type(like)
