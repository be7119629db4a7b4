"""The network of contrast: an encoder, averaged over a volume, and two layers to a unit vector."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Projector(nn.Module):
    """Global average pooling and SimCLR's projection head (Chen et al., 2020, section 2.1).

    Attributes:
        encoder: from [b, x, y, z, c] to the features of each stage.
        hidden: width of the hidden layer.
        projection: length of the vectors.
    """

    encoder: nn.Module
    hidden: int
    projection: int

    @nn.compact
    def __call__(self, x: Float[Array, "b x y z c"], train: bool) -> Float[Array, "b f"]:
        averages = self.encoder(x, train)[-1].astype(jnp.float32).mean(axis=(1, 2, 3))
        # Averages of rectified features all point one way; normalised, they begin apart.
        hidden = nn.LayerNorm(name="norm")(nn.Dense(self.hidden, name="hidden")(averages))
        vectors = nn.Dense(self.projection, name="vectors")(nn.relu(hidden))
        length = jnp.sqrt(jnp.sum(jnp.square(vectors), axis=-1, keepdims=True) + 1e-12)
        return vectors / length
