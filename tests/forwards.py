"""Networks for tests: plain functions of windows, on all devices, and what they were asked."""

import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import Array

from rubik_jax import parallel
from rubik_jax.inference import Forward


@functools.cache
def mapped(function: Callable[[Array], Array]) -> Forward:
    """A network without variables."""
    return parallel.mapped_response(lambda _, windows: function(windows), {})


def watched(forward: Forward, seen: list[np.ndarray]) -> Forward:
    """The same network, all of whose windows are kept, batch by batch, as they came."""

    def answer(windows, flip):
        seen.append(np.asarray(windows).reshape(-1, *windows.shape[2:]))
        return forward.answer(windows, flip)

    return forward._replace(answer=answer)
