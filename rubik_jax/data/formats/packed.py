"""Unpacks gzip and zlib streams, a block at a time, and proves them whole by their checksums."""

import zlib
from collections.abc import Iterator
from typing import BinaryIO

_BLOCK = 2**16
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """What is packed from the file's position on, in one stream or several; checksums hold.

    The module `gzip` asks for the same in steps of 8 kB, which costs half as much time again.

    Raises:
        EOFError: the stream is cut short.
        zlib.error: it is damaged.
    """
    stream = zlib.decompressobj(_GZIP_OR_ZLIB)
    while packed := file.read(_BLOCK):
        while packed:
            if stream.eof:
                packed = packed.lstrip(b"\0")  # padding may follow a stream
                if not packed:
                    break
                stream = zlib.decompressobj(_GZIP_OR_ZLIB)
            yield stream.decompress(packed)
            packed = stream.unused_data
    if not stream.eof:
        raise EOFError("the compressed data end too early")


def start(file: BinaryIO, size: int) -> bytes:
    """The first bytes of what is packed, or fewer where there are fewer."""
    return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(file.read(_BLOCK), size)
