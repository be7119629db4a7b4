"""Takes clips of videos: frames evenly spaced in time, scaled and cropped to a square."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import av
import numpy as np

from rubik_jax.data.formats.scan import Clip, Scan
from rubik_jax.errors import UserError

# The share of the frames that its header promises which a sound file has; some headers count a few
# too many.
_SOUND = 0.9


def open_clip(path: Path, clip: Clip | None) -> Scan:
    """The clip of a video, uint8 [x, y, z, 3]: x along a row, y down a column, z in time.

    There are no millimetres in a video: the affine is the identity.

    Raises:
        UserError: no clip is asked for; the scan's `voxels` raises it for a file without a picture
            that can be decoded, and for one that is cut short.
    """
    if clip is None:
        raise UserError(
            f"{path} is a video: expected a volume, or config.data.source to be ucf101, clips or "
            "videos, which take clips"
        )
    shape = (clip.side, clip.side, clip.frames, 3)
    return Scan(path, "AVI", shape, np.dtype(np.uint8), np.eye(4), partial(_voxels, path, clip))


def places(count: int, frames: int) -> np.ndarray:
    """Which of `count` frames are taken: the middles of equal spans; of few some repeatedly."""
    return ((np.arange(frames) + 0.5) * count / frames).astype(int)


def picture(frame: np.ndarray) -> av.VideoFrame:
    """Of a frame [y, x, c], uint8, in grey or in colour."""
    if frame.shape[-1] == 1:
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[..., 0]), format="gray")
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")


def square(picture: av.VideoFrame, side: int) -> np.ndarray:
    """The middle of a picture, RGB [side, side, 3], the shorter side of the whole scaled to it."""
    shorter = min(picture.width, picture.height)
    width, height = (round(n * side / shorter) for n in (picture.width, picture.height))
    whole = picture.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
    top, left = (height - side) // 2, (width - side) // 2
    return whole[top : top + side, left : left + side]


def stack(squares: list[np.ndarray]) -> np.ndarray:
    """Pictures [y, x, c] as a volume [x, y, z, c]."""
    return np.stack(squares).transpose(2, 1, 0, 3)


def _voxels(path: Path, clip: Clip) -> np.ndarray:
    with _opened(path) as (file, stream):
        promised, counted = stream.frames, sum(packet.size > 0 for packet in file.demux(stream))
    taken, decoded = _take(path, clip, counted)
    if not decoded:
        raise UserError(f"{path} has no picture that can be decoded: expected a video")
    if decoded < _SOUND * promised:
        raise UserError(
            f"{path} is damaged or cut short: {decoded} of the {promised} pictures that its header "
            "promises can be decoded"
        )
    if decoded != counted:  # a packet holds no picture, or two, as some encoders pack them
        taken, _ = _take(path, clip, decoded)
    return stack(taken)


def _take(path: Path, clip: Clip, count: int) -> tuple[list[np.ndarray], int]:
    """The clip's pictures out of `count`, and how many there are; no others are kept."""
    wanted = Counter(places(count, clip.frames).tolist())
    taken, decoded = [], 0
    with _opened(path) as (file, stream):
        for decoded, picture in enumerate(file.decode(stream), 1):
            if wanted[decoded - 1]:
                taken += [square(picture, clip.side)] * wanted[decoded - 1]
    return taken, decoded


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    with av.open(str(path)) as file:
        if not file.streams.video:
            raise UserError(f"{path} has no stream of pictures: expected a video")
        stream = file.streams.video[0]
        stream.thread_type = "NONE"  # many videos are decoded at once, each by one thread
        yield file, stream
