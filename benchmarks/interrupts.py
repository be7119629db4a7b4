"""Sends the command signals at random moments, and compares what it comes to with a calm run.

python -m benchmarks.interrupts --count=30 --seed=0
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rubik_jax import checkpoints
from rubik_jax.report.records import read

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
TRAIN = ("--config=configs/pretrain.py:debug", "--config.data.count=24", "--config.steps=60")
OFTEN = ("--config.every.log=7", "--config.every.evaluate=12", "--config.every.checkpoint=20")
ALWAYS = ("--config.every.log=7", "--config.every.evaluate=5", "--config.every.checkpoint=1")
NOTED = "a second signal ends at once"  # what a command says of the first, unless it's at its end
LIMIT = 600  # seconds, after which a command counts as stuck


class Phase(NamedTuple):
    """What is interrupted.

    Attributes:
        words: of the command, without its folders.
        moment: (process, its output so far, folder) -> whether the signal may come from now on.
        trained: whether there must be a finished run before.
    """

    words: tuple[str, ...]
    moment: Callable[[str, Path], bool]
    trained: bool = False


PHASES = {
    "preparing": Phase(("--mode=prepare", *TRAIN), lambda said, folder: True),
    "training": Phase((*TRAIN, *OFTEN), lambda said, folder: "compiled in" in said),
    "evaluating": Phase(("--mode=evaluate",), lambda said, folder: True, trained=True),
    "checkpointing": Phase(
        (*TRAIN, *ALWAYS), lambda said, folder: any((folder / "run/checkpoints").glob("*tmp*"))
    ),
}


class Outcome(NamedTuple):
    """What came of an interrupt."""

    phase: str
    signal: str
    after: float
    status: int
    step: str
    ended: float
    same: bool


class Command:
    """The command in a process of its own, whose output is kept."""

    def __init__(self, phase: Phase, folder: Path):
        folders = [f"--workdir={folder / 'run'}"]
        if not phase.trained:
            places = {"path": "scans", "store": "store"}
            folders += [f"--config.data.{knob}={folder / name}" for knob, name in places.items()]
        self.said, self.begun = "", time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rubik_jax.main", *phase.words, *folders],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.thread = threading.Thread(target=self._listen)
        self.thread.start()

    def _listen(self) -> None:
        for line in self.process.stdout:
            self.said += line

    def end(self) -> int:
        """Waits; returns the exit status."""
        status = self.process.wait(LIMIT)
        self.thread.join()
        return status


def main() -> None:
    """Prints a row for each interrupt; ends with status 1 unless all are as they must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as home:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{home}/compiled")
        calm = {name: _calm(name, phase, Path(home)) for name, phase in PHASES.items()}
        print("| phase | signal | after, s | status | saved at step | ended in, s | same bits |")
        print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
        outcomes, late = [], 0
        for number in range(given.count):
            name = list(PHASES)[number % len(PHASES)]
            folder = Path(home) / str(number)
            while (row := _interrupt(name, folder, *calm[name], rng)) is None:
                late += 1
                shutil.rmtree(folder)
            outcomes.append(row)
            shutil.rmtree(folder)
            cells = (*row[:2], f"{row.after:.2f}", row.status, row.step, f"{row.ended:.2f}")
            print("|", *(f"{cell} |" for cell in (*cells, row.same)), flush=True)
    good = [o.same and o.status == 128 + signal.Signals[o.signal] for o in outcomes]
    print(f"{sum(good)} of {len(good)} as they must be; {late} more came after the end")
    sys.exit(not all(good))


def _calm(name: str, phase: Phase, home: Path) -> tuple[dict[str, Any], float, float]:
    """What an uninterrupted command leaves, and when its phase begins and ends."""
    folder = home / f"calm-{name}"
    _make(phase, folder)
    Command(phase, folder).end()  # compiles, so that the next one's times are those of all others
    folder = home / f"timed-{name}"
    _make(phase, folder)
    command, first = Command(phase, folder), None
    while command.process.poll() is None:
        if first is None and phase.moment(command.said, folder):
            first = time.monotonic() - command.begun
        time.sleep(0.01)
    if command.end():
        raise RuntimeError(command.said)
    return _left(folder), first or 0.0, time.monotonic() - command.begun


def _interrupt(
    name: str, folder: Path, expected: dict, first: float, last: float, rng: random.Random
) -> Outcome | None:
    """Sends a signal at a random moment of the phase, then gives the same command to its end.

    Returns:
        None where the command had done all of its work before the signal came.
    """
    phase, number = PHASES[name], rng.choice(SIGNALS)
    _make(phase, folder)
    command = Command(phase, folder)
    wait = rng.uniform(0, 0.8 * (last - first))
    while command.process.poll() is None and not phase.moment(command.said, folder):
        time.sleep(0.001)
    # What comes before Python has run a line of ours ends it as any program.
    time.sleep(max(wait, 0.3 if first < 0.3 else 0.0))
    while name == "checkpointing" and not phase.moment(command.said, folder):
        if command.process.poll() is not None:
            break
    sent = time.monotonic()
    command.process.send_signal(number)
    status = command.end()
    ended = time.monotonic() - sent
    if status == 0 and NOTED not in command.said:
        return None
    step = command.said.partition("the checkpoint of step ")[2].split(" ")[0]
    again = Command(phase, folder)
    same = again.end() == 0 and _same(_left(folder), expected) and "Traceback" not in command.said
    after = sent - command.begun
    if not same or status != 128 + number:
        print(command.said, again.said, file=sys.stderr)
    return Outcome(name, signal.Signals(number).name, after, status, step, ended, same)


def _make(phase: Phase, folder: Path) -> None:
    """What there must be before the phase's command: a run whose results are to be found again."""
    if phase.trained:
        shutil.copytree(folder.parent / "timed-training", folder)
        (folder / "run" / "results.json").unlink()
    else:
        folder.mkdir()


def _left(folder: Path) -> dict[str, Any]:
    """All that must be the same: arrays, records without times and rates, results, volumes."""
    run, found = folder / "run", {}
    for kind in ("latest", "best"):
        if (run / checkpoints.FOLDERS[kind]).exists():
            found[kind] = checkpoints.read(checkpoints.find(run, kind))
    found["records"] = [
        {name: value for name, value in record.items() if not name.endswith("_per_second")}
        for record in read(run / "metrics.jsonl")
        if record["part"] != "time"
    ]
    results = run / "results.json"
    found["results"] = json.loads(results.read_text()) if results.exists() else {}
    # Hidden are what is known of files by their times, which a first and a second run differ in.
    store = sorted((folder / "store").glob("[!.]*"))
    found["store"] = {path.name.rpartition("-")[0] + path.suffix: _content(path) for path in store}
    return found


def _content(path: Path) -> Any:
    return path.read_bytes() if path.suffix == ".npy" else ""


def _same(one: Any, other: Any) -> bool:
    """Whether two nested structures are equal in every bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return one == other or (one != one and other != other)


if __name__ == "__main__":
    main()
