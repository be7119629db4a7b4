"""The terms of the objective, one number per example each."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from rubik_jax.errors import UserError

REDUCTIONS = {"mean": jnp.mean, "sum": jnp.sum}


def check_reduction(reduction: str) -> None:
    """Raises UserError for a reduction there isn't."""
    if reduction not in REDUCTIONS:
        raise UserError(
            f"config.loss.reduction is {reduction!r}; expected one of {sorted(REDUCTIONS)}"
        )


def permutation_loss(logits: Float[Array, "b k"], order: Int[Array, "b"]) -> Float[Array, "b"]:
    """Cross-entropy over the K orders (paper, equation 1)."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, order)


def multilabel_loss(
    logits: Float[Array, "b m a"], labels: Bool[Array, "b m a"], reduction: str
) -> Float[Array, "b"]:
    """Binary cross-entropy over a vector of labels of the cubes in their places.

    For half turns that's the rotation loss (paper, equation 2) over the horizontal and the
    vertical vector. As printed, the equation has positive terms only and would be least for
    answering "turned" always; this is the full binary cross-entropy.

    Args:
        logits: one per cube and label.
        labels: whether cube m was turned (horizontally, vertically), or masked.
        reduction: "mean" over the labels, or "sum" as equation 2 is printed; with the sum this
            term outweighs the permutation loss by the number of labels.
    """
    terms = optax.sigmoid_binary_cross_entropy(logits, labels)
    return REDUCTIONS[reduction](terms, axis=(1, 2))


def turn_loss(
    logits: Float[Array, "b m a"], turns: Int[Array, "b m"], reduction: str
) -> Float[Array, "b"]:
    """Cross-entropy over the 24 rotations of each cube, reduced over the cubes."""
    terms = optax.softmax_cross_entropy_with_integer_labels(logits, turns)
    return REDUCTIONS[reduction](terms, axis=1)
