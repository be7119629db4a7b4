"""A 3D VGG: stages of 3x3x3 convolutions with a max pooling between stages."""

import flax.linen as nn
from jaxtyping import Array, Float

from rubik_jax.models.layers import DTYPES, Conv3D, Triple, max_pool
from rubik_jax.models.normalisation import Norm


class VGG3D(nn.Module):
    """The paper's backbone (section 2.1, after Simonyan & Zisserman); its widths are ours.

    Attributes:
        widths: output channels of each stage.
        convs: convolutions of each stage.
        strides: pooling *before* each stage, along x, y, z; (1, 1, 1) for none. So a thin volume
            keeps its slices where its stride is 1.
        norm: "group", "batch" or "none".
        dtype: what is computed in, "float32" or "bfloat16".
        axes: mapped axes that share batch statistics.
    """

    widths: tuple[int, ...]
    convs: tuple[int, ...]
    strides: tuple[Triple, ...]
    norm: str = "group"
    dtype: str = "float32"
    axes: tuple[str, ...] = ()

    @nn.compact
    def __call__(
        self, x: Float[Array, "b x y z c"], train: bool
    ) -> tuple[Float[Array, "b ..."], ...]:
        """Returns the features of every stage, the deepest last."""
        x = x.astype(DTYPES[self.dtype])
        features = []
        for stage, (width, convs) in enumerate(zip(self.widths, self.convs, strict=True)):
            x = max_pool(x, self.strides[stage])
            for conv in range(convs):
                name = f"stage{stage}_conv{conv}"
                bias = self.norm == "none"
                x = Conv3D(width, dtype=self.dtype, use_bias=bias, axes=self.axes, name=name)(x)
                x = Norm(self.norm, self.axes, name=f"stage{stage}_norm{conv}")(x, train)
                x = nn.relu(x)
            features.append(x)
        return tuple(features)
