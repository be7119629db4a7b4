"""The most that a device does: the FLOP/s of a large square matrix product."""

import math
import time

import jax
import jax.numpy as jnp

from rubik_jax import parallel

_ROUNDS = 5


def measure(dtype: str) -> float:
    """The best FLOP/s of matrix products on one device.

    Args:
        dtype: what is multiplied, "float32" or "bfloat16". On a GPU XLA's default for the former
            is TensorFloat-32, as in convolutions.
    """
    # An accelerator is handed several at once, beside which handing them over takes no time.
    side, count = (2048, 1) if parallel.on_cpu() else (8192, 4)
    # Scaled so that products of products stay of the size that they begin with.
    x = jax.random.normal(jax.random.key(0), (side, side), dtype) / math.sqrt(side)

    @jax.jit
    def products(x):
        y = x
        for _ in range(count):
            y = jnp.dot(y, x)
        return y

    jax.block_until_ready(products(x))
    spent = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        jax.block_until_ready(products(x))
        spent.append(time.perf_counter() - begun)
    return count * 2 * side**3 / min(spent)
