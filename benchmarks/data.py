"""Measures how fast cases are prepared and windows read, beside MONAI and nnssl, in one run.

python -m benchmarks.data [--path FOLDER --modalities GLOB ...] [--cases N] [--json FILE]
"""

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

import nibabel as nib
import numpy as np

from benchmarks import cohort, machine, readers
from benchmarks.readers import READERS, Task
from rubik_jax.data.cases import Where
from rubik_jax.data.sources import find_cases

_SECONDS = 0.04  # of a turn: short ones find the moments in which nothing else runs
_TURNS = 12  # of a contestant in a round
_COLD = 3  # rounds with the files out of memory
_AHEAD = 6  # batches that may have been read in others' turns: these don't count


def main() -> None:
    """Measures one cohort after another, then prints the tables and writes the JSON file."""
    options = _options()
    found = machine.describe() | {"command": " ".join(["python -m benchmarks.data", *sys.argv[1:]])}
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        found["cohorts"] = {
            name: measure(Task(cases, window, Path(scratch) / name, options.threads), options)
            for name, cases, window in _cohorts(options, Path(scratch))
        }
    print(_page(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def measure(task: Task, options: argparse.Namespace) -> dict:
    """All figures of one cohort.

    Rates are the best of the rounds, in each of which every contestant has its turn.
    """
    prepared = _preparing(task, options.rounds)
    rows = {name: {} for name in READERS}
    for name, reader in READERS.items():
        if reader.write:
            _apart(reader.write, task)
        if reader.folder:
            files = (task.folder / reader.folder).iterdir()
            rows[name]["bytes"] = sum(f.stat().st_size for f in files) / len(task.cases)
            if options.cold:
                runs = [_apart(_cold, task, name, seed) for seed in range(_COLD)]
                rows[name]["cold"], rows[name]["read"] = max(runs)
    drawn = {name: _windows(reader.open(task), task) for name, reader in READERS.items()}
    for name, rate in _race(drawn, options.rounds * _TURNS).items():
        rows[name]["warm"] = rate
    ours = [readers.our_batches(task, compress=compress) for compress in (False, True)]
    bare, theirs = readers.bare_batches(task), readers.monai_batches(task)
    stacked = {
        readers.FILES: lambda: len(next(bare)),
        readers.STORE: lambda: len(next(ours[0])["window"]),
        readers.COMPRESSED: lambda: len(next(ours[1])["window"]),
        readers.PERSISTENT: lambda: len(next(theirs)["image"]),
    }
    for name, rate in _race(stacked, options.rounds, ahead=_AHEAD).items():
        rows[name]["batches"] = rate
    for batches in ours:
        batches.close()
    paths = [path for case in task.cases for path in case.images]
    return {
        "cases": len(task.cases),
        "shape": list(readers.build(task).shapes[0]),
        "window": list(task.window),
        "threads": task.threads,
        "source_bytes": sum(path.stat().st_size for path in paths) / len(task.cases),
        "preparing": prepared,
        "readers": rows,
    }


def _preparing(task: Task, rounds: int) -> dict:
    """Seconds of the bare read of all files, and of building either store from them."""
    paths = [path for case in task.cases for path in case.images]

    def bare() -> None:
        with ThreadPool(task.threads) as pool:
            pool.map(lambda path: np.asanyarray(nib.load(path).dataobj).size, paths, chunksize=1)

    ways = {
        "read": bare,
        "store": partial(readers.build, task),
        "compressed": partial(readers.build, task, compress=True),
    }
    spent = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        shutil.rmtree(task.folder, ignore_errors=True)
        spent = {name: min(spent[name], _seconds(way)) for name, way in ways.items()}
    return spent


def _windows(draw: readers.Draw, task: Task) -> Callable[[], int]:
    """Reads the next window, of the cases in a random order."""
    rng = np.random.default_rng(0)

    def read() -> int:
        draw(int(rng.integers(len(task.cases))), rng)
        return 1

    return read


def _race(contestants: dict[str, Callable[[], int]], turns: int, *, ahead: int = 1) -> dict:
    """Windows a second of each, the best of its turns; a call says how many it has read."""
    rates = dict.fromkeys(contestants, 0.0)
    for _ in range(turns):
        for name, read in contestants.items():
            for _ in range(ahead):
                read()
            count, start = 0, time.perf_counter()
            while (spent := time.perf_counter() - start) < _SECONDS * ahead:
                count += read()
            rates[name] = max(rates[name], count / spent)
    return rates


def _apart(work: Callable, *arguments):
    """Calls in a process of its own: what a process has mapped, the kernel doesn't forget."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def _cold(task: Task, name: str, seed: int) -> tuple[float, float]:
    """Windows a second, one of each case, when memory holds nothing of the files; bytes read."""
    draw, rng, count = READERS[name].open(task), np.random.default_rng(seed), len(task.cases)
    readers.drop(task, name)
    before, start = machine.bytes_read(), time.perf_counter()
    for i in range(count):
        draw(i, rng)
    return count / (time.perf_counter() - start), (machine.bytes_read() - before) / count


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _cohorts(options: argparse.Namespace, scratch: Path):
    """Name, cases and window of each cohort."""
    window = tuple(options.window)
    if options.path:
        where = Where(options.path, modalities=tuple(options.modalities))
        yield "own", find_cases("folder", where).cases[: options.cases], window
        return
    yield "brains", cohort.brains(scratch / "files", options.cases), window
    yield "crops", cohort.crops(scratch / "files", options.crops), tuple(options.crop_window)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=Path, help="a folder of volumes instead of generated ones")
    parser.add_argument("--modalities", nargs="+", default=["**/*.nii.gz"], help="globs, one each")
    parser.add_argument("--cases", type=int, default=4, help="how many large cases")
    parser.add_argument("--window", type=int, nargs=3, default=[64, 64, 64])
    parser.add_argument("--crops", type=int, default=100, help="how many small cases")
    parser.add_argument("--crop_window", type=int, nargs=3, default=[31, 40, 24])
    parser.add_argument("--threads", type=int, default=2, help="that prepare, or prefetch batches")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cold", action="store_true", help="also with the files out of memory")
    parser.add_argument("--scratch", type=Path, help="where temporary files go")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    return parser.parse_args()


def _page(found: dict) -> str:
    lines = [machine.line(found)]
    for name, figures in found["cohorts"].items():
        lines += ["", *_table(name, figures)]
    return "\n".join(lines)


def _table(name: str, figures: dict) -> list[str]:
    size, window = ("x".join(map(str, figures[key])) for key in ("shape", "window"))
    spent = figures["preparing"]
    lines = [
        f"**{name}**: {figures['cases']} cases of {size} or so, "
        f"{figures['source_bytes'] / 1e6:.2f} MB each as files; windows of {window}",
        "",
        f"Preparing, {figures['threads']} threads: nibabel's bare read {spent['read']:.2f} s, the "
        f"store {spent['store']:.2f} s ({spent['store'] / spent['read']:.2f} times that), "
        f"compressed {spent['compressed']:.2f} s ({spent['compressed'] / spent['read']:.2f} times)",
        "",
        "| | MB a case | windows/s | of the files' own | in batches | cold | MB read a window |",
        "|---|---|---|---|---|---|---|",
    ]
    bare = figures["readers"][readers.FILES]["warm"]
    for reader, row in figures["readers"].items():
        cells = (
            _cell(row, "bytes", 1e6, ".2f"),
            _cell(row, "warm", 1, ".0f"),
            f"{row['warm'] / bare:.1%}",
            _cell(row, "batches", 1, ".0f"),
            _cell(row, "cold", 1, ".1f"),
            _cell(row, "read", 1e6, ".2f"),
        )
        lines.append(f"| {reader} | " + " | ".join(cells) + " |")
    return lines


def _cell(row: dict, key: str, unit: float, form: str) -> str:
    return format(row[key] / unit, form) if key in row else ""


if __name__ == "__main__":
    main()
