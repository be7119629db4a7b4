"""A 3D ResNet: stages of pre-activation residual blocks."""

import functools

import flax.linen as nn
from jaxtyping import Array, Float

from rubik_jax.models.layers import DTYPES, Conv3D, Triple
from rubik_jax.models.normalisation import Norm
from rubik_jax.models.remat import rematerialised


class Block(nn.Module):
    """Two 3x3x3 convolutions beside an identity (He et al., 2016, full pre-activation)."""

    width: int
    strides: Triple
    norm: str
    dtype: str
    axes: tuple[str, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "b x y z c"], train: bool) -> Float[Array, "b u v w f"]:
        conv = functools.partial(Conv3D, self.width, dtype=self.dtype, axes=self.axes)
        bias = self.norm == "none"
        y = nn.relu(Norm(self.norm, self.axes, name="norm0")(x, train))
        if self.strides != (1, 1, 1) or x.shape[-1] != self.width:
            x = conv((1, 1, 1), self.strides, use_bias=False, name="shortcut")(y)
        y = conv(strides=self.strides, use_bias=bias, name="conv0")(y)
        y = nn.relu(Norm(self.norm, self.axes, name="norm1")(y, train))
        return x + conv(use_bias=bias, name="conv1")(y)


class ResNet3D(nn.Module):
    """A stem and stages of residual blocks; attributes as of `VGG3D`, with `convs` as blocks.

    Attributes:
        widths: output channels of each stage; the stem has the first.
        convs: residual blocks of each stage.
        strides: stride of the first block of each stage, along x, y, z.
        norm: "group", "batch" or "none".
        dtype: what is computed in, "float32" or "bfloat16".
        axes: mapped axes that share batch statistics; with `CUBES` among them it has a gradient
            only under a vmap over cubes.
        remat: one of `remat.REMATS`.
    """

    widths: tuple[int, ...]
    convs: tuple[int, ...]
    strides: tuple[Triple, ...]
    norm: str = "group"
    dtype: str = "float32"
    axes: tuple[str, ...] = ()
    remat: str = "none"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b x y z c"], train: bool
    ) -> tuple[Float[Array, "b ..."], ...]:
        """Returns the features of every stage, normalised and rectified, the deepest last."""
        stem = Conv3D(self.widths[0], dtype=self.dtype, use_bias=False, axes=self.axes, name="stem")
        x = stem(x.astype(DTYPES[self.dtype]))
        features = []
        for stage in range(len(self.widths)):
            blocks = functools.partial(_blocks, stage, train)
            x = rematerialised(self.remat, blocks)(self, x)
            normed = Norm(self.norm, self.axes, name=f"stage{stage}_norm")(x, train)
            features.append(nn.relu(normed))
        return tuple(features)


def _blocks(stage: int, train: bool, it: ResNet3D, x: Array) -> Array:
    """The blocks of a stage of a network, applied to what the one before gives."""
    for block in range(it.convs[stage]):
        strides = it.strides[stage] if block == 0 else (1, 1, 1)
        name = f"stage{stage}_block{block}"
        x = Block(it.widths[stage], strides, it.norm, it.dtype, it.axes, name=name)(x, train)
    return x
