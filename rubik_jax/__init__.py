"""Self-supervised pre-training of 3D networks by Rubik's cube recovery, in JAX."""

__version__ = "0.1.0"
