"""What downstream jobs take from a run: its encoder as a Flax module, and the parameters."""

from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from rubik_jax import checkpoints
from rubik_jax.errors import UserError
from rubik_jax.models import make_encoder


class Encoder(NamedTuple):
    """An encoder with its weights; unpacks into the module and the variables.

    `module.apply(variables, x, False)` takes [b, x, y, z, c], intensities scaled as in training,
    each cube and channel to [-1, 1] (`proxy.normalise`), and returns the features of every stage,
    the deepest last.
    """

    module: nn.Module
    variables: dict[str, PyTree]


def load_encoder(run_dir: str | Path, *, kind: str | None = None) -> Encoder:
    """Loads a run's encoder, from its best checkpoint where there is one.

    Args:
        run_dir: the run's folder (`--workdir`).
        kind: "best" or "latest", to insist on one.

    Returns:
        The Flax module, and variables with "params" and, with batch normalisation, "batch_stats".

    Raises:
        UserError: no such checkpoint, or one without an encoder.
    """
    checkpoint = checkpoints.find(Path(run_dir), kind)
    module = make_encoder(**checkpoints.describe(checkpoint)["config"]["model"]["encoder"])
    saved = checkpoints.read(checkpoint)
    variables = {
        name: jax.tree.map(jnp.asarray, saved[name]["encoder"])
        for name in ("params", "batch_stats")
        if "encoder" in (saved.get(name) or {})
    }
    if "params" not in variables:
        raise UserError(f"checkpoint {checkpoint} holds no encoder; expected params/encoder")
    return Encoder(module, variables)
