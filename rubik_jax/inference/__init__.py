"""Sliding windows: what a network answers for a whole volume, of any size, window by window."""

from rubik_jax.inference.forward import Forward, respond_to
from rubik_jax.inference.tiling import Size, check, gaussian, starts
from rubik_jax.inference.windows import classify, sliding

__all__ = [
    "Forward",
    "Size",
    "check",
    "classify",
    "gaussian",
    "respond_to",
    "sliding",
    "starts",
]
