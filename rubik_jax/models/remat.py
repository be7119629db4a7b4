"""What a network keeps of its forward pass for the backward one, and what it computes again."""

from collections.abc import Callable

import flax.linen as nn
import jax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

_CONVOLVED = "convolved"
_POLICIES = {
    "norms": jax.checkpoint_policies.save_only_these_names(_CONVOLVED),
    "stages": jax.checkpoint_policies.nothing_saveable,
}

REMATS = ("none", *_POLICIES)
"""What is computed again: nothing; all but convolutions; a stage, from its input."""

Features = Float[Array, "b x y z c"]


def convolved(x: Features) -> Features:
    """Names what a convolution gives, which "norms" keeps."""
    return checkpoint_name(x, _CONVOLVED)


def rematerialised(kind: str, stage: Callable[..., Features]) -> Callable[..., Features]:
    """A stage of a network under that kind of rematerialisation (Chen et al., 2016).

    Args:
        kind: one of `REMATS`. "norms" keeps what convolutions give, a third to six tenths of what
            "none" does, and computes the rest again: norms, rectifiers, pooling, a U-Net's
            upsampling. "stages" keeps a stage's input, and takes its forward pass twice.
        stage: (module, features) -> features, making layers in that module's scope.
    """
    return stage if kind == "none" else nn.remat(stage, policy=_POLICIES[kind])
