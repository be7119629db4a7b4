"""Self-supervised pre-training of 3D networks by Rubik's cube recovery, in JAX.

`load_encoder(run_dir)` gives the pre-trained encoder of a run; `proxy`, `models`, `losses` and
`metrics` are usable alone.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

__all__ = ["__version__", "load_encoder", "losses", "metrics", "models", "proxy"]


def __getattr__(name: str) -> Any:
    """Imports what is asked for when it's asked for (PEP 562): the readers of data need no jax."""
    if name == "load_encoder":
        return importlib.import_module("rubik_jax.export").load_encoder
    if name in __all__:
        return importlib.import_module(f"rubik_jax.{name}")
    raise AttributeError(f"module 'rubik_jax' has no attribute {name!r}")
