"""Measures how fast puzzles are made on the device, beside the same in NumPy, in one run.

python -m benchmarks.puzzle [--rounds N] [--json FILE]
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import contest, machine, numpy_puzzle
from benchmarks.contest import SECONDS, SHARED, Call, Contestant
from rubik_jax import allocator, proxy

OURS, PEER = "rubik_jax", "NumPy"
_COUNTS, _CELLS, _GAP, _ORDERS = (2, 2, 2), 8, 4, 100


class Played(NamedTuple):
    """What is played.

    Attributes:
        cube: its sides along x, y, z.
        channels: of a volume.
        batch: volumes of a step.
    """

    cube: tuple[int, int, int]
    channels: int
    batch: int

    @property
    def grid(self) -> proxy.Grid:
        """How a window is cut."""
        return proxy.make_grid(_COUNTS, self.cube, (_GAP,) * 3)

    def windows(self) -> np.ndarray:
        """Noise in the store's dtype, [b, x, y, z, c]."""
        size = (self.batch, *self.grid.window, self.channels)
        return np.random.default_rng(0).random(size, np.float32).astype(np.float16)


PLAYED = {
    "haemorrhage": Played((64, 64, 12), 1, 8),
    "small": Played((32, 32, 32), 1, 8),
    "brats": Played((64, 64, 64), 4, 1),
}


def compare(played: Played, rounds: int, seconds: float = SECONDS) -> dict:
    """What is played, what `contest.race` tells of both, and the "ratios".

    A "step" makes puzzles of windows: cut, normalised, drawn and scrambled. A "bare" one draws and
    scrambles cubes.
    """
    factories = {
        who: Call(f"benchmarks.puzzle:{maker}", (played,), SHARED)
        for who, maker in {OURS: "ours", PEER: "peer"}.items()
    }
    found = contest.race(factories, rounds, seconds)
    return played._asdict() | found | {"ratios": contest.ratios(found[OURS], found[PEER])}


def ours(played: Played) -> Contestant:
    """On the device, from windows that lie there, as in the training step."""
    allocator.keep_freed_memory()  # as the command does
    puzzle = proxy.Puzzle(played.grid, jnp.asarray(_orders()), "half", masking=0.0)
    keys, free = jax.random.split(jax.random.key(0), played.batch), jnp.ones(())
    windows = jax.device_put(played.windows())

    @jax.jit
    def play(keys, windows):
        return jax.vmap(proxy.play, (0, 0, None, None))(keys, windows, puzzle, free)

    @jax.jit
    def scramble(keys, cubes):
        answers = jax.vmap(proxy.draw, (0, None, None))(keys, puzzle, free)
        return jax.vmap(proxy.scramble, (0, 0, None))(cubes, answers, puzzle)

    cubes, _ = play(keys, windows)

    def step() -> None:
        jax.block_until_ready(play(keys, windows))

    def bare() -> None:
        jax.block_until_ready(scramble(keys, cubes))

    return _contestant(OURS, played, step, bare)


def peer(played: Played) -> Contestant:
    """In one thread, volume by volume, as a worker of a DataLoader does."""
    grid, rng = played.grid, np.random.default_rng(0)
    puzzle = numpy_puzzle.Puzzle(grid.counts, grid.cube, grid.gap, _orders())
    windows = np.ascontiguousarray(np.moveaxis(played.windows(), -1, 1))
    cubes = rng.random((_CELLS, played.channels, *played.cube), np.float32)
    batch = np.empty((played.batch, *cubes.shape), np.float32)

    def drawn() -> tuple[int, np.ndarray]:
        return int(rng.integers(_ORDERS)), rng.integers(0, 2, (_CELLS, 2), np.int8)

    def step() -> None:
        for window, out in zip(windows, batch, strict=True):
            numpy_puzzle.play(window, puzzle, *drawn(), out)

    def bare() -> None:
        for out in batch:
            order, turns = drawn()
            numpy_puzzle.scramble(cubes, puzzle.orders[order], turns, out)

    return _contestant(PEER, played, step, bare)


def _orders() -> np.ndarray:
    return proxy.make_orders("greedy", _ORDERS, _CELLS, 0)


def _contestant(name: str, played: Played, step, bare) -> Contestant:
    return Contestant(name, 0, played.batch, _CELLS * played.batch, step, bare, lambda: None)


def page(found: dict) -> str:
    """The figures as a table in words."""
    lines = [
        machine.line(found),
        "",
        "| cubes, volumes | puzzle, ms | NumPy's | times its rate | scrambled | NumPy's | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["puzzles"].values():
        cells = []
        for kind in contest.KINDS:
            ratio = row["ratios"][kind]
            cells += [f"{row[who][kind] * 1e3:.3g}" for who in (OURS, PEER)]
            cells += [f"{ratio['best']:.2g} ({ratio['least']:.2g} to {ratio['most']:.2g})"]
        what = f"{'x'.join(map(str, (*row['cube'], row['channels'])))}, {row['batch']}"
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, prints the table, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of which the best counts")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    found = machine.describe()
    found["puzzles"] = {name: compare(played, options.rounds) for name, played in PLAYED.items()}
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    print(page(found))


if __name__ == "__main__":
    main()
