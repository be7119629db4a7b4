"""Pre-training by Rubik's cube recovery: where puzzle, network, losses and metrics meet."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rubik_jax import losses, metrics, proxy
from rubik_jax.augment import make_augmentation
from rubik_jax.errors import ArgumentError, members_of
from rubik_jax.models import CUBES, SiameseOctad, make_encoder
from rubik_jax.models.heads import POOLINGS
from rubik_jax.models.siamese import HEADS
from rubik_jax.tasks import scoring
from rubik_jax.tasks.health import diagnose, score, show, summarise
from rubik_jax.tasks.network import apply, augmented
from rubik_jax.tasks.picture import solve
from rubik_jax.tasks.scoring import Weights
from rubik_jax.types import DEVICES, Batch, Mean, Metrics, Task


def pretrain(
    *,
    channels: int,
    proxy_options: dict[str, Any],
    model: dict[str, Any],
    loss: dict[str, Any],
    augmentation: dict[str, Any],
    seed: int,
) -> Task:
    """Builds the task.

    Args:
        channels: modalities of a volume.
        proxy_options: as `config.proxy`.
        model: as `config.model`.
        loss: as `config.loss`, the members of `Weights`.
        augmentation: as `config.augment`; of the windows that are trained on.
        seed: of the set of orders.

    Raises:
        ArgumentError: a value that can't be used.
    """
    with members_of("proxy_options", seed="seed"):
        puzzle, curriculum = make_puzzle(**proxy_options, seed=seed)
    weights = Weights(**loss)
    with members_of("loss"):
        losses.check_reduction(weights.reduction)
    with members_of("augmentation"):
        options = make_augmentation(**augmentation)
    with members_of("model"):
        network = make_network(puzzle, **model)

    def answer(variables, batch: Batch, keys, puzzle: proxy.Puzzle, freedom, train: bool):
        """Plays one game per example and lets the network answer."""
        freedom = jnp.asarray(freedom, jnp.float32)
        cubes, answers = jax.vmap(proxy.play, (0, 0, None, None))(
            keys, batch["window"], puzzle, freedom
        )
        return apply(network, variables, cubes, train), answers

    def loss_of(variables, batch: Batch, keys, step: Int[Array, ""]):
        freedom = curriculum(step)
        looks, games = jax.vmap(jax.random.split, out_axes=1)(keys)
        windows = augmented(looks, batch["window"], options)
        (logits, stats), truth = answer(
            variables, {"window": windows}, games, puzzle, freedom, True
        )
        terms = scoring.loss_terms(logits, truth, puzzle, weights)
        one = jnp.ones(keys.shape[0])
        report = {name: metrics.weighted(value, one) for name, value in terms.items()}
        report |= scoring.accuracies(logits, truth, puzzle, one)
        report["freedom"] = Mean(freedom, jnp.ones(()))
        return jnp.mean(terms["loss"]), (stats, report)

    def evaluate_as(played: proxy.Puzzle, blank: bool = False) -> Callable[..., Metrics]:
        def evaluate(variables, batch: Batch, keys) -> Metrics:
            window = _centre(batch["window"], played.grid.window)
            window = window * 0 if blank else window  # a constant would be folded, at length
            (logits, _), truth = answer(
                variables, batch | {"window": window}, keys, played, 1.0, False
            )
            weight = batch["weight"]
            terms = scoring.loss_terms(logits, truth, played, weights)
            report = {name: metrics.weighted(value, weight) for name, value in terms.items()}
            report |= scoring.accuracies(logits, truth, played, weight)
            return report | scoring.histograms(logits, truth, played, weight)

        return evaluate

    seamless = puzzle.grid._replace(gap=(0, 0, 0), jitter=(0, 0, 0))
    probes = {"blank": evaluate_as(puzzle, blank=True)}
    if any(puzzle.grid.gap):
        probes["no_gap"] = evaluate_as(puzzle._replace(grid=seamless))

    def picture(variables, windows, key):
        def said(cubes):
            logits, _ = apply(network, variables, cubes[None], False)
            return {name: each[0] for name, each in scoring.said(logits, puzzle.turns).items()}

        return solve(key, windows[0], puzzle, said)

    def init(key):
        empty = jnp.zeros((1, puzzle.grid.cells, *puzzle.grid.cube, channels))
        return network.init(key, empty, False)

    return Task(
        init=init,
        loss=loss_of,
        evaluate=evaluate_as(puzzle),
        probes=probes,
        summarise=summarise,
        show=show,
        score=score,
        diagnose=diagnose,
        picture=picture,
        respond=None,
        window=puzzle.grid.window,
        channels=channels,
        units={"cubes": puzzle.grid.cells, "volumes": 1},
        about={"orders": puzzle.orders.tolist(), **_distances(puzzle)},
        drawing="puzzle",
    )


def make_puzzle(
    *,
    counts: Sequence[int],
    cube: Sequence[int],
    gap: Sequence[int],
    jitter: Sequence[int],
    orders: str,
    num_orders: int,
    turns: str,
    masking: float,
    curriculum: dict[str, int],
    seed: int,
) -> tuple[proxy.Puzzle, Callable[[Int[Array, ""]], Float[Array, ""]]]:
    """Builds the puzzle and the curriculum, the share of cubes free to turn at a step.

    Raises:
        ArgumentError: a value that can't be used, or nothing left to ask.
    """
    grid = proxy.make_grid(counts, cube, gap, jitter)
    proxy.check_turns(turns, grid.cube)
    if not 0 <= masking < 1:
        raise ArgumentError("masking", f"is {masking}; expected a probability below 1")
    if orders == "none" and turns == "none" and not masking:
        raise ArgumentError.of(
            "{orders}, {turns} and {masking} ask for no order, no turns and no masking; expected "
            "one"
        )
    if orders != "none" and num_orders < 2:
        raise ArgumentError.of(
            "{num_orders} is {}, which leaves nothing to tell apart; expected at least 2 (or "
            "{orders}=none)",
            num_orders,
        )
    table = (
        jnp.arange(grid.cells)[None]
        if orders == "none"
        else jnp.asarray(proxy.make_orders(orders, num_orders, grid.cells, seed))
    )
    hold, ramp = curriculum["hold"], curriculum["ramp"]
    if hold < 0 or ramp < 0:
        raise ArgumentError("curriculum", f"is {curriculum}; expected numbers of steps >= 0")

    def freedom(step: Int[Array, ""]) -> Float[Array, ""]:
        """0 for `hold` steps, then up to 1 over `ramp` steps."""
        return jnp.clip((step - hold + 1) / (ramp + 1), 0.0, 1.0).astype(jnp.float32)

    return proxy.Puzzle(grid, table, turns, masking), freedom


def make_network(
    puzzle: proxy.Puzzle,
    *,
    encoder: dict[str, Any],
    projection: int,
    heads: str,
    hidden: int,
    pooling: str = "none",
) -> SiameseOctad:
    """Builds the Siamese-Octad with the heads that the puzzle needs.

    Raises:
        ArgumentError: a value that can't be used.
    """
    if heads not in HEADS:
        raise ArgumentError("heads", f"is {heads!r}; expected one of {list(HEADS)}")
    if pooling not in POOLINGS:
        raise ArgumentError("pooling", f"is {pooling!r}; expected one of {list(POOLINGS)}")
    if heads != "joint" and hidden:
        raise ArgumentError.of(
            "{hidden} is {}, but {} heads have no hidden layer; expected 0, or {heads}=joint",
            *(hidden, heads),
        )
    asked = {"turns": {"none": 0, "half": 2, "all": 24}[puzzle.turns]}
    asked["masked"] = 1 if puzzle.masking else 0
    several = len(puzzle.orders) > 1
    with members_of("encoder"):
        shared = make_encoder(**encoder, axes=(CUBES, DEVICES))
    return SiameseOctad(
        encoder=shared,
        projection=projection,
        pooling=pooling,
        heads=heads,
        hidden=hidden,
        orders=tuple(map(tuple, puzzle.orders.tolist())) if several else (),
        cube_answers=tuple((name, count) for name, count in asked.items() if count),
    )


def _centre(window: Float[Array, "b x y z c"], size: tuple[int, int, int]) -> Array:
    """The middle of each window."""
    for axis, length in enumerate(size, start=1):
        start = (window.shape[axis] - length) // 2
        window = jax.lax.slice_in_dim(window, start, start + length, axis=axis)
    return window


def _distances(puzzle: proxy.Puzzle) -> dict[str, Any]:
    least, mean = proxy.distances(np.asarray(puzzle.orders))
    return {"order_distance_least": least, "order_distance_mean": mean}
