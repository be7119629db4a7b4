"""Unpacking against the standard library: whole streams whole, and nothing that a bit is off in."""

import gzip
import zlib

import numpy as np
import pytest

from rubik_jax.data.formats import packed

CONTENT = np.cumsum(np.random.default_rng(0).integers(-3, 4, 200_000)).astype(np.int16).tobytes()
GZIP, ZLIB = gzip.compress(CONTENT), zlib.compress(CONTENT)


@pytest.fixture
def unpacked(tmp_path):
    def unpacked(data):
        path = tmp_path / "data"
        path.write_bytes(data)
        with path.open("rb") as file:
            return b"".join(packed.blocks(file))

    return unpacked


@pytest.mark.parametrize(
    "data",
    [
        GZIP,
        ZLIB,
        gzip.compress(CONTENT[:99]) + gzip.compress(b"") + gzip.compress(CONTENT[99:]),
        GZIP + bytes(70_000),
    ],
    ids=["gzip", "zlib", "several", "padded"],
)
def test_gives_all_that_is_packed_in_one_stream_or_several(unpacked, data):
    assert unpacked(data) == CONTENT


@pytest.mark.parametrize("data", [GZIP, ZLIB, GZIP + GZIP], ids=["gzip", "zlib", "two"])
@pytest.mark.parametrize("missing", [1, 4, 8, 9, 1000])
def test_refuses_what_is_cut_short(unpacked, data, missing):
    with pytest.raises(EOFError):
        unpacked(data[:-missing])


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_no_flipped_bit_gives_other_content(unpacked, compress):
    data = compress(CONTENT[:2000])
    refused = 0
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        try:
            assert unpacked(bytes(flipped)) == CONTENT[:2000]
        except (packed.Damaged, EOFError):
            refused += 1
    assert refused > len(data) - 12  # some bits say nothing, as those of the date


def test_refuses_what_follows_and_is_not_packed(unpacked):
    with pytest.raises(packed.Damaged):
        unpacked(GZIP + b"something else")
