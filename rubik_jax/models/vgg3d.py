"""A 3D VGG: stages of 3x3x3 convolutions with a max pooling between stages."""

import functools

import flax.linen as nn
from jaxtyping import Array, Float

from rubik_jax.models.layers import DTYPES, Conv3D, Triple, max_pool
from rubik_jax.models.normalisation import Norm
from rubik_jax.models.remat import rematerialised


class VGG3D(nn.Module):
    """The paper's backbone (section 2.1, after Simonyan & Zisserman); its widths are ours.

    Attributes:
        widths: output channels of each stage.
        convs: convolutions of each stage.
        strides: pooling *before* each stage, along x, y, z; (1, 1, 1) for none. So a thin volume
            keeps its slices where its stride is 1.
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
        """Returns the features of every stage, the deepest last."""
        x = x.astype(DTYPES[self.dtype])
        features = []
        for stage in range(len(self.widths)):
            x = rematerialised(self.remat, functools.partial(_stage, stage, train))(self, x)
            features.append(x)
        return tuple(features)


def _stage(stage: int, train: bool, it: VGG3D, x: Array) -> Array:
    """The features of a stage of a network, from those of the one before."""
    x = max_pool(x, it.strides[stage])
    for conv in range(it.convs[stage]):
        options = {"dtype": it.dtype, "use_bias": it.norm == "none", "axes": it.axes}
        x = Conv3D(it.widths[stage], **options, name=f"stage{stage}_conv{conv}")(x)
        x = nn.relu(Norm(it.norm, it.axes, name=f"stage{stage}_norm{conv}")(x, train))
    return x
