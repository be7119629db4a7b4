"""The classification network: an encoder, averaged over the volume, and one linear layer."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Classifier(nn.Module):
    """Global average pooling of the encoder's last features and K logits (paper, section 2.2).

    The average takes volumes of any size; where things lie no longer matters, what is there does.

    Attributes:
        encoder: from [b, x, y, z, c] to the features of each stage.
        classes: K.
    """

    encoder: nn.Module
    classes: int

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b x y z c"],
        train: bool,
        factors: Float[Array, "b f"] | None = None,
    ) -> Float[Array, "b k"]:
        """Returns the logits; `factors` multiply the averaged features, for dropout."""
        averages = self.encoder(x, train)[-1].astype(jnp.float32).mean(axis=(1, 2, 3))
        kept = averages if factors is None else averages * factors
        return nn.Dense(self.classes, name="head")(kept)
