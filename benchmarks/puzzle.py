"""Measures how fast puzzles are made on the device, beside the same in NumPy, in one run.

python -m benchmarks.puzzle [--rounds N] [--json FILE]
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import contest, machine, numpy_puzzle
from benchmarks.contest import SECONDS, SHARED, Call, Contestant

OURS, PEER = "rubik_jax", "NumPy"
SHAPES = {  # of a cube, its channels, and volumes of a step
    "haemorrhage": ((64, 64, 12), 1, 8),
    "small": ((32, 32, 32), 1, 8),
    "brats": ((64, 64, 64), 4, 1),
}
_COLUMNS = [
    *("puzzle, ms", "NumPy's", "times its rate"),
    *("scrambling alone, ms", "NumPy's", "times its rate"),
]
_COUNTS, _GAP, _ORDERS = (2, 2, 2), 4, 100


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
    def options(self) -> dict:
        """Of `rubik_jax.tasks.pretrain.make_puzzle`."""
        return {
            "counts": _COUNTS,
            "cube": self.cube,
            "gap": (_GAP,) * 3,
            "jitter": (0, 0, 0),
            "orders": "greedy",
            "num_orders": _ORDERS,
            "turns": "half",
            "masking": 0.0,
            "curriculum": {"hold": 0, "ramp": 0},
            "seed": 0,
        }

    def windows(self) -> np.ndarray:
        """Noise in the store's dtype, [b, x, y, z, c]."""
        sides = [n * side + (n - 1) * _GAP for n, side in zip(_COUNTS, self.cube, strict=True)]
        rng = np.random.default_rng(0)
        return rng.random((self.batch, *sides, self.channels), np.float32).astype(np.float16)


def compare(played: Played, rounds: int, seconds: float = SECONDS) -> dict:
    """What `contest.race` tells of both, and the "ratios".

    A "step" makes puzzles of windows, cut, normalised and scrambled; a "bare" one scrambles cubes.
    """
    factories = {
        who: Call(f"benchmarks.puzzle:{maker}", (played,), SHARED)
        for who, maker in {OURS: "ours", PEER: "peer"}.items()
    }
    found = contest.race(factories, rounds, seconds)
    return found | {"ratios": contest.ratios(found[OURS], found[PEER])}


def ours(played: Played) -> Contestant:
    """On the device, from windows that lie there, as in the training step."""
    import jax
    import jax.numpy as jnp

    from rubik_jax import allocator, proxy
    from rubik_jax.tasks.pretrain import make_puzzle

    allocator.keep_freed_memory()  # as the command does
    puzzle, _ = make_puzzle(**played.options)
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
    from rubik_jax.proxy import make_orders

    orders = make_orders("greedy", _ORDERS, int(np.prod(_COUNTS)), 0)
    puzzle = numpy_puzzle.Puzzle(_COUNTS, played.cube, (_GAP,) * 3, orders)
    windows = np.ascontiguousarray(np.moveaxis(played.windows(), -1, 1))
    rng = np.random.default_rng(0)
    cubes = rng.random((8, played.channels, *played.cube), np.float32)

    def drawn() -> tuple[int, np.ndarray]:
        return int(rng.integers(_ORDERS)), rng.integers(0, 2, (len(cubes), 2), np.int8)

    def step() -> np.ndarray:
        return np.stack([numpy_puzzle.play(window, puzzle, *drawn()) for window in windows])

    def bare() -> np.ndarray:
        games = [drawn() for _ in windows]
        return np.stack([numpy_puzzle.scramble(cubes, orders[k], turns) for k, turns in games])

    return _contestant(PEER, played, step, bare)


def _contestant(name: str, played: Played, step, bare) -> Contestant:
    step(), bare()  # the first ones are slower
    cubes = played.batch * int(np.prod(_COUNTS))
    return Contestant(name, 0, played.batch, cubes, step, bare, lambda: None)


def page(found: dict) -> str:
    """The figures as a table in words."""
    lines = [
        machine.line(found),
        "",
        f"| cubes, volumes | {' | '.join(_COLUMNS)} |",
        "|---" * (1 + len(_COLUMNS)) + "|",
    ]
    for name, row in found["puzzles"].items():
        cube, channels, batch = SHAPES[name]
        cells = []
        for kind in contest.KINDS:
            ratio = row["ratios"][kind]
            cells += [f"{row[who][kind] * 1e3:.3g}" for who in (OURS, PEER)]
            cells += [f"{ratio['best']:.2g} ({ratio['least']:.2g} to {ratio['most']:.2g})"]
        what = f"{'x'.join(map(str, (*cube, channels)))}, {batch}"
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, prints the table, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of which the best counts")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    found = machine.describe()
    found["puzzles"] = {
        name: compare(Played(*shape), options.rounds) for name, shape in SHAPES.items()
    }
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    print(page(found))


if __name__ == "__main__":
    main()
