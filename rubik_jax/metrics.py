"""Metrics as sums and counts, which add up over batches, devices and hosts without bias."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from rubik_jax.types import Mean, Metrics


def weighted(values: Shaped[Array, "b *rest"], weight: Float[Array, "b"]) -> Mean:
    """The weighted mean over examples of numbers or truths, after a mean over their other axes."""
    per_example = values.astype(jnp.float32).reshape(values.shape[0], -1).mean(axis=1)
    return Mean(jnp.sum(per_example * weight), jnp.sum(weight))


def histogram(labels: Int[Array, "b *rest"], classes: int, weight: Float[Array, "b"]) -> Mean:
    """How often each class occurs, as a mean of shape [classes] that sums to 1.

    Its count is the number of labels, of which an example may have several.
    """
    occurs = jax.nn.one_hot(labels, classes).reshape(labels.shape[0], -1, classes)
    total = jnp.sum(occurs * weight[:, None, None], axis=(0, 1))
    return Mean(total, jnp.sum(weight) * occurs.shape[1])


def add(first: Metrics, second: Metrics) -> Metrics:
    """The metrics of both sets of examples together."""
    return jax.tree.map(lambda a, b: a + b, first, second)
