"""Pre-training by contrast: which view is of the same volume, among those of the whole batch."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from rubik_jax import losses, metrics, proxy
from rubik_jax.augment import augment, make_augmentation
from rubik_jax.errors import ArgumentError, members_of
from rubik_jax.models import Projector, make_encoder
from rubik_jax.tasks import network
from rubik_jax.types import DEVICES, Batch, Mean, Metrics, Task

DRAWN = 6  # windows


def contrast(
    *,
    channels: int,
    window: tuple[int, int, int],
    proxy_options: dict[str, Any],
    model: dict[str, Any],
    augmentation: dict[str, Any],
) -> Task:
    """Builds the task (Chen et al., SimCLR, ICML 2020).

    Of each window two views are taken: a part at a random place, augmented. A view is to be told
    from those of all other volumes in the step's batch, on all devices; with `config.accumulate`
    above 1 from those of its part of the batch alone, which is an easier game.

    The number that counts is how often the other view of the same volume is the most similar one,
    beside chance, 1 / (2B - 1) of B volumes. Views are drawn for held-out cases as they are in
    training, so that it's the same game.

    Args:
        channels: modalities of a volume.
        window: the voxels along x, y, z that a step takes of a volume.
        proxy_options: as `config.proxy`.
        model: as `config.model`.
        augmentation: as `config.augment`; of both views.

    Raises:
        ArgumentError: a value that can't be used.
    """
    with members_of("augmentation"):
        options = make_augmentation(**augmentation)
    temperature = proxy_options["temperature"]
    with members_of("proxy_options"):
        size = proxy.check_sides("view", proxy_options["view"], window)
        if temperature <= 0:
            raise ArgumentError("temperature", f"is {temperature}; expected more than 0")
    with members_of("model"):
        net = make_network(**model)

    def views(keys, windows) -> Float[Array, "v x y z c"]:
        """The first views of all windows, then the second ones, scaled."""
        pairs = jax.vmap(jax.random.split, out_axes=1)(keys)  # [2, b]
        taken = jax.vmap(jax.vmap(_view, (0, 0, None, None)), (0, None, None, None))(
            pairs, windows.astype(jnp.float32), size, options
        )
        return network.scaled(taken.reshape(-1, *taken.shape[2:]), "cube")

    def compare(variables, windows, keys, weight, train: bool):
        """The loss of each volume, and what is reported of the batch."""
        vectors, stats = network.apply(net, variables, views(keys, windows), train)
        weights = jnp.tile(weight, 2)
        count = len(vectors)
        everyone, counted = (lax.all_gather(x, DEVICES, tiled=True) for x in (vectors, weights))
        first = lax.axis_index(DEVICES) * count
        own = first + jnp.arange(count)
        partner = first + (jnp.arange(count) + count // 2) % count
        logits = losses.pairing_logits(vectors, everyone, own, partner, counted, temperature)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, partner)
        right = jnp.argmax(logits, axis=-1) == partner
        chance = 1 / jnp.maximum(jnp.sum(counted) - 1, 1)
        share = jnp.sum(weight)
        report = {
            "loss": metrics.weighted(_by_volume(loss), weight),
            "retrieval_accuracy": metrics.weighted(_by_volume(right), weight),
            "retrieval_chance": Mean(chance * share, share),
            "spread": Mean(_spread(everyone, counted) * share, share),
        }
        return jnp.mean(loss), stats, report

    def loss_of(variables, batch: Batch, keys, step):
        del step
        weight = jnp.ones(keys.shape[0])
        loss, stats, report = compare(variables, batch["window"], keys, weight, True)
        return loss, (stats, report)

    def evaluate(variables, batch: Batch, keys) -> Metrics:
        return compare(variables, batch["window"], keys, batch["weight"], False)[2]

    def picture(variables, windows, key):
        windows = windows[:DRAWN]
        shown = views(jax.random.split(key, len(windows)), windows)
        vectors, _ = network.apply(net, variables, shown, False)
        first, second = vectors.reshape(2, len(windows), -1)
        return {
            "views": shown.reshape(2, len(windows), *shown.shape[1:]),
            "similarity": jnp.einsum("af,bf->ab", first, second, precision="highest"),
        }

    def init(key):
        return net.init(key, jnp.zeros((1, *size, channels)), False)

    return Task(
        init=init,
        loss=loss_of,
        evaluate=evaluate,
        probes={},
        summarise=summarise,
        show=show,
        score=lambda numbers: numbers["retrieval_accuracy"] - 1e-3 * numbers["loss"],
        diagnose=lambda numbers, probes=None: diagnose(numbers),
        picture=picture,
        respond=None,
        window=tuple(window),
        channels=channels,
        units={"volumes": 1},
        about={},
        drawing="views",
    )


def make_network(*, encoder: dict[str, Any], hidden: int, projection: int) -> Projector:
    """Builds the encoder and its projection.

    Raises:
        ArgumentError: a value that can't be used.
    """
    for argument, width in (("hidden", hidden), ("projection", projection)):
        if width < 1:
            raise ArgumentError(argument, f"is {width}; expected at least 1")
    with members_of("encoder"):
        shared = make_encoder(**encoder, axes=(DEVICES,))
    return Projector(shared, hidden, projection)


def _view(
    key: PRNGKeyArray, window: Shaped[Array, "x y z c"], size: tuple[int, int, int], options
) -> Float[Array, "a b d c"]:
    """A part of that size at a random place, augmented."""
    place, look = jax.random.split(key)
    part = proxy.place(place, window, jnp.array(window.shape[:3]), size)
    return augment(look, part, None, options)[0]


def _by_volume(of_views: Shaped[Array, "v"]) -> Float[Array, "b"]:
    """The mean of each volume's two views."""
    return of_views.astype(jnp.float32).reshape(2, -1).mean(axis=0)


def _spread(vectors: Float[Array, "n f"], weight: Float[Array, "n"]) -> Float[Array, ""]:
    """How far unit vectors are apart: 0 where all are the same, 1 where they point everywhere.

    The root of their variance, summed over the f coordinates.
    """
    total = jnp.sum(weight)
    mean = jnp.sum(vectors * weight[:, None], axis=0, keepdims=True) / total
    squares = jnp.sum(jnp.square(vectors - mean), axis=1)
    return jnp.sqrt(jnp.sum(squares * weight) / total)


def summarise(totals: Metrics) -> dict[str, float]:
    """Means of all metrics."""
    return metrics.means(totals) | {"examples": float(np.asarray(totals["loss"].count))}


def show(numbers: dict[str, float]) -> str:
    """How often the other view was found, beside chance, and how far the vectors are apart."""
    return (
        f"other view found {numbers['retrieval_accuracy']:.1%} (chance "
        f"{numbers['retrieval_chance']:.1%}), spread {numbers['spread']:.2f}"
    )


def diagnose(numbers: dict[str, float]) -> list[str]:
    """A sentence where all vectors are alike, or the other view isn't found."""
    accuracy, chance = numbers["retrieval_accuracy"], numbers["retrieval_chance"]
    noise = math.sqrt(chance * (1 - chance) / (2 * numbers["examples"]))
    if numbers["spread"] < 0.1:
        problem = f"the vectors have collapsed: their spread is {numbers['spread']:.3f} of 1"
    elif accuracy <= chance + 3 * noise:
        problem = f"the other view is found {accuracy:.1%} of the time beside {chance:.1%}"
    else:
        return []
    return [
        f"{problem}; try more config.steps, another config.optim.rate or config.proxy.temperature, "
        "or a larger config.batch_size"
    ]
