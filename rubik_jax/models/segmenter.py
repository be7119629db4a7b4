"""Segmentation networks: an encoder, and a U-Net's or a DUC decoder back to full resolution."""

import functools

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rubik_jax.models.layers import Conv3D, Triple, Upsample
from rubik_jax.models.normalisation import Norm
from rubik_jax.models.remat import rematerialised

Features = tuple[Float[Array, "b ..."], ...]


class ConvBlock(nn.Module):
    """So many 3x3x3 convolutions, each normalised and rectified.

    Attributes:
        width: channels.
        convs: how many.
        norm: "group", "batch" or "none".
        dtype: what is computed in, "float32" or "bfloat16".
        axes: mapped axes that share batch statistics.
    """

    width: int
    convs: int
    norm: str
    dtype: str
    axes: tuple[str, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "b x y z c"], train: bool) -> Float[Array, "b x y z f"]:
        for i in range(self.convs):
            bias = self.norm == "none"
            x = Conv3D(self.width, dtype=self.dtype, use_bias=bias, name=f"conv{i}")(x)
            x = nn.relu(Norm(self.norm, self.axes, name=f"norm{i}")(x, train))
        return x


class UNetDecoder(nn.Module):
    """The way up of a 3D U-Net, from scratch: upsample, join the skip, convolve, stage by stage.

    Çiçek et al., MICCAI 2016; a stage has the width of the encoder's features that it joins.

    Attributes:
        classes: logits per voxel.
        strides: the encoder's, per stage and axis.
        convs: convolutions of each stage.
        norm: "group", "batch" or "none".
        dtype: what is computed in; the logits are float32.
        axes: mapped axes that share batch statistics.
        remat: one of `remat.REMATS`.
    """

    classes: int
    strides: tuple[Triple, ...]
    convs: int
    norm: str
    dtype: str
    axes: tuple[str, ...] = ()
    remat: str = "none"

    @nn.compact
    def __call__(self, features: Features, train: bool) -> Float[Array, "b x y z k"]:
        x = features[-1]
        for stage in reversed(range(1, len(features))):
            joined = rematerialised(self.remat, functools.partial(_joined, stage, train))
            x = joined(self, x, features[stage - 1])
        return Upsample(self.classes, self.strides[0], self.dtype, wide=True, name="logits")(x)


def _joined(stage: int, train: bool, it: UNetDecoder, x: Array, skip: Array) -> Array:
    """A stage of the way up: features brought to the size of those that it joins, and convolved."""
    width, name = skip.shape[-1], f"stage{stage - 1}"
    x = Upsample(width, it.strides[stage], it.dtype, name=f"{name}_up")(x)
    x = jnp.concatenate([skip, x], axis=-1)
    return ConvBlock(width, it.convs, it.norm, it.dtype, it.axes, name=name)(x, train)


class DUCDecoder(nn.Module):
    """Dense upsampling convolution: the encoder's last features, then one shuffle to full size.

    Wang et al., WACV 2018, in 3D: a linear layer gives each coarse voxel the logits of all fine
    voxels that it covers (paper, section 2.2). Far fewer new parameters than a U-Net's way up.

    Attributes:
        classes: logits per voxel.
        strides: the encoder's, per stage and axis; what a coarse voxel covers is their product.
        convs: convolutions on the encoder's features.
        width: their channels; 0 for those of the features.
        norm: "group", "batch" or "none".
        dtype: what is computed in; the logits are float32.
        axes: mapped axes that share batch statistics.
        remat: one of `remat.REMATS`.
    """

    classes: int
    strides: tuple[Triple, ...]
    convs: int
    width: int
    norm: str
    dtype: str
    axes: tuple[str, ...] = ()
    remat: str = "none"

    @nn.compact
    def __call__(self, features: Features, train: bool) -> Float[Array, "b x y z k"]:
        x = features[-1]
        block = rematerialised(self.remat, functools.partial(_block, train))
        stride = tuple(int(n) for n in np.prod(self.strides, axis=0))
        return Upsample(self.classes, stride, self.dtype, wide=True, name="logits")(block(self, x))


def _block(train: bool, it: DUCDecoder, x: Array) -> Array:
    """The convolutions of DUC."""
    width = it.width or x.shape[-1]
    return ConvBlock(width, it.convs, it.norm, it.dtype, it.axes, name="block")(x, train)


class Segmenter(nn.Module):
    """An encoder and a decoder; any size goes in, and the same size comes out.

    Inputs are padded by their edge, behind, to a multiple of the encoder's stride, and the
    logits are cropped.

    Attributes:
        encoder: from [b, x, y, z, c] to the features of each stage.
        decoder: from those to logits [b, x, y, z, k].
    """

    encoder: nn.Module
    decoder: nn.Module

    @nn.compact
    def __call__(self, x: Float[Array, "b x y z c"], train: bool) -> Float[Array, "b x y z k"]:
        size = x.shape[1:4]
        stride = np.prod(self.encoder.strides, axis=0)
        lack = [int(-n % s) for n, s in zip(size, stride, strict=True)]
        x = jnp.pad(x, [(0, 0), *((0, n) for n in lack), (0, 0)], mode="edge")
        logits = self.decoder(self.encoder(x, train), train)
        return logits[:, : size[0], : size[1], : size[2]]
