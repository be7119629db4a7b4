"""The planes through the middle of small volumes, in grey, for the pictures of a page."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from rubik_jax.report.drawing import GAP, PLANES, Tile, image

WIDTH, HEIGHT = 800, 120  # pixels, at most: of a row, and of the highest plane in it


def fitted(shape: tuple[int, int, int], volumes: int) -> float:
    """Pixels per voxel with which the planes of that many volumes of a shape fit into a row."""
    sizes = np.array([[shape[axis] for axis in axes] for axes in PLANES.values()])
    gaps = (volumes * len(sizes) - 1) * GAP
    return float(min((WIDTH - gaps) / (volumes * sizes[:, 0].sum()), HEIGHT / sizes[:, 1].max()))


def middle(
    volume: np.ndarray, title: str, scale: float, limits: tuple[float, float]
) -> Iterator[Tile]:
    """The sagittal, the coronal and the axial plane of a volume [x, y, z].

    Args:
        volume: intensities.
        title: stands above each.
        scale: pixels per voxel.
        limits: the intensities that are drawn black and white.
    """
    low, high = limits
    shades = (np.clip((volume - low) / max(high - low, 1e-6), 0, 1) * 255).round().astype(np.uint8)
    for axis, axes in enumerate(PLANES.values()):
        plane = shades.take(shades.shape[axis] // 2, axis)
        size = scale * plane.shape[0], scale * plane.shape[1]
        out = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(plane.T)).save(out, "PNG", optimize=True)
        content = image(out.getvalue(), "png", size, "image-rendering:pixelated")
        yield Tile(title, axes, size, content)
