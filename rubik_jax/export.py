"""What downstream jobs take from a run: its encoder as a Flax module, and the parameters."""

from pathlib import Path
from typing import Any, NamedTuple

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


class Source(NamedTuple):
    """A run that another starts from.

    Attributes:
        checkpoint: the folder of its best checkpoint, or its latest.
        variables: "params" and, with batch normalisation, "batch_stats", as NumPy arrays.
        description: what the checkpoint says of itself: config, split, orders, step.
    """

    checkpoint: Path
    variables: dict[str, PyTree]
    description: dict[str, Any]


def load_source(run_dir: str | Path, *, kind: str | None = None) -> Source:
    """Reads the weights of a run, from its best checkpoint where there is one.

    Args:
        run_dir: the run's folder (`--workdir`).
        kind: "best" or "latest", to insist on one.

    Raises:
        UserError: no such checkpoint, one that can't be read whole, or one without parameters.
    """
    checkpoint = checkpoints.find(Path(run_dir), kind)
    description = checkpoints.describe(checkpoint)
    saved = checkpoints.read(checkpoint)
    if not jax.tree.leaves(saved.get("params")):
        raise UserError(f"checkpoint {checkpoint} holds no parameters; expected those of a network")
    names = ("params", "batch_stats")
    return Source(checkpoint, {n: saved[n] for n in names if saved.get(n)}, description)


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
    source = load_source(run_dir, kind=kind)
    module = make_encoder(**source.description["config"]["model"]["encoder"])
    variables = {
        name: jax.tree.map(jnp.asarray, tree["encoder"])
        for name, tree in source.variables.items()
        if "encoder" in tree
    }
    if "params" not in variables:
        raise UserError(f"checkpoint {source.checkpoint} holds no encoder; expected params/encoder")
    return Encoder(module, variables)
