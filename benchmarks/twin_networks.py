"""Our networks in PyTorch, with as many parameters; features are [b, c, x, y, z]."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.twin_layers import (
    Conv,
    Triple,
    Upsample,
    convolutions,
    dense,
    group_norm,
    in_float32,
    max_pool,
)


class Block(nn.Module):
    """A residual block of two convolutions, pre-activated."""

    def __init__(self, channels: int, features: int, strides: Triple):
        super().__init__()
        self.norm0, self.norm1 = group_norm(channels), group_norm(features)
        self.conv0 = Conv(channels, features, strides=strides)
        self.conv1 = Conv(features, features)
        changes = strides != (1, 1, 1) or channels != features
        self.shortcut = Conv(channels, features, 1, strides) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm0(x), inplace=True)
        x = self.shortcut(y) if self.shortcut else x
        return x + self.conv1(functional.relu(self.norm1(self.conv0(y)), inplace=True))


class VGG(nn.Module):
    """Stages of convolutions with a max pooling before each; returns the features of all stages."""

    def __init__(
        self, channels: int, widths: Sequence[int], convs: Sequence[int], strides: Sequence[Triple]
    ):
        super().__init__()
        self.strides = strides
        inputs = [channels, *widths[:-1]]
        self.stages = nn.ModuleList(map(convolutions, inputs, widths, convs))

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for strides, stage in zip(self.strides, self.stages, strict=True):
            x = stage(max_pool(x, strides))
            features.append(x)
        return features


class ResNet(nn.Module):
    """A stem and stages of residual blocks; returns the features of all stages, or the deepest.

    Those of a stage are normalised and rectified once more, which is left out where nobody asks
    for them.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        convs: Sequence[int],
        strides: Sequence[Triple],
        skips: bool,
    ):
        super().__init__()
        self.strides, self.skips = strides, skips
        self.stem = Conv(channels, widths[0])
        self.stages = nn.ModuleList()
        inputs = [widths[0], *widths[:-1]]
        for before, width, blocks, stride in zip(inputs, widths, convs, strides, strict=True):
            more = [Block(width, width, (1, 1, 1)) for _ in range(blocks - 1)]
            self.stages.append(nn.Sequential(Block(before, width, stride), *more))
        self.norms = nn.ModuleList(map(group_norm, widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        x, features = self.stem(x), []
        for stage, norm in zip(self.stages, self.norms, strict=True):
            x = stage(x)
            if self.skips or norm is self.norms[-1]:
                features.append(functional.relu(norm(x), inplace=True))
        return features


class UNetDecoder(nn.Module):
    """A U-Net's way up, to logits in float32."""

    def __init__(self, widths: Sequence[int], strides: Sequence[Triple], classes: int, convs: int):
        super().__init__()
        stages = range(1, len(widths))
        self.ups = nn.ModuleList(Upsample(widths[s], widths[s - 1], strides[s]) for s in stages)
        self.blocks = nn.ModuleList(
            convolutions(2 * widths[s - 1], widths[s - 1], convs) for s in stages
        )
        self.logits = Upsample(widths[0], classes, strides[0])

    def forward(self, features: list[Tensor]) -> Tensor:
        *skips, x = features
        for skip, up, block in zip(skips[::-1], self.ups[::-1], self.blocks[::-1], strict=True):
            x = block(torch.cat([skip, up(x)], dim=1))
        return in_float32(self.logits, x)


class DUCDecoder(nn.Module):
    """Dense upsampling convolution, from the deepest features to logits in float32."""

    def __init__(
        self, channels: int, strides: Sequence[Triple], classes: int, convs: int, width: int
    ):
        super().__init__()
        width = width or channels
        self.block = convolutions(channels, width, convs)
        whole = tuple(map(math.prod, zip(*strides, strict=True)))
        self.logits = Upsample(width if convs else channels, classes, whole)

    def forward(self, features: list[Tensor]) -> Tensor:
        return in_float32(self.logits, self.block(features[-1]))


class Segmenter(nn.Module):
    """An encoder and a decoder; inputs are padded by their edge where the strides ask for it."""

    def __init__(self, encoder: VGG | ResNet, decoder: UNetDecoder | DUCDecoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        whole = map(math.prod, zip(*self.encoder.strides, strict=True))
        lacks = [-n % s for n, s in zip(size, whole, strict=True)]
        if any(lacks):
            x = functional.pad(
                x, [n for lack in reversed(lacks) for n in (0, lack)], mode="replicate"
            )
        x = x.contiguous(memory_format=torch.channels_last_3d)
        logits = self.decoder(self.encoder(x))
        return logits[:, :, : size[0], : size[1], : size[2]]


class Siamese(nn.Module):
    """The encoder on all cubes, folded into the batch, a projection, and heads for the puzzle."""

    def __init__(
        self,
        encoder: VGG | ResNet,
        shape: tuple[int, int, int, int],
        projection: int,
        orders: Tensor,
        heads: str,
        hidden: int,
    ):
        """Takes cubes of a shape (c, x, y, z) and the set of orders, [k, m]; the rest as ours."""
        super().__init__()
        self.encoder, self.tied = encoder, heads == "tied"
        with torch.no_grad():
            flat = encoder(torch.zeros(2, *shape))[-1][0].numel()
        self.projection = nn.Sequential(*dense(flat, projection))
        count, cells = orders.shape
        self.register_buffer("table", functional.one_hot(orders, cells).flatten(1).float())
        joint = cells * projection
        if self.tied:
            self.order_head = nn.Linear(projection, cells, bias=False)
            self.turn_head = nn.Linear(projection, 2)
        else:
            layers = dense(joint, hidden) if hidden else []
            self.order_head = nn.Sequential(*layers, nn.Linear(hidden or joint, count))
            self.turn_head = nn.Linear(joint, 2 * cells)

    def forward(self, cubes: Tensor) -> tuple[Tensor, Tensor]:
        """[b, m, c, x, y, z] to logits of the orders, [b, k], and of the half turns, [b, m, 2]."""
        x = cubes.flatten(0, 1).contiguous(memory_format=torch.channels_last_3d)
        flat = self.encoder(x)[-1].flatten(1)
        vectors = in_float32(self.projection, flat).unflatten(0, cubes.shape[:2])
        return in_float32(self.answer, vectors)

    def answer(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The heads' logits."""
        if self.tied:
            return functional.linear(
                self.order_head(vectors).flatten(1), self.table
            ), self.turn_head(vectors)
        flat = vectors.flatten(1)
        return self.order_head(flat), self.turn_head(flat).unflatten(1, (-1, 2))


def make_encoder(
    name: str,
    channels: int,
    widths: Sequence[int],
    convs: Sequence[int],
    strides: Sequence[Triple],
    *,
    skips: bool,
) -> VGG | ResNet:
    """The encoder of that name; `skips` asks for the features of all stages."""
    strides = tuple(map(tuple, strides))
    if name == "vgg":
        return VGG(channels, widths, convs, strides)
    return ResNet(channels, widths, convs, strides, skips)
