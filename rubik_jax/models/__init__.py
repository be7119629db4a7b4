"""The networks: encoders by their names, and the Siamese-Octad of the proxy task."""

from collections.abc import Sequence

import flax.linen as nn

from rubik_jax.errors import ArgumentError
from rubik_jax.models.classifier import Classifier
from rubik_jax.models.layers import CUBES, DTYPES
from rubik_jax.models.normalisation import NORMS
from rubik_jax.models.projector import Projector
from rubik_jax.models.remat import REMATS
from rubik_jax.models.resnet3d import ResNet3D
from rubik_jax.models.segmenter import DUCDecoder, Segmenter, UNetDecoder
from rubik_jax.models.siamese import SiameseOctad
from rubik_jax.models.vgg3d import VGG3D

ENCODERS = {"vgg": VGG3D, "resnet": ResNet3D}
DECODERS = {"unet": UNetDecoder, "duc": DUCDecoder}

__all__ = [
    "CUBES",
    "DECODERS",
    "ENCODERS",
    "VGG3D",
    "Classifier",
    "Projector",
    "ResNet3D",
    "Segmenter",
    "SiameseOctad",
    "make_decoder",
    "make_encoder",
]


def make_encoder(
    *,
    name: str,
    widths: Sequence[int],
    convs: Sequence[int],
    strides: Sequence[Sequence[int]],
    norm: str,
    dtype: str,
    remat: str = "none",
    axes: Sequence[str] = (),
) -> nn.Module:
    """Builds an encoder from plain values, such as a config or its JSON copy holds.

    Args:
        name: one of `ENCODERS`.
        widths: channels of each stage.
        convs: convolutions (VGG) or residual blocks (ResNet) of each stage.
        strides: per stage its strides along x, y, z.
        norm: "group", "batch" or "none".
        dtype: "float32" or "bfloat16".
        remat: what is computed again for the gradient, one of `remat.REMATS`.
        axes: mapped axes that share batch statistics; with `CUBES` among them the encoder has a
            gradient only under a vmap over cubes.

    Raises:
        ArgumentError: a name there isn't, or stages that don't agree in number.
    """
    choices = {
        "name": (name, ENCODERS),
        "norm": (norm, NORMS),
        "dtype": (dtype, DTYPES),
        "remat": (remat, REMATS),
    }
    for argument, (value, known) in choices.items():
        if value not in known:
            raise ArgumentError(argument, f"is {value!r}; expected one of {list(known)}")
    if not 0 < len(widths) == len(convs) == len(strides):
        raise ArgumentError.of(
            "{widths}, {convs} and {strides} are of {}, {} and {} stages; expected one of each per "
            "stage",
            *map(len, (widths, convs, strides)),
        )
    for argument, counts in (("widths", widths), ("convs", convs)):
        if min(counts) < 1:
            raise ArgumentError(argument, f"is {tuple(counts)}; expected each at least 1")
    if any(len(stride) != 3 or min(stride) < 1 for stride in strides):
        raise ArgumentError(
            "strides",
            f"is {tuple(strides)}; expected (x, y, z) for each stage, each at least 1",
        )
    return ENCODERS[name](
        widths=tuple(widths),
        convs=tuple(convs),
        strides=tuple(tuple(stride) for stride in strides),
        norm=norm,
        dtype=dtype,
        axes=tuple(axes),
        remat=remat,
    )


def make_decoder(
    name: str,
    *,
    classes: int,
    strides: Sequence[Sequence[int]],
    convs: int,
    width: int,
    norm: str,
    dtype: str,
    remat: str = "none",
    axes: Sequence[str] = (),
) -> nn.Module:
    """Builds a decoder for an encoder of these strides.

    Args:
        name: one of `DECODERS`.
        classes: logits per voxel.
        strides: of the encoder, per stage along x, y, z.
        convs: convolutions of each stage on the way up (U-Net), or on the last features (DUC).
        width: their channels with DUC; 0 for those of the features they stand on, as a U-Net has.
        norm: "group", "batch" or "none".
        dtype: "float32" or "bfloat16".
        remat: what is computed again for the gradient, one of `remat.REMATS`.
        axes: mapped axes that share batch statistics.

    Raises:
        ArgumentError: a name there isn't, or numbers that can't be.
    """
    if name not in DECODERS:
        raise ArgumentError("name", f"is {name!r}; expected one of {list(DECODERS)}")
    if convs < (1 if name == "unet" else 0):
        raise ArgumentError("convs", f"is {convs}; expected at least 1 for a U-Net, 0 for DUC")
    if width < 0 or (name == "unet" and width):
        raise ArgumentError("width", f"is {width}; expected 0 for a U-Net, 0 or more for DUC")
    options = {"width": width} if name == "duc" else {}
    return DECODERS[name](
        classes=classes,
        strides=tuple(tuple(stride) for stride in strides),
        convs=convs,
        norm=norm,
        dtype=dtype,
        axes=tuple(axes),
        remat=remat,
        **options,
    )
