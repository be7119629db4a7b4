"""What the tests of the two supervised tasks are made of."""

import jax
import jax.numpy as jnp
import numpy as np

STILL = {
    "flip": (False, False, False),
    "affine": 0.0,
    "rotate": 0.0,
    "scale": 0.0,
    "shift": 0.0,
    "intensity": 0.0,
    "gain": 0.0,
    "offset": 0.0,
    "gamma": 0.0,
    "blur": 0.0,
    "noise": 0.0,
}
ENCODER = {
    "name": "vgg",
    "widths": [4, 4],
    "convs": [1, 1],
    "strides": [[1, 1, 1], [2, 2, 1]],
    "norm": "none",
    "dtype": "float32",
    "remat": "none",
}


def compiled(task):
    """The task as one program for each of its functions, not one for each operation in them."""
    whole = ("loss", "evaluate", "respond")
    return task._replace(**{name: jax.jit(getattr(task, name)) for name in whole})


def variables(task):
    """Variables of the shapes that the task's `init` makes, without compiling it."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.float32(0.3 * rng.normal(size=leaf.shape)), shapes)


def keys(count: int):
    return jax.random.split(jax.random.key(0), count)
