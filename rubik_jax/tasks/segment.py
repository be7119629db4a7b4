"""Segmentation: a class for each voxel, by a U-Net's or a DUC decoder on the encoder."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from rubik_jax import losses, metrics
from rubik_jax.augment import augment, make_augmentation
from rubik_jax.errors import ArgumentError, members_of
from rubik_jax.models import DECODERS, Segmenter, make_decoder, make_encoder
from rubik_jax.tasks import network
from rubik_jax.tasks.classes import class_weights
from rubik_jax.types import DEVICES, Batch, Metrics, Task


def segment(
    *,
    channels: int,
    values: tuple[int, ...],
    frequencies: tuple[float, ...],
    window: tuple[int, int, int],
    model: dict[str, Any],
    loss: dict[str, Any],
    augmentation: dict[str, Any],
) -> Task:
    """Builds the task.

    Args:
        channels: modalities of a volume.
        values: the label of each class, rising; class 0 is the background.
        frequencies: the share of the training voxels that each class has.
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
        net = make_network(len(values), **{k: v for k, v in model.items() if k != "scaling"})
        network.check_scaling(scaling)
    with members_of("loss", given="loss.class_weights"):
        if not loss["cross_entropy"] and not loss["dice"]:
            raise ArgumentError.of(
                "{cross_entropy} and {dice} are both 0, which leaves nothing to learn; expected "
                "one above 0"
            )
        weights = class_weights(loss["class_weights"], loss["balanced"], frequencies)

    def terms(logits, truth) -> dict[str, Float[Array, "b"]]:
        cross_entropy = losses.voxel_cross_entropy(logits, truth, weights)
        dice = losses.soft_dice_loss(logits, truth)
        whole = loss["cross_entropy"] * cross_entropy + loss["dice"] * dice
        return {"loss": whole, "cross_entropy_loss": cross_entropy, "dice_loss": dice}

    def classes_of(labels: Int[Array, "*shape"]) -> Int[Array, "*shape"]:
        """Labels as numbers of classes; what is no class counts as ignored."""
        known = jnp.array(values, labels.dtype)
        found = jnp.clip(jnp.searchsorted(known, labels), 0, len(values) - 1)
        return jnp.where(known[found] == labels, found, -1)

    def loss_of(variables, batch: Batch, keys, step):
        del step
        windows = batch["window"].astype(jnp.float32)
        truth = classes_of(batch["label"])
        augmented = jax.vmap(augment, (0, 0, 0, None))
        windows, truth = augmented(keys, windows, truth, options)
        x = network.scaled(windows, scaling)
        logits, stats = network.apply(net, variables, x, True)
        found = terms(logits, truth)
        one = jnp.ones(keys.shape[0])
        report = {name: metrics.weighted(value, one) for name, value in found.items()}
        return jnp.mean(found["loss"]), (stats, report)

    def evaluate(variables, batch: Batch, keys) -> Metrics:
        del keys
        truth, weight = classes_of(batch["label"]), batch["weight"]
        x = network.scaled(batch["window"], scaling)
        logits, _ = network.apply(net, variables, x, False)
        report = {
            name: metrics.weighted(value, weight) for name, value in terms(logits, truth).items()
        }
        guess = jnp.argmax(logits, axis=-1)
        return report | metrics.overlaps(truth, guess, len(values), weight)

    def respond(variables, windows: Shaped[Array, "b x y z c"]) -> Float[Array, "b x y z k"]:
        logits, _ = network.apply(net, variables, network.scaled(windows, scaling), False)
        return jax.nn.softmax(logits, axis=-1)

    def init(key):
        return net.init(key, jnp.zeros((1, *window, channels)), False)

    def summarise(totals: Metrics) -> dict[str, float]:
        """Dice and IoU of all windows together, by label and as means; and the losses."""
        scores = metrics.dice_iou(totals)
        named = {
            f"{what}_{value}": float(score)
            for what, each in scores.items()
            for value, score in zip(values, each, strict=True)
        }
        numbers = {
            "foreground_dice": _mean(scores["dice"][1:]),
            "foreground_miou": _mean(scores["iou"][1:]),
            "miou": _mean(scores["iou"]),
            **named,
        }
        numbers |= {name: float(totals[name].value) for name in totals if name.endswith("loss")}
        return numbers | {"examples": float(totals["loss"].count)}

    return Task(
        init=init,
        loss=loss_of,
        evaluate=evaluate,
        probes={},
        summarise=summarise,
        score=lambda numbers: numbers["foreground_dice"],
        show=show,
        diagnose=lambda numbers, probes=None: diagnose(numbers, values),
        picture=None,
        respond=respond,
        window=tuple(window),
        channels=channels,
        units={"volumes": 1},
        about={"values": list(values)},
    )


def make_network(classes: int, *, encoder: dict[str, Any], head: str, **decoder: Any) -> Segmenter:
    """Builds the encoder and the decoder of that name for so many classes.

    Raises:
        ArgumentError: a value that can't be used.
    """
    with members_of("encoder"):
        below = make_encoder(**encoder, axes=(DEVICES,))
    with members_of(name="head"):
        above = make_decoder(
            head,
            classes=classes,
            strides=encoder["strides"],
            norm=encoder["norm"],
            dtype=encoder["dtype"],
            remat=encoder["remat"],
            axes=(DEVICES,),
            **decoder,
        )
    return Segmenter(below, above)


def decoder_sizes(classes: int, channels: int, model: dict[str, Any]) -> dict[str, int]:
    """How many new parameters each head would bring to this encoder, by the head's name.

    Args:
        classes: logits per voxel.
        channels: modalities of a volume.
        model: as `config.model`; a head it doesn't name has its number of convolutions.
    """
    sizes = {}
    for head in DECODERS:
        options = {k: v for k, v in model.items() if k != "scaling"} | {"head": head}
        if head == "unet":
            options |= {"convs": max(1, model["convs"]), "width": 0}
        net = make_network(classes, **options)
        empty = jax.ShapeDtypeStruct((1, 8, 8, 8, channels), jnp.float32)
        made = jax.eval_shape(lambda x, net=net: net.init(jax.random.key(0), x, False), empty)
        sizes[head] = sum(leaf.size for leaf in jax.tree.leaves(made["params"]["decoder"]))
    return sizes


def show(numbers: dict[str, float]) -> str:
    """Dice and IoU in a line, as far as they're there."""
    names = {"foreground_dice": "Dice", "foreground_miou": "IoU", "miou": "mIoU"}
    return ", ".join(
        f"{said} {numbers[name]:.3f}" for name, said in names.items() if name in numbers
    )


def _mean(scores: Float[np.ndarray, "k"]) -> float:
    """Of the classes that are there; 0 where none is."""
    there = scores[~np.isnan(scores)]
    return float(there.mean()) if len(there) else 0.0


def diagnose(numbers: dict[str, float], values: tuple[int, ...]) -> list[str]:
    """Sentences on classes that the network never finds."""
    lost = [value for value in values[1:] if numbers.get(f"dice_{value}", np.nan) == 0.0]
    if not lost:
        return []
    what = "nothing but background" if len(lost) == len(values) - 1 else f"no voxel of {lost} right"
    return [
        f"the network answers {what}; try more config.steps, a larger config.optim.rate, "
        "config.data.foreground=0.5, or config.loss.balanced=True"
    ]
