"""The classification network: an encoder, averaged over the volume, and one linear layer."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Classifier(nn.Module):
    """Global average pooling of the encoder's last features, dropout, K logits (paper, 2.2).

    The average takes volumes of any size; where things lie no longer matters, what is there does.

    Attributes:
        encoder: from [b, x, y, z, c] to the features of each stage.
        classes: K.
        dropout: the share of averaged features that is left out while training.
    """

    encoder: nn.Module
    classes: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "b x y z c"], train: bool) -> Float[Array, "b k"]:
        averages = self.encoder(x, train)[-1].astype(jnp.float32).mean(axis=(1, 2, 3))
        kept = nn.Dropout(self.dropout, deterministic=not train)(averages)
        return nn.Dense(self.classes, name="head")(kept)
