"""What the answers of a network are worth: losses, accuracies and histograms of a batch."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rubik_jax import losses, metrics, proxy
from rubik_jax.types import Metrics

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


def _half_turns(turns: Int[Array, "b m"]) -> Array:
    return jnp.stack(proxy.half_turn_labels(turns), axis=-1)


def loss_terms(
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


def said(logits: Logits, turns: str) -> dict[str, Int[Array, "b ..."]]:
    """What the network answers, in the terms of `proxy.Answers`."""
    given = {}
    if "order" in logits:
        given["order"] = jnp.argmax(logits["order"], axis=-1)
    if turns == "half":
        on = (logits["turns"] > 0).astype(jnp.int32)
        given["turn"] = on[..., 0] + 2 * on[..., 1]
    elif turns == "all":
        given["turn"] = jnp.argmax(logits["turns"], axis=-1)
    if "masked" in logits:
        given["mask"] = (logits["masked"][..., 0] > 0).astype(jnp.int32)
    return given


def accuracies(logits: Logits, answers: proxy.Answers, puzzle: proxy.Puzzle, weight) -> Metrics:
    """Accuracy of the order, of the turns of cubes, of the 2M half turn labels, of the masks."""
    given = said(logits, puzzle.turns)
    truth = {"order": answers.order, "turn": answers.turns, "mask": answers.masked}
    report = {
        f"{name}_accuracy": metrics.weighted(given[name] == truth[name], weight) for name in given
    }
    if puzzle.turns == "half":
        right = (logits["turns"] > 0) == _half_turns(answers.turns)
        report["orientation_accuracy"] = metrics.weighted(right, weight)
    return report


def histograms(logits: Logits, answers: proxy.Answers, puzzle: proxy.Puzzle, weight) -> Metrics:
    """How often each answer was given and how often each was right, and what was mistaken.

    `X_said` and `X_truth` are for `health`. "turn_confusion" [true, answered] counts cubes, and
    "order_distance" [M + 1] games by how many places the answered order differs in from the true.
    """
    classes = {"order": len(puzzle.orders), "turn": proxy.TURNS[puzzle.turns], "mask": 2}
    truth = {
        "order": answers.order,
        "turn": answers.turns,
        "mask": answers.masked.astype(jnp.int32),
    }
    report, given = {}, said(logits, puzzle.turns)
    for name, answer in given.items():
        report[f"{name}_said"] = metrics.histogram(answer, classes[name], weight)
        report[f"{name}_truth"] = metrics.histogram(truth[name], classes[name], weight)
    if "turn" in given:
        report["turn_confusion"] = metrics.confusion(
            truth["turn"], given["turn"], classes["turn"], weight
        )
    if "order" in given:
        true, answered = (puzzle.orders[order] for order in (truth["order"], given["order"]))
        differing = jnp.count_nonzero(true != answered, axis=1)
        report["order_distance"] = metrics.histogram(differing, puzzle.grid.cells + 1, weight)
    return report
