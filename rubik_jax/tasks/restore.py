"""Pre-training by restoration: a window is distorted as in Models Genesis, and to be given back."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rubik_jax import proxy
from rubik_jax.errors import ArgumentError, members_of
from rubik_jax.tasks import network
from rubik_jax.tasks.restoring import Change, restoring
from rubik_jax.types import Task


def restore(
    *,
    channels: int,
    window: tuple[int, int, int],
    proxy_options: dict[str, Any],
    model: dict[str, Any],
    augmentation: dict[str, Any],
) -> Task:
    """Builds the task (Zhou et al., Models Genesis, MICCAI 2019).

    The loss is the squared error of all voxels. It stands beside that of handing on what was
    given, and that of the window's mean, by which a network gets far that restores nothing; the
    number that counts is the share that it explains of the smaller of them. What is given and what
    is wanted are each scaled by their own intensities.

    Args:
        channels: modalities of a volume.
        window: the voxels along x, y, z that a step takes of a volume.
        proxy_options: as `config.proxy`, the members of `proxy.Distortion`.
        model: as `config.model`.
        augmentation: as `config.augment`; of the windows that are trained on.

    Raises:
        ArgumentError: a value that can't be used.
    """
    with members_of("proxy_options"):
        box = proxy.check_sides("box", proxy_options["box"], window)
        options = proxy.Distortion(**proxy_options | {"box": box})
        if not (options.nonlinear or options.shuffle or options.paint):
            raise ArgumentError.of(
                "{nonlinear}, {shuffle} and {paint} are all 0, which leaves nothing to restore; "
                "expected one above 0"
            )

    def change(key: PRNGKeyArray, volume: Float[Array, "x y z c"]) -> Change:
        distorted = proxy.distort(key, volume, options)
        wanted, given = network.scaled(jnp.stack([volume, distorted]), "cube")
        everywhere = jnp.ones(window, bool)
        guesses = {"input": given, "mean": jnp.zeros_like(wanted)}
        return Change(given, wanted, everywhere, guesses)

    return restoring(
        change=change,
        guesses={"input": "handing on what was given", "mean": "the window's mean"},
        channels=channels,
        window=window,
        model=model,
        augmentation=augmentation,
    )
