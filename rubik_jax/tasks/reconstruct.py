"""Pre-training by masked-volume reconstruction: most of a window is blanked, and filled in."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rubik_jax import proxy
from rubik_jax.errors import members_of
from rubik_jax.tasks import network
from rubik_jax.tasks.restoring import Change, restoring
from rubik_jax.types import Task


def reconstruct(
    *,
    channels: int,
    window: tuple[int, int, int],
    proxy_options: dict[str, Any],
    model: dict[str, Any],
    augmentation: dict[str, Any],
) -> Task:
    """Builds the task, a masked autoencoder (He et al., 2022) with a convolutional network.

    The loss is the squared error of the blanked voxels alone. It stands beside that of their mean,
    which knows nothing of anatomy: the mean of the whole window is 0, and so the visible ones tell
    it. The number that counts is the share of it that the network explains.

    Args:
        channels: modalities of a volume.
        window: the voxels along x, y, z that a step takes of a volume.
        proxy_options: as `config.proxy`.
        model: as `config.model`.
        augmentation: as `config.augment`; of the windows that are trained on.

    Raises:
        ArgumentError: a value that can't be used.
    """
    block, ratio = proxy_options["block"], proxy_options["ratio"]
    with members_of("proxy_options"):
        block = proxy.check_sides("block", block, window)
        proxy.count_blocks(window, block, ratio)

    def change(key: PRNGKeyArray, volume: Float[Array, "x y z c"]) -> Change:
        wanted = network.scaled(volume[None], "cube")[0]
        blanked = proxy.random_blocks(key, window, block, ratio)
        return blank(wanted, blanked)

    return restoring(
        change=change,
        guesses={"mean": "the mean of the blanked voxels"},
        channels=channels,
        window=window,
        model=model,
        augmentation=augmentation,
    )


def blank(wanted: Float[Array, "x y z c"], blanked: Array) -> Change:
    """Puts zeros, the mean of a scaled window, where it is blanked; what was there can't be seen.

    The scaling comes first, as fine-tuning has it, and so has looked at the whole window.
    """
    given = jnp.where(blanked[..., None], 0.0, wanted)
    mean = -jnp.sum(given, axis=(0, 1, 2), keepdims=True) / jnp.sum(blanked)
    return Change(given, wanted, blanked, {"mean": jnp.broadcast_to(mean, wanted.shape)})
