"""Pre-training by Rubik's cube recovery: where puzzle, network, losses and metrics meet."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rubik_jax import losses, metrics, proxy
from rubik_jax.errors import UserError
from rubik_jax.models import CUBES, SiameseOctad, make_encoder
from rubik_jax.models.siamese import HEADS
from rubik_jax.tasks.health import diagnose, score, summarise
from rubik_jax.tasks.picture import solve
from rubik_jax.types import DEVICES, Batch, Mean, Metrics, Task

Logits = dict[str, Array]


class Weights(NamedTuple):
    """The objective: alpha L_P + beta L_R + gamma L_M (paper, equation 3; the last our option).

    Attributes:
        alpha: weight of the permutation loss.
        beta: weight of the rotation loss.
        gamma: weight of the masking loss (Rubik's Cube+).
        reduction: of rotation and masking loss over the cubes, "mean" or "sum".
    """

    alpha: float
    beta: float
    gamma: float
    reduction: str


def pretrain(
    *,
    channels: int,
    proxy_options: dict[str, Any],
    model: dict[str, Any],
    loss: dict[str, Any],
    seed: int,
) -> Task:
    """Builds the task.

    Args:
        channels: modalities of a volume.
        proxy_options: as `config.proxy`.
        model: as `config.model`.
        loss: as `config.loss`, the members of `Weights`.
        seed: of the set of orders.

    Raises:
        UserError: a value that can't be used; the sentence names the knob.
    """
    puzzle, curriculum = make_puzzle(**proxy_options, seed=seed)
    weights = Weights(**loss)
    losses.check_reduction(weights.reduction)
    network = make_network(puzzle, **model)

    def answer(variables, batch: Batch, keys, puzzle: proxy.Puzzle, freedom, train: bool):
        """Plays one game per example and lets the network answer."""
        freedom = jnp.asarray(freedom, jnp.float32)
        cubes, answers = jax.vmap(proxy.play, (0, 0, None, None))(
            keys, batch["window"], puzzle, freedom
        )
        return _apply(network, variables, cubes, train), answers

    def loss_of(variables, batch: Batch, keys, step: Int[Array, ""]):
        freedom = curriculum(step)
        (logits, stats), answers = answer(variables, batch, keys, puzzle, freedom, True)
        terms = _terms(logits, answers, puzzle, weights)
        one = jnp.ones(keys.shape[0])
        report = {name: metrics.weighted(value, one) for name, value in terms.items()}
        report |= _accuracies(logits, answers, puzzle, one)
        report["freedom"] = Mean(freedom, jnp.ones(()))
        return jnp.mean(terms["loss"]), (stats, report)

    def evaluate_as(played: proxy.Puzzle, blank: bool = False) -> Callable[..., Metrics]:
        def evaluate(variables, batch: Batch, keys) -> Metrics:
            window = _centre(batch["window"], played.grid.window)
            window = jnp.zeros_like(window) if blank else window
            (logits, _), answers = answer(
                variables, batch | {"window": window}, keys, played, 1.0, False
            )
            weight = batch["weight"]
            terms = _terms(logits, answers, played, weights)
            report = {name: metrics.weighted(value, weight) for name, value in terms.items()}
            report |= _accuracies(logits, answers, played, weight)
            return report | _histograms(logits, answers, played, weight)

        return evaluate

    seamless = puzzle.grid._replace(gap=(0, 0, 0), jitter=(0, 0, 0))
    probes = {"blank": evaluate_as(puzzle, blank=True)}
    if any(puzzle.grid.gap):
        probes["no_gap"] = evaluate_as(puzzle._replace(grid=seamless))

    def picture(variables, window, key):
        def said(cubes):
            logits, _ = _apply(network, variables, cubes[None], False)
            return {name: each[0] for name, each in _said(logits, puzzle.turns).items()}

        return solve(key, window, puzzle, said)

    def init(key):
        empty = jnp.zeros((1, puzzle.grid.cells, *puzzle.grid.cube, channels))
        return network.init(key, empty, False)

    return Task(
        init=init,
        loss=loss_of,
        evaluate=evaluate_as(puzzle),
        probes=probes,
        summarise=summarise,
        score=score,
        diagnose=diagnose,
        picture=picture,
        window=puzzle.grid.window,
        channels=channels,
        units={"cubes": puzzle.grid.cells, "volumes": 1},
        about={"orders": puzzle.orders.tolist(), **_distances(puzzle)},
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
        UserError: a value that can't be used, or nothing left to ask.
    """
    grid = proxy.make_grid(counts, cube, gap, jitter)
    proxy.check_turns(turns, grid.cube)
    if not 0 <= masking < 1:
        raise UserError(f"config.proxy.masking is {masking}; expected a probability below 1")
    if orders == "none" and turns == "none" and not masking:
        raise UserError("config.proxy asks for no order, no turns and no masking; expected one")
    if orders != "none" and num_orders < 2:
        raise UserError(
            f"config.proxy.num_orders is {num_orders}, which leaves nothing to tell apart; "
            "expected at least 2 (or config.proxy.orders=none)"
        )
    table = (
        jnp.arange(grid.cells)[None]
        if orders == "none"
        else jnp.asarray(proxy.make_orders(orders, num_orders, grid.cells, seed))
    )
    hold, ramp = curriculum["hold"], curriculum["ramp"]
    if hold < 0 or ramp < 0:
        raise UserError(f"config.proxy.curriculum is {curriculum}; expected numbers of steps >= 0")

    def freedom(step: Int[Array, ""]) -> Float[Array, ""]:
        """0 for `hold` steps, then up to 1 over `ramp` steps."""
        return jnp.clip((step - hold + 1) / (ramp + 1), 0.0, 1.0).astype(jnp.float32)

    return proxy.Puzzle(grid, table, turns, masking), freedom


def make_network(
    puzzle: proxy.Puzzle, *, encoder: dict[str, Any], projection: int, heads: str, hidden: int
) -> SiameseOctad:
    """Builds the Siamese-Octad with the heads that the puzzle needs.

    Raises:
        UserError: a value that can't be used.
    """
    if heads not in HEADS:
        raise UserError(f"config.model.heads is {heads!r}; expected one of {list(HEADS)}")
    if heads == "tied" and hidden:
        raise UserError(
            f"config.model.hidden is {hidden}, but tied heads have no hidden layer; expected 0, or "
            "config.model.heads=joint"
        )
    asked = {"turns": {"none": 0, "half": 2, "all": 24}[puzzle.turns]}
    asked["masked"] = 1 if puzzle.masking else 0
    several = len(puzzle.orders) > 1
    return SiameseOctad(
        encoder=make_encoder(**encoder, axes=(CUBES, DEVICES)),
        projection=projection,
        heads=heads,
        hidden=hidden,
        orders=tuple(map(tuple, puzzle.orders.tolist())) if several else (),
        cube_answers=tuple((name, count) for name, count in asked.items() if count),
    )


def _apply(network: SiameseOctad, variables, cubes, train: bool) -> tuple[Logits, Any]:
    if train and "batch_stats" in variables:
        logits, changed = network.apply(variables, cubes, True, mutable=["batch_stats"])
        return logits, changed["batch_stats"]
    return network.apply(variables, cubes, train), variables.get("batch_stats", {})


def _half_turns(turns: Int[Array, "b m"]) -> Array:
    return jnp.stack(proxy.half_turn_labels(turns), axis=-1)


def _terms(
    logits: Logits, answers: proxy.Answers, puzzle: proxy.Puzzle, weights: Weights
) -> dict[str, Float[Array, "b"]]:
    """The loss of each example, whole and by its terms."""
    terms = {}
    if "order" in logits:
        terms["order_loss"] = losses.permutation_loss(logits["order"], answers.order)
    if puzzle.turns == "half":
        labels = _half_turns(answers.turns)
        terms["turn_loss"] = losses.multilabel_loss(logits["turns"], labels, weights.reduction)
    elif puzzle.turns == "all":
        terms["turn_loss"] = losses.turn_loss(logits["turns"], answers.turns, weights.reduction)
    if "masked" in logits:
        masked = answers.masked[..., None]
        terms["mask_loss"] = losses.multilabel_loss(logits["masked"], masked, weights.reduction)
    factors = {"order_loss": weights.alpha, "turn_loss": weights.beta, "mask_loss": weights.gamma}
    return {"loss": sum(factors[name] * value for name, value in terms.items()), **terms}


def _said(logits: Logits, turns: str) -> dict[str, Int[Array, "b ..."]]:
    """What the network answers, in the terms of `proxy.Answers`."""
    said = {}
    if "order" in logits:
        said["order"] = jnp.argmax(logits["order"], axis=-1)
    if turns == "half":
        on = (logits["turns"] > 0).astype(jnp.int32)
        said["turn"] = on[..., 0] + 2 * on[..., 1]
    elif turns == "all":
        said["turn"] = jnp.argmax(logits["turns"], axis=-1)
    if "masked" in logits:
        said["mask"] = (logits["masked"][..., 0] > 0).astype(jnp.int32)
    return said


def _accuracies(logits: Logits, answers: proxy.Answers, puzzle: proxy.Puzzle, weight) -> Metrics:
    """Accuracy of the order, of the turns of cubes, of the 2M half turn labels, of the masks."""
    said = _said(logits, puzzle.turns)
    truth = {"order": answers.order, "turn": answers.turns, "mask": answers.masked}
    report = {
        f"{name}_accuracy": metrics.weighted(said[name] == truth[name], weight) for name in said
    }
    if puzzle.turns == "half":
        right = (logits["turns"] > 0) == _half_turns(answers.turns)
        report["orientation_accuracy"] = metrics.weighted(right, weight)
    return report


def _histograms(logits: Logits, answers: proxy.Answers, puzzle: proxy.Puzzle, weight) -> Metrics:
    """How often each answer was given and how often each was right, for `health`."""
    classes = {"order": len(puzzle.orders), "turn": proxy.TURNS[puzzle.turns], "mask": 2}
    truth = {
        "order": answers.order,
        "turn": answers.turns,
        "mask": answers.masked.astype(jnp.int32),
    }
    report = {}
    for name, said in _said(logits, puzzle.turns).items():
        report[f"{name}_said"] = metrics.histogram(said, classes[name], weight)
        report[f"{name}_truth"] = metrics.histogram(truth[name], classes[name], weight)
    return report


def _centre(window: Float[Array, "b x y z c"], size: tuple[int, int, int]) -> Array:
    """The middle of each window."""
    for axis, length in enumerate(size, start=1):
        start = (window.shape[axis] - length) // 2
        window = jax.lax.slice_in_dim(window, start, start + length, axis=axis)
    return window


def _distances(puzzle: proxy.Puzzle) -> dict[str, Any]:
    least, mean = proxy.distances(np.asarray(puzzle.orders))
    return {"order_distance_least": least, "order_distance_mean": mean}
