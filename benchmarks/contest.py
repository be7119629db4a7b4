"""Races: contestants in processes of their own, which take turns, so that ratios hold anywhere."""

import argparse
import multiprocessing
import os
import pkgutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from rubik_jax import allocator

KINDS = ("step", "bare")
# For contestants that share a device's memory, which JAX would else take for itself.
SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}

SECONDS = 0.5  # of a turn, and of what goes before it and doesn't count
_PATIENCE = 10.0  # seconds that a contestant has to end


class Contestant(NamedTuple):
    """What is raced.

    Attributes:
        name: for people.
        parameters: of its network.
        volumes: of a step.
        cubes: of a step; 0 where there are none.
        step: takes one step from end to end, and waits until it's done.
        bare: the same on data that are already on the device.
        close: ends what it has begun.
    """

    name: str
    parameters: int
    volumes: int
    cubes: int
    step: Callable[[], object]
    bare: Callable[[], object]
    close: Callable[[], object]


class Call(NamedTuple):
    """A call that is made in another process, which alone imports what it needs.

    Attributes:
        function: "package.module:name".
        arguments: of the function.
        environment: variables that are set before the function is imported.
        keeps_memory: whether what is freed is kept for the process, as our command has it.
    """

    function: str
    arguments: tuple = ()
    environment: Mapping[str, str] = {}
    keeps_memory: bool = False

    def __call__(self) -> Any:
        """What the function returns."""
        os.environ.update(self.environment)
        if self.keeps_memory:
            allocator.keep_freed_memory()
        return pkgutil.resolve_name(self.function)(*self.arguments)


def apart(call: Callable[[], Any]) -> Any:
    """What a call returns that is made in a fresh process."""
    # Not by a `Pool`, whose processes may have no children of their own.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call).result()


def turn(run: Callable[[], object], seconds: float) -> float:
    """The seconds of a call, their mean over at least one call and so many seconds."""
    count, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < seconds or not count:
        run()
        count += 1
    return spent / count


def add_memory(parser: argparse.ArgumentParser) -> None:
    """Adds the option that gives peers what our command gives us."""
    said = "have peers keep freed memory, too, which ours does and theirs don't by default"
    parser.add_argument("--keep_memory", action="store_true", help=said)


def race(
    factories: Mapping[str, Callable[[], Contestant]], rounds: int, seconds: float = SECONDS
) -> dict[str, dict]:
    """Has the contestants take turns.

    Args:
        factories: what makes each contestant, in its own process, by name.
        rounds: in each of which every contestant has its turn.
        seconds: of a turn at least, and of what goes before it and doesn't count.

    Returns:
        Of each contestant the best seconds of a "step" and of a "bare" one, those of all "rounds"
        by the same names, and its "name", "parameters", "volumes" and "cubes".

    Raises:
        RuntimeError: contestants of unequal size, or one that failed.
    """
    with ExitStack() as stack:
        pipes = {
            name: stack.enter_context(_started(make, seconds)) for name, make in factories.items()
        }
        found = {name: _heard(name, pipe) for name, pipe in pipes.items()}
        _check_equal(found)
        for each in found.values():
            each["rounds"] = {kind: [] for kind in KINDS}
        for _ in range(rounds):
            for kind in KINDS:
                for name, pipe in pipes.items():
                    pipe.send(kind)
                    found[name]["rounds"][kind].append(_heard(name, pipe))
    return {
        name: each | {kind: min(each["rounds"][kind]) for kind in KINDS}
        for name, each in found.items()
    }


def ratios(ours: dict, theirs: dict) -> dict[str, dict[str, float]]:
    """How many times their rate ours is, of what `race` tells of both.

    Returns:
        Of "step" and "bare" the "best" of ours over the best of theirs, and the "least" and the
        "most" that a single round gave.
    """
    scale = ours["volumes"] / theirs["volumes"]
    found = {}
    for kind in KINDS:
        pairs = zip(ours["rounds"][kind], theirs["rounds"][kind], strict=True)
        each = [scale * their / our for our, their in pairs]
        best = scale * theirs[kind] / ours[kind]
        found[kind] = {"best": best, "least": min(each), "most": max(each)}
    return found


def _check_equal(found: dict[str, dict]) -> None:
    counts = {name: each["parameters"] for name, each in found.items()}
    if len({*counts.values()}) > 1:
        said = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise RuntimeError(f"the contestants differ in their parameters: {said}")


@contextmanager
def _started(make: Callable[[], Contestant], seconds: float) -> Iterator[Connection]:
    """The pipe to a contestant in a process of its own, which ends with the context."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, make, seconds))
    process.start()
    there.close()  # so that a contestant's end is noticed
    try:
        yield here
        here.send(None)
        process.join(_PATIENCE)
    finally:
        process.terminate()
        process.join()


def _heard(name: str, pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        raise RuntimeError(f"{name} failed; what it said stands above") from None


def _serve(pipe: Connection, make: Callable[[], Contestant], seconds: float) -> None:
    """Introduces a contestant, then times a turn whenever it is asked for one."""
    contestant = make()
    names = ("name", "parameters", "volumes", "cubes")
    pipe.send({name: getattr(contestant, name) for name in names})
    for kind in iter(pipe.recv, None):
        run = getattr(contestant, kind)
        # The others' workers may still be filling up, and its own have had time to be ahead.
        turn(run, seconds)
        pipe.send(turn(run, seconds))
    contestant.close()
