"""Clips of videos: which pictures they are of, which way up, and what is said of damaged files."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from rubik_jax.data import volumes
from rubik_jax.data.clips import encode
from rubik_jax.data.formats import Clip, open_scan
from rubik_jax.data.formats.video import places
from rubik_jax.errors import UserError


def pictures(count, height=48, width=64):
    """Each darker to the left, redder to the top, and in blue brighter than the one before."""
    found = np.zeros((count, height, width, 3), np.uint8)
    found[..., 0] = np.linspace(220, 20, height)[:, None]
    found[..., 1] = np.linspace(20, 220, width)
    found[..., 2] = np.linspace(20, 220, count)[:, None, None]
    return found


def write(folder, content: bytes):
    file = folder / "v.avi"
    file.write_bytes(content)
    return file


def read(file, frames=16, side=32):
    return volumes.read([file], channels=3, clip=Clip(frames, side)).array


@pytest.mark.parametrize("rate", [25, Fraction(30000, 1001)])
@pytest.mark.parametrize("count", [1, 5, 16, 41, 180])
def test_pictures_lie_evenly_over_the_whole_and_keep_their_way_up(tmp_path, count, rate):
    shown = pictures(count)
    array = read(write(tmp_path, encode(shown, rate)))
    assert array.shape == (32, 32, 16, 3) and array.dtype == np.uint8
    # The middles of sixteen equal spans of time, and of each picture its middle square.
    middles = [int(count * (2 * i + 1) / 32) for i in range(16)]
    expected = shown[middles][:, :, 8:56].mean((1, 2))
    np.testing.assert_allclose(array.mean((0, 1)), expected, atol=5)
    red, green = array[..., 0].mean((0, 2)), array[..., 1].mean((1, 2))
    assert (np.diff(red) < 0).mean() > 0.9 and (np.diff(green) > 0).mean() > 0.9
    np.testing.assert_allclose(green[[0, -1]], shown[0, 0, [8, 55], 1], atol=9)


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (33, 32), (20, 90)])
def test_the_shorter_side_is_scaled_and_the_middle_kept(tmp_path, size):
    shown = pictures(8, *size)
    array = read(write(tmp_path, encode(shown, 25)), frames=4, side=24)
    assert array.shape == (24, 24, 4, 3)
    np.testing.assert_allclose(array[..., :2].mean((0, 1, 2)), 120, atol=8)


@pytest.mark.parametrize("claimed", [0, 3, 42])
def test_what_the_header_counts_is_not_what_is_taken(tmp_path, claimed):
    content = bytearray(encode(pictures(40), 25))
    length = content.index(b"strh") + 8 + 32
    assert int.from_bytes(content[length : length + 4], "little") == 40
    sound = read(write(tmp_path, bytes(content)))
    content[length : length + 4] = claimed.to_bytes(4, "little")
    np.testing.assert_array_equal(read(write(tmp_path, bytes(content))), sound)


@pytest.mark.parametrize("frames", [1, 2, 7, 16])
@pytest.mark.parametrize("count", [1, 3, 16, 29, 1776])
def test_places_are_in_order_and_symmetrical(count, frames):
    found = places(count, frames)
    assert len(found) == frames and found.min() >= 0 and found.max() < count
    assert (np.diff(found) >= (frames <= count)).all()
    assert np.abs(np.diff(found) - count / frames).max(initial=0) < 1


def tone() -> bytes:
    """An AVI file that holds a sound alone."""
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    return file.getvalue()


def _garbled(content):
    noise = np.random.default_rng(0).bytes(len(content) // 2)
    return content[: len(content) // 4] + noise + content[-len(content) // 4 :]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda content: content[: len(content) * 2 // 3], "cut short: .* of the 40 pictures"),
        (_garbled, "cut short"),
        (lambda content: content[:200], "damaged or cut short"),
        (lambda content: content[: content.index(b"movi") + 4], "no picture|cut short"),
        (lambda content: b"", "is an empty file"),
        (lambda content: b"no video" * 99, "damaged or cut short: Invalid data"),
        (lambda content: tone(), "no stream of pictures"),
    ],
)
def test_a_damaged_video_is_one_sentence_and_nothing_else(tmp_path, capfd, spoil, said):
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), np.uint8)
    file = write(tmp_path, spoil(encode(noise, 25)))
    with pytest.raises(UserError, match=said) as refused:
        read(file)
    assert str(file) in str(refused.value) and "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_a_video_is_no_volume_where_no_clip_is_asked_for(tmp_path):
    file = write(tmp_path, encode(pictures(3), 25))
    with pytest.raises(UserError, match="is a video: expected a volume"):
        open_scan(file)
