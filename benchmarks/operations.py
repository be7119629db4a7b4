"""Counts a network's operations from its layers, in whatever form the layers are computed."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jax import lax

from rubik_jax.models.layers import CUBES


def forward(function: Callable, *arguments: Any) -> list[int]:
    """The FLOPs of each convolution and each dense layer that a function applies, in order.

    A multiplication and an addition count as two, also where padding makes them needless. Nothing
    is computed.

    Args:
        function: applies Flax modules.
        arguments: of the function, arrays or their shapes.
    """
    counts = []

    def count(call, args, kwargs, context):
        answer = call(*args, **kwargs)
        module = context.module
        if context.method_name == "__call__" and module.has_variable("params", "kernel"):
            kernel = module.get_variable("params", "kernel")
            # Each output is a sum over the kernel's inputs, whatever the strides.
            inputs = math.prod(kernel.shape[:-1])
            counts.append(2 * inputs * answer.size * _cubes())
        return answer

    with nn.intercept_methods(count):
        jax.eval_shape(function, *arguments)
    return counts


def training(counts: list[int]) -> int:
    """The FLOPs of a step: each layer forward, and as much for its weights and for its inputs.

    The first layer's inputs are data, whose gradient nobody asks for.
    """
    return 3 * sum(counts) - counts[0]


def _cubes() -> int:
    """Over how many cubes the branch is mapped in which a layer finds itself; 1 outside."""
    try:
        return lax.psum(1, CUBES)
    except NameError:
        return 1
