"""Segmentation: a class for each voxel, by a U-Net's or a DUC decoder on the encoder.

Where regions are trained on, the network answers for each of them whether a voxel is inside; their
labels are painted one after the other, and all scores are of these labels.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from rubik_jax import losses, metrics
from rubik_jax.augment import augment, make_augmentation
from rubik_jax.data.regions import NONE, Regions
from rubik_jax.errors import ArgumentError, members_of
from rubik_jax.models import DECODERS, Segmenter, make_decoder, make_encoder
from rubik_jax.tasks import network
from rubik_jax.tasks.classes import class_weights
from rubik_jax.tasks.findings import diagnose
from rubik_jax.types import DEVICES, Batch, Metrics, Task

REGIONS = 3  # in a line


def segment(
    *,
    channels: int,
    values: tuple[int, ...],
    frequencies: tuple[float, ...],
    window: tuple[int, int, int],
    model: dict[str, Any],
    loss: dict[str, Any],
    augmentation: dict[str, Any],
    regions: Regions = NONE,
    ignore: int = -1,
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
        regions: what is scored beside the labels; with an order, what is learned, too.
        ignore: a label that is none of the values and says nothing; -1 for none.

    Raises:
        ArgumentError: a value that can't be used.
    """
    with members_of("augmentation"):
        options = make_augmentation(**augmentation)
    painted = [values.index(label) for label in regions.order]
    members = np.array([[value in of for value in values] for of in regions.labels.values()])
    scaling = model["scaling"]
    with members_of("model"):
        options_of_net = {name: value for name, value in model.items() if name != "scaling"}
        net = make_network(len(painted) or len(values), **options_of_net)
        network.check_scaling(scaling)
    with members_of("loss", given="loss.class_weights"):
        if not loss["cross_entropy"] and not loss["dice"]:
            raise ArgumentError.of(
                "{cross_entropy} and {dice} are both 0, which leaves nothing to learn; expected "
                "one above 0"
            )
        if painted and (loss["class_weights"] or loss["balanced"]):
            raise ArgumentError.of(
                "{class_weights} and {balanced} weigh labels, but regions are learned; expected "
                "() and False"
            )
        weights = class_weights(loss["class_weights"], loss["balanced"], frequencies)

    def within(classes: Int[Array, "*shape"]) -> Bool[Array, "*shape r"]:
        """Which regions a class lies in."""
        return jnp.array(members.T)[classes]

    def terms(logits, truth) -> dict[str, Float[Array, "b"]]:
        if painted:
            known = truth >= 0
            inside = within(jnp.maximum(truth, 0))
            cross_entropy = losses.region_cross_entropy(logits, inside, known)
            dice = losses.region_dice_loss(logits, inside, known)
        else:
            cross_entropy = losses.voxel_cross_entropy(logits, truth, weights)
            dice = losses.soft_dice_loss(logits, truth)
        whole = loss["cross_entropy"] * cross_entropy + loss["dice"] * dice
        return {"loss": whole, "cross_entropy_loss": cross_entropy, "dice_loss": dice}

    def answered(logits: Float[Array, "b x y z k"]) -> Int[Array, "b x y z"]:
        """The class of each voxel, as `regions.paint` has it where regions are learned."""
        if not painted:
            return jnp.argmax(logits, axis=-1)
        guess = jnp.zeros(logits.shape[:-1], jnp.int32)
        for region, number in enumerate(painted):
            guess = jnp.where(logits[..., region] > 0, number, guess)
        return guess

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
        guess = answered(logits)
        report |= metrics.overlaps(truth, guess, len(values), weight)
        if not len(members):
            return report
        known = (truth >= 0)[..., None]
        masks = ((within(jnp.maximum(x, 0)) & known).astype(jnp.float32) for x in (truth, guess))
        found = metrics.mask_overlaps(*masks, weight)
        return report | {f"{REGION}{name}": total for name, total in found.items()}

    def respond(variables, windows: Shaped[Array, "b x y z c"]) -> Float[Array, "b x y z k"]:
        logits, _ = network.apply(net, variables, network.scaled(windows, scaling), False)
        return jax.nn.sigmoid(logits) if painted else jax.nn.softmax(logits, axis=-1)

    def init(key):
        return net.init(key, jnp.zeros((1, *window, channels)), False)

    def summarise(totals: Metrics) -> dict[str, float]:
        """Dice and IoU of all windows together, as means, by region and by label; the losses."""
        scores = metrics.dice_iou(totals)
        of_regions = {
            name.removeprefix(REGION): each
            for name, each in totals.items()
            if name.startswith(REGION)
        }
        parts = [(values, scores)]
        if of_regions:
            parts = [(tuple(regions.labels), metrics.dice_iou(of_regions)), *parts]
        numbers = {
            "foreground_dice": _mean(scores["dice"][1:]),
            "foreground_miou": _mean(scores["iou"][1:]),
            "miou": _mean(scores["iou"]),
        }
        for called, found in parts:
            for what, each in found.items():
                numbers |= {
                    f"{what}_{name}": float(x) for name, x in zip(called, each, strict=True)
                }
        numbers |= metrics.voxel_shares(
            values, *(np.asarray(totals[f"{who}_voxels"].total) for who in ("truth", "guess"))
        )
        numbers |= {name: float(totals[name].value) for name in totals if name.endswith("loss")}
        return numbers | {"examples": float(totals["loss"].count)}

    def score(numbers: dict[str, float]) -> float:
        """The mean Dice of what is learned; the loss where there is none of that to find."""
        if not any(numbers[f"truth_share_{value}"] for value in values[1:]):
            return -numbers["loss"]
        if not painted:
            return numbers["foreground_dice"]
        return _mean(np.array([numbers[f"dice_{name}"] for name in regions.labels]))

    return Task(
        init=init,
        loss=loss_of,
        evaluate=evaluate,
        probes={},
        summarise=summarise,
        score=score,
        show=show,
        diagnose=lambda numbers, probes=None: diagnose(numbers, values, weighted=not painted),
        picture=None,
        respond=respond,
        window=tuple(window),
        channels=channels,
        units={"volumes": 1},
        about={"values": list(values), "ignore": ignore, **regions.about()},
    )


REGION = "region_"  # before the names of totals that are of regions


def outputs(about: Mapping[str, Any]) -> int:
    """Logits per voxel of a network, by what its task tells about it."""
    return len(about.get("order", ())) or len(about["values"])


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
    """Dice and IoU in a line, as far as they're there; a dash where nothing has one."""
    names = {"foreground_dice": "Dice", "foreground_miou": "IoU", "miou": "mIoU"}
    regions = [name for name in numbers if re.match(r"dice_(?!loss$|\d+$)", name)]
    names |= {name: f"Dice of {name.removeprefix('dice_')}" for name in regions[:REGIONS]}
    return ", ".join(
        f"{said} {'–' if math.isnan(numbers[name]) else format(numbers[name], '.3f')}"
        for name, said in names.items()
        if name in numbers
    )


def _mean(scores: Float[np.ndarray, "k"]) -> float:
    """Of the classes that are there; NaN where none is."""
    there = scores[~np.isnan(scores)]
    return float(there.mean()) if len(there) else math.nan
