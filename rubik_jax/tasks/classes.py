"""How much each class weighs in a loss."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rubik_jax.errors import ArgumentError


def class_weights(
    given: Sequence[float], balanced: bool, frequencies: Sequence[float]
) -> Float[Array, "k"]:
    """The weight of each class, with a mean of 1 over the training examples.

    Args:
        given: one per class, of which only the ratios matter; empty for equal ones.
        balanced: whether to weigh inversely to the frequency instead.
        frequencies: the share of the training examples (or voxels) that each class has.

    Raises:
        ArgumentError: another number of weights than of classes, a negative one, or both kinds.
    """
    count = len(frequencies)
    if len(given) not in (0, count) or min(given, default=0) < 0 or (given and not any(given)):
        raise ArgumentError(
            "given",
            f"is {tuple(given)}; expected none or {count}, one for each class, none negative and "
            "not all 0",
        )
    if given and balanced:
        raise ArgumentError.of("{given} and {balanced} are both set; expected one of them")
    shares = np.asarray(frequencies, np.float64)
    weights = np.asarray(given or np.ones(count), np.float64)
    if balanced:  # a class that no training case has weighs nothing
        weights = np.where(shares > 0, 1 / np.where(shares > 0, shares, 1), 0)
    return jnp.asarray(weights / max(np.sum(weights * shares), 1e-12), jnp.float32)
