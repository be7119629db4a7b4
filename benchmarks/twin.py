"""Our pre-training and fine-tuning in PyTorch, as its users would write them at their best.

Neither changes windows at random: it is fair beside ours with `config.augment` off. Where ours
adds a schedule of what is turned or frozen, the twin takes the step of a run's middle.
"""

import math
from functools import partial

import torch
from ml_collections import ConfigDict
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import cases
from benchmarks.contest import Contestant
from benchmarks.numpy_puzzle import Puzzle
from benchmarks.twin_networks import DUCDecoder, Segmenter, Siamese, UNetDecoder, make_encoder
from benchmarks.twin_puzzle import Puzzles, Windows, generate
from benchmarks.twin_training import Training, contestant
from rubik_jax import proxy
from rubik_jax.errors import UserError

_VOLUMES = 2  # that are generated


def pretraining(
    config: ConfigDict, dtype: str, batch: int, workers: int, *, compiled: bool | None = None
) -> Contestant:
    """Pre-training by Rubik's cube recovery.

    Args:
        config: as `configs/pretrain.py` gives it, resolved.
        dtype: "float32", or "bfloat16" by autocast.
        batch: volumes of a step.
        workers: processes that make puzzles; 0 makes them in this one, when they are asked for.
        compiled: whether by `torch.compile`; None where there is a GPU, since on the CPU it was
            no faster where it was measured.

    Raises:
        UserError: a game, an encoder or an optimiser that the twin doesn't know.
    """
    _check(config)
    game = config.proxy
    channels, cells = cases.channels(config), math.prod(game.counts)
    orders = proxy.make_orders(game.orders, game.num_orders, cells, config.seed)
    puzzle = Puzzle(tuple(game.counts), tuple(game.cube), tuple(game.gap), orders)
    network = Siamese(
        _encoder(config, channels, skips=False),
        (channels, *puzzle.cube),
        config.model.projection,
        torch.from_numpy(orders).long(),
        config.model.heads,
        config.model.hidden,
    )
    volumes, _ = generate(_VOLUMES, puzzle.window, channels)
    loss = partial(pretraining_loss, network, **config.loss)
    train = Training(network, loss, config, dtype, compiled)
    return contestant(train, Puzzles(volumes, puzzle), batch, batch * cells, workers)


def finetuning(
    config: ConfigDict, dtype: str, batch: int, workers: int, *, compiled: bool | None = None
) -> Contestant:
    """Segmentation by a U-Net or DUC, of `configs/segment.py`; arguments as of `pretraining`."""
    _check(config)
    channels, classes = cases.channels(config), cases.classes(config)
    network = Segmenter(
        _encoder(config, channels, skips=config.model.head == "unet"), _decoder(config, classes)
    )
    window = tuple(config.window)
    volumes, masks = generate(_VOLUMES, window, channels, classes)
    loss = partial(
        finetuning_loss,
        network,
        cross_entropy=config.loss.cross_entropy,
        dice=config.loss.dice,
    )
    train = Training(network, loss, config, dtype, compiled)
    return contestant(train, Windows(volumes, masks, window), batch, 0, workers)


def pretraining_loss(
    network: nn.Module,
    cubes: Tensor,
    order: Tensor,
    turns: Tensor,
    *,
    alpha: float,
    beta: float,
    gamma: float,
    reduction: str,
) -> Tensor:
    """Cross-entropies over the orders and the half turns; `gamma` is of masks, of which none are.

    Args:
        network: from cubes to the logits of both.
        cubes: [b, m, c, x, y, z].
        order: [b].
        turns: [b, m, 2].
        alpha: weight of the former.
        beta: weight of the latter.
        gamma: without effect.
        reduction: of the latter over the cubes, "mean" or "sum".
    """
    del gamma
    order_logits, turn_logits = network(cubes)
    turned = functional.binary_cross_entropy_with_logits(turn_logits, turns)
    factor = turns[0].numel() if reduction == "sum" else 1
    return alpha * functional.cross_entropy(order_logits, order) + beta * factor * turned


def finetuning_loss(
    network: nn.Module, windows: Tensor, labels: Tensor, *, cross_entropy: float, dice: float
) -> Tensor:
    """Cross-entropy and one minus the soft Dice of the foreground, of each example.

    Args:
        network: from windows to logits [b, k, x, y, z].
        windows: [b, c, x, y, z].
        labels: uint8 [b, x, y, z].
        cross_entropy: its weight.
        dice: the other's.
    """
    logits, truth = network(windows), labels.long()
    chances = logits.softmax(dim=1)[:, 1:]
    classes = torch.arange(1, logits.shape[1], device=logits.device)
    told = truth[:, None] == classes[:, None, None, None]
    both, guessed, true = (x.sum(dim=(2, 3, 4)) for x in (chances * told, chances, told))
    overlap = (2 * both + 1) / (guessed + true + 1)
    return cross_entropy * functional.cross_entropy(logits, truth) + dice * (1 - overlap.mean())


def _encoder(config: ConfigDict, channels: int, *, skips: bool) -> nn.Module:
    it = config.model.encoder
    return make_encoder(it.name, channels, it.widths, it.convs, it.strides, skips=skips)


def _decoder(config: ConfigDict, classes: int) -> nn.Module:
    encoder, model = config.model.encoder, config.model
    if model.head == "unet":
        return UNetDecoder(encoder.widths, encoder.strides, classes, model.convs)
    return DUCDecoder(encoder.widths[-1], encoder.strides, classes, model.convs, model.width)


def _check(config: ConfigDict) -> None:
    """Raises UserError for what the twin doesn't do."""
    known = {
        "model.encoder.norm": ("group",),
        "optim.name": ("adamw",),
        "optim.schedule": ("cosine",),
    }
    if config.task == "pretrain":
        known |= {
            "proxy.turns": ("half",),
            "proxy.orders": ("greedy", "group"),
            "proxy.masking": (0.0,),
            "proxy.jitter": ((0, 0, 0),),
        }
    else:
        known |= {
            "model.scaling": ("cube",),
            "loss.balanced": (False,),
            "loss.class_weights": ((),),
        }
    for knob, values in known.items():
        value = config
        for name in knob.split("."):
            value = value[name]
        if value not in values:
            raise UserError(f"config.{knob} is {value!r}; the twin expects one of {list(values)}")
