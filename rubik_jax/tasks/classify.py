"""Classification: one of K classes for a volume, by a linear layer on the encoder's average."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from rubik_jax import losses, metrics
from rubik_jax.augment import make_augmentation
from rubik_jax.errors import ArgumentError, members_of
from rubik_jax.models import Classifier, make_encoder
from rubik_jax.tasks import network
from rubik_jax.tasks.classes import class_weights
from rubik_jax.types import DEVICES, Batch, Metrics, Task

NAMED = 3  # absent classes, in a line


def classify(
    *,
    channels: int,
    classes: tuple[str, ...],
    frequencies: tuple[float, ...],
    window: tuple[int, int, int],
    model: dict[str, Any],
    loss: dict[str, Any],
    augmentation: dict[str, Any],
) -> Task:
    """Builds the task.

    Args:
        channels: modalities of a volume.
        classes: the names of the K classes.
        frequencies: the share of the training cases that each class has.
        window: the voxels along x, y, z that a step takes of a volume.
        model: as `config.model`.
        loss: as `config.loss`.
        augmentation: as `config.augment`.

    Raises:
        ArgumentError: a value that can't be used.
    """
    with members_of("augmentation"):
        options = make_augmentation(**augmentation)
    scaling = model["scaling"]
    with members_of("model"):
        network.check_scaling(scaling)
    with members_of("loss", given="loss.class_weights"):
        weights = class_weights(loss["class_weights"], loss["balanced"], frequencies)
    smoothing, dropout = loss["smoothing"], model["dropout"]
    for argument, share in {"loss.smoothing": smoothing, "model.dropout": dropout}.items():
        if not 0 <= share < 1:
            raise ArgumentError(argument, f"is {share}; expected a share in [0, 1)")
    with members_of("model.encoder"):
        encoder = make_encoder(**model["encoder"], axes=(DEVICES,))
    net = Classifier(encoder, len(classes))
    width = model["encoder"]["widths"][-1]

    def measure(logits, batch: Batch, weight) -> tuple[Float[Array, "b"], Metrics]:
        terms = losses.class_loss(logits, batch["target"], weights, smoothing)
        right = jnp.argmax(logits, axis=-1) == batch["target"]
        report = {"loss": metrics.weighted(terms, weight)}
        return terms, report | {"accuracy": metrics.weighted(right, weight)}

    def loss_of(variables, batch: Batch, keys, step):
        del step
        looks, drops = jax.vmap(jax.random.split, out_axes=1)(keys)
        windows = network.augmented(looks, batch["window"], options)
        x = network.scaled(windows, scaling)
        factors = jax.vmap(_dropout, (0, None, None))(drops, dropout, width)
        logits, stats = network.apply(net, variables, x, True, factors)
        terms, report = measure(logits, batch, jnp.ones(keys.shape[0]))
        return jnp.mean(terms), (stats, report)

    def evaluate(variables, batch: Batch, keys) -> Metrics:
        del keys
        x = network.scaled(batch["window"], scaling)
        logits, _ = network.apply(net, variables, x, False)
        weight, guess = batch["weight"], jnp.argmax(logits, axis=-1)
        _, report = measure(logits, batch, weight)
        table = metrics.confusion(batch["target"], guess, len(classes), weight)
        return report | {"confusion": table}

    def respond(variables, windows: Shaped[Array, "b x y z c"]) -> Float[Array, "b k"]:
        logits, _ = network.apply(net, variables, network.scaled(windows, scaling), False)
        return jax.nn.softmax(logits, axis=-1)

    def init(key):
        return net.init(key, jnp.zeros((1, *window, channels)), False)

    return Task(
        init=init,
        loss=loss_of,
        evaluate=evaluate,
        probes={},
        summarise=summarise,
        score=score,
        show=show,
        diagnose=lambda numbers, probes=None: diagnose(numbers),
        picture=None,
        respond=respond,
        window=tuple(window),
        channels=channels,
        units={"volumes": 1},
        about={"classes": list(classes)},
    )


def _dropout(key: PRNGKeyArray, share: float, width: int) -> Float[Array, "f"]:
    """0 for that share of features, and what makes up for them for the rest.

    Each example's from its own key, so that it's the same however devices share the batch.
    """
    kept = jax.random.bernoulli(key, 1 - share, (width,))
    return kept / (1 - share)


def summarise(totals: Metrics) -> dict[str, float]:
    """Accuracy and balanced accuracy beside chance and the majority's answer, and the loss."""
    table = np.asarray(totals["confusion"].total)
    truth, said = (table.sum(axis=axis) / table.sum() for axis in (1, 0))
    return {
        "accuracy": float(totals["accuracy"].value),
        "balanced_accuracy": metrics.balanced_accuracy(table),
        "loss": float(totals["loss"].value),
        "chance": metrics.balanced_chance(table),
        "majority": float(truth.max()),
        "top": float(said.max()),
        "examples": float(totals["loss"].count),
    }


def score(numbers: dict[str, float]) -> float:
    """Balanced accuracy; of equal ones, of which few cases make many, the lower loss is better."""
    return numbers["balanced_accuracy"] - 1e-3 * numbers["loss"]


def show(numbers: dict[str, float]) -> str:
    """Accuracies in a line, beside chance, as far as they're there, and the absent classes."""
    beside = [f"chance {numbers['chance']:.1%}"] if "chance" in numbers else []
    if absent := numbers.get("absent"):
        more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
        beside.append(f"no case of {', '.join(map(repr, absent[:NAMED]))}{more}")
    names = {"accuracy": "accuracy", "balanced_accuracy": "balanced", "auc": "AUC"}
    parts = [
        f"{said} {numbers[name]:.3f}" if name == "auc" else f"{said} {numbers[name]:.1%}"
        for name, said in names.items()
        if not np.isnan(numbers.get(name, np.nan))
    ]
    return ", ".join(parts) + (f" ({', '.join(beside)})" if beside else "")


def diagnose(numbers: dict[str, float]) -> list[str]:
    """A sentence where the cases are of one class only, or the network gives one answer only."""
    if numbers["majority"] == 1:
        return [
            "all cases that were evaluated are of one class, so that their accuracy tells nothing "
            "and chance is 100%; try another config.data.split, or more cases"
        ]
    if numbers["top"] <= 0.95 or numbers["majority"] > 0.95:
        return []
    return [
        f"the network gives one answer {numbers['top']:.0%} of the time; try more config.steps, a "
        "lower config.optim.rate, or config.loss.balanced=True"
    ]
