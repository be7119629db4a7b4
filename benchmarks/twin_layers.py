"""Our layers in PyTorch; features are [b, c, x, y, z]."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

Triple = tuple[int, int, int]

GROUPS = 8  # at most: brought down to the largest divisor of the channels
SMALL = 1e-6  # Flax's epsilon in a LayerNorm


class Conv(nn.Conv3d):
    """A convolution without bias whose output has the input's size over the strides, rounded up."""

    def __init__(self, channels: int, features: int, kernel: int = 3, strides: Triple = (1, 1, 1)):
        super().__init__(channels, features, kernel, strides, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        lacks = [
            max(0, (-(-n // s) - 1) * s + k - n)
            for n, k, s in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        ]
        # A stride of 2 on an even side lacks one voxel, behind, and PyTorch pads both sides alike.
        if any(lack % 2 for lack in lacks):
            x = functional.pad(
                x, [n for lack in reversed(lacks) for n in (lack // 2, lack - lack // 2)]
            )
            lacks = [0, 0, 0]
        return functional.conv3d(x, self.weight, None, self.stride, [lack // 2 for lack in lacks])


class Upsample(nn.Linear):
    """A linear layer on the channels and a pixel shuffle.

    A transposed convolution whose kernel is its stride does the same with one bias for all parts
    of a voxel; here, as in ours, each has its own.
    """

    def __init__(self, channels: int, features: int, strides: Triple):
        super().__init__(channels, math.prod(strides) * features)
        self.strides, self.features = strides, features

    def forward(self, x: Tensor) -> Tensor:
        batch, _, *size = x.shape
        y = super().forward(x.movedim(1, -1)).view(batch, *size, *self.strides, self.features)
        fine = [n * s for n, s in zip(size, self.strides, strict=True)]
        y = y.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(batch, *fine, self.features)
        return y.movedim(-1, 1)


def convolutions(channels: int, width: int, count: int) -> nn.Sequential:
    """So many convolutions, each normalised and rectified."""
    layers = []
    for before in [channels, *[width] * (count - 1)][:count]:
        layers += [Conv(before, width), group_norm(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def group_norm(channels: int) -> nn.GroupNorm:
    """With the most groups, up to `GROUPS`, that divide the channels."""
    groups = next(g for g in range(min(GROUPS, channels), 0, -1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)


def dense(channels: int, features: int) -> list[nn.Module]:
    """A linear layer, normalised and rectified."""
    return [nn.Linear(channels, features), nn.LayerNorm(features, SMALL), nn.ReLU(inplace=True)]


def max_pool(x: Tensor, strides: Triple) -> Tensor:
    """The largest of each block; an axis shorter than its stride is pooled whole."""
    block = [min(stride, n) for stride, n in zip(strides, x.shape[2:], strict=True)]
    return x if max(block) == 1 else functional.max_pool3d(x, block)


def in_float32(layer, x: Tensor):
    """Calls a layer without autocast."""
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.float())
