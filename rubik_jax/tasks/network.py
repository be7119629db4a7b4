"""What the tasks share in applying a network: the scaling of its input, batch statistics, keys."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree, Shaped

from rubik_jax import proxy
from rubik_jax.augment import Augmentation, augment
from rubik_jax.errors import ArgumentError


def _zscore(x: Float[Array, "b x y z c"]) -> Float[Array, "b x y z c"]:
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    return (x - mean) / (x.std(axis=(1, 2, 3), keepdims=True) + 1e-6)


SCALINGS = {
    "cube": proxy.normalise,  # what the encoder saw while it was pre-trained
    "zscore": _zscore,
    "none": lambda x: x,
}
"""How each window and channel is scaled, of intensities in [0, 1]."""


def check_scaling(scaling: str) -> None:
    """Raises ArgumentError for a scaling there isn't."""
    if scaling not in SCALINGS:
        raise ArgumentError("scaling", f"is {scaling!r}; expected one of {list(SCALINGS)}")


def apply(
    network: nn.Module, variables: PyTree, x: Array, train: bool, *more: Array
) -> tuple[Any, PyTree]:
    """What a network answers, and its batch statistics, brought up to date by training."""
    if train and "batch_stats" in variables:
        answer, changed = network.apply(variables, x, True, *more, mutable=["batch_stats"])
        return answer, changed["batch_stats"]
    return network.apply(variables, x, train, *more), variables.get("batch_stats", {})


def scaled(windows: Array, scaling: str) -> Float[Array, "b x y z c"]:
    """Windows in any dtype as a network takes them."""
    return SCALINGS[scaling](windows.astype(jnp.float32))


def augmented(
    keys: Key[Array, "b"], windows: Shaped[Array, "b x y z c"], options: Augmentation
) -> Float[Array, "b x y z c"]:
    """Windows in any dtype, each changed by its own key, for tasks that have no labels to move."""
    change = jax.vmap(augment, (0, 0, None, None))
    return change(keys, windows.astype(jnp.float32), None, options)[0]
