"""A case in small: its planes as pictures that take little room, its mask as outlines on them."""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from rubik_jax.report.drawing import PLANES, Colour, Tile, image

SIDE = 112  # pixels of the longest side of a case; larger ones would make the page large
QUALITY = 80  # of JPEG, which takes half of what PNG does here
FINE = 2  # pixels of an outline's picture per pixel of the page, for dense screens


def tiles(
    volume: np.ndarray,
    labels: np.ndarray | None,
    spacing: Sequence[float],
    colours: Mapping[int, Colour],
    channels: Sequence[str],
) -> Iterator[Tile]:
    """Three planes of the first channel, the axial one of the others, all at one scale.

    Args:
        volume: [x, y, z, c] in [0, 1], RAS+; memory-mapped or not, of which the planes are read.
        labels: [x, y, z], none below 0, or None.
        spacing: mm between voxels along x, y, z.
        colours: of each label but 0.
        channels: what they are called.
    """
    at = middle(labels, volume.shape)
    extent = np.multiply(volume.shape[:3], spacing)
    size = SIDE * extent / extent.max()
    for across, (title, axes) in enumerate(PLANES.items()):
        pixels = tuple(size[list(axes)].tolist())
        cut = (*(slice(None),) * across, at[across])
        rims = ""
        if labels is not None:
            rims = _rims(labels[cut], pixels, colours)
        for channel in range(volume.shape[3] if title == "axial" else 1):
            plane = volume[..., channel][cut].astype(np.float32)
            grey = Image.fromarray(thumbnail(plane, pixels).T)
            picture = image(_bytes(grey, "JPEG", quality=QUALITY), "jpeg", pixels)
            yield Tile(channels[channel] if channel else title, axes, pixels, picture + rims)


def thumbnail(plane: np.ndarray, size: Sequence[float]) -> np.ndarray:
    """A plane [u, v] in [0, 1] as bytes, with at most as many as pixels along each side."""
    grey = Image.fromarray(np.round(255 * np.clip(plane, 0, 1)).astype(np.uint8))
    fewer = [min(n, max(1, round(pixels))) for n, pixels in zip(plane.shape, size, strict=True)]
    return np.asarray(grey.resize(fewer[::-1], Image.Resampling.BOX))


def outlines(labels: np.ndarray, size: Sequence[float]) -> np.ndarray:
    """The rims of labels [u, v], two pixels wide, in a picture of that size; 0 elsewhere."""
    fine = labels
    for axis, pixels in enumerate(size):
        # Where several voxels fall on a pixel the largest label counts, so that none is lost.
        count, wanted = labels.shape[axis], max(1, round(pixels))
        starts = np.arange(wanted) * count // wanted
        fine = np.maximum.reduceat(fine, starts, axis=axis)
    around = np.pad(fine, 2)
    u, v = fine.shape
    rim = np.zeros(fine.shape, bool)
    for shift in (0, 1, 3, 4):
        rim |= around[shift : shift + u, 2:-2] != fine
        rim |= around[2:-2, shift : shift + v] != fine
    return np.where(rim, fine, 0)


def middle(labels: np.ndarray | None, shape: Sequence[int]) -> tuple[int, ...]:
    """The planes across x, y, z where the mask is largest, or those in the middle."""
    if labels is None or not labels.any():
        return tuple(n // 2 for n in shape[:3])
    inside = labels > 0
    flat = inside.sum(axis=2, dtype=np.int32)
    counts = (flat.sum(axis=1), flat.sum(axis=0), inside.sum(axis=(0, 1)))
    return tuple(int(count.argmax()) for count in counts)


def _rims(labels: np.ndarray, size: tuple[float, float], colours: Mapping[int, Colour]) -> str:
    """The outlines of a plane's labels, as an SVG element."""
    rims = outlines(labels, [FINE * pixels for pixels in size])
    if not rims.any():
        return ""
    palette = [None, *dict.fromkeys(colours.values())]
    numbers = np.zeros(max(colours) + 1, np.uint8)
    for value, colour in colours.items():
        numbers[value] = palette.index(colour)
    drawn = Image.fromarray(numbers[rims].T)
    drawn.putpalette(bytes(3) + b"".join(bytes.fromhex(of.code[1:]) for of in palette[1:]))
    return image(_bytes(drawn, "PNG", transparency=0), "png", size)


def _bytes(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, optimize=True, **options)
    return out.getvalue()
