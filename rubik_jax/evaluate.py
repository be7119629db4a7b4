"""How good the answers are on cases that were held out, as sums over all of them."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from rubik_jax import interrupts, metrics, parallel
from rubik_jax.step import EVALUATION, example_keys, stream
from rubik_jax.types import Metrics

Evaluation = Callable[[PyTree, Iterable[dict[str, np.ndarray]]], Metrics]


def make_evaluation(evaluate: Callable[..., Metrics], seed: int) -> Evaluation:
    """Compiles once what adds up `evaluate` (variables, batch, keys) over batches and devices.

    The games are the same at every call: an example's key comes from the seed and its index.

    Returns:
        (replicated variables, batches of the host) -> totals, in float64 on the host; it raises
        `Interrupted` between two batches.
    """

    def one(variables: PyTree, batch: Any, seed: Any) -> Metrics:
        return evaluate(variables, batch, example_keys(stream(seed, EVALUATION), batch["index"]))

    mapped, seeds = parallel.mapped_evaluation(one), parallel.replicate(np.uint32(seed))

    def run(variables: PyTree, batches: Iterable[dict[str, np.ndarray]]) -> Metrics:
        totals: Metrics | None = None
        for batch in batches:
            interrupts.check()
            summed = jax.tree.map(
                np.float64, parallel.unreplicate(mapped(variables, parallel.shard(batch), seeds))
            )
            totals = summed if totals is None else metrics.add(totals, summed)
        if totals is None:
            raise ValueError("no batches to evaluate")
        return totals

    return run
