"""A network that answers windows on all devices."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree, Shaped


class Forward(NamedTuple):
    """A network on all devices, as `parallel.mapped_response` makes it.

    What is on the devices has a first axis of them, d.

    Attributes:
        answer: (windows [d, b, x, y, z, c], flip) -> probabilities [d, b, x, y, z, k], or
            [d, b, k] of whole windows; `flip` as of `respond_to`, for all devices.
        mapped: as `parallel.mapped`.
        sharding: of an array whose rows are the devices'.
    """

    answer: Callable[..., Array]
    mapped: Callable[..., Callable[..., Any]]
    sharding: jax.sharding.Sharding

    @property
    def devices(self) -> int:
        """Their number, d."""
        return self.sharding.num_devices

    def share(self, array: Shaped[np.ndarray, "n ..."]) -> Shaped[Array, "d b ..."]:
        """Puts an equal share of the rows on each device, without waiting for it."""
        return jax.device_put(array.reshape(self.devices, -1, *array.shape[1:]), self.sharding)

    def __call__(self, windows: Shaped[np.ndarray, "n ..."]) -> Float[np.ndarray, "n ..."]:
        """The answers to windows of the host, any number of them."""
        lack = -len(windows) % self.devices
        full = np.concatenate([windows, np.repeat(windows[-1:], lack, axis=0)])
        return rows(self.answer(self.share(full), None))[: len(windows)]


def rows(shared: Shaped[Array, "d b ..."]) -> Shaped[np.ndarray, "n ..."]:
    """All rows, on the host."""
    return np.asarray(shared).reshape(-1, *shared.shape[2:])


def respond_to(
    respond: Callable[..., Array],
    variables: PyTree,
    windows: Shaped[Array, "b ..."],
    flip: Bool[Array, "3"] | None,
) -> Float[Array, "b ..."]:
    """What a network answers to windows, on one device.

    Args:
        respond: (variables, windows float32) -> answers, per voxel or of whole windows.
        variables: of the network.
        windows: in any dtype, as volumes are stored; the way here is narrower than this device.
        flip: along which axes it sees them mirrored; answers per voxel are mirrored back. Traced,
            so that one program does for all axes; None does without.
    """
    x = windows.astype(jnp.float32)
    if flip is None:
        return respond(variables, x)
    answer = respond(variables, _flipped(x, flip))
    return _flipped(answer, flip) if answer.ndim == x.ndim else answer


def _flipped(x: Float[Array, "b x y z _"], flip: Bool[Array, "3"]) -> Float[Array, "b x y z _"]:
    for axis in range(3):
        x = jnp.where(flip[axis], jnp.flip(x, axis + 1), x)
    return x
