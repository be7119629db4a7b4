"""What a run will cost, said before it begins: parameters, operations, memory."""

from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree


def parameters(params: PyTree) -> str:
    """A line on how many parameters each part of a network has."""
    sizes = {
        name: sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(part))
        for name, part in params.items()
    }
    parts = ", ".join(f"{name} {number(size)}" for name, size in sizes.items())
    return f"parameters: {number(sum(sizes.values()))} ({parts})"


def compiled(step: Any, copies: int, seconds: float) -> str:
    """A line on what a compiled step takes of operations and of a device's memory.

    Args:
        step: a `jax.stages.Compiled`. What the platform doesn't tell of it counts as zero.
        copies: how many steps are written out in it; XLA counts what's in a loop once.
        seconds: how long it took to compile.
    """
    work = number(operations(step) / copies, "FLOP")
    return (
        f"step: {work} per device, {size(memory(step))} of its memory; compiled in {seconds:.0f} s"
    )


def operations(step: Any) -> float:
    """What XLA counts of FLOPs in a compiled step, on one device; a loop counts once."""
    cost = step.cost_analysis() or {}
    return (cost[0] if isinstance(cost, list) else cost).get("flops", 0)


def memory(step: Any) -> int:
    """The bytes of a device's memory that a compiled step needs, its arguments included."""
    needed = step.memory_analysis()
    return sum(
        getattr(needed, f"{kind}_size_in_bytes", 0) for kind in ("argument", "output", "temp")
    ) - getattr(needed, "alias_size_in_bytes", 0)


def number(value: float, unit: str = "") -> str:
    """A count with its prefix, e.g. 1.2 M, and a unit."""
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= scale:
            return f"{value / scale:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".strip()


def size(value: float) -> str:
    """Bytes with their prefix, e.g. 1.5 GiB."""
    for prefix, scale in (("GiB", 2**30), ("MiB", 2**20)):
        if value >= scale:
            return f"{value / scale:.1f} {prefix}"
    return f"{value / 1024:.1f} KiB"
