"""What a network keeps of its forward pass for the backward one, and what it computes again."""

from collections.abc import Callable

import flax.linen as nn
import jax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

REMATS = ("none", "norms", "stages")
"""What is computed again: nothing; what norms and rectifiers give; a stage, from its input."""

_CONVOLVED = "convolved"

Features = Float[Array, "b x y z c"]


def convolved(x: Features) -> Features:
    """Names what a convolution gives, which "norms" keeps."""
    return checkpoint_name(x, _CONVOLVED)


def stage(kind: str, function: Callable[..., Features]) -> Callable[..., Features]:
    """A stage of a network under that kind of rematerialisation (Chen et al., 2016).

    Args:
        kind: one of `REMATS`. "norms" keeps what convolutions give, a third to six tenths of what
            "none" does, and computes again what is made of that without weights; "stages" keeps a
            stage's input, and takes its forward pass twice.
        function: (module, features) -> features, making layers in that module's scope.
    """
    if kind == "none":
        return function
    policies = jax.checkpoint_policies
    only = policies.save_only_these_names(_CONVOLVED) if kind == "norms" else None
    return nn.remat(function, policy=only)
