"""Decompresses files that a server has compressed (`Content-Encoding`) although it was not asked to, in bounded pieces:
a decompression bomb is never held in memory."""

import zlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator

import brotli

from safelight.domain.errors.base import RemoteFileRefused

PIECE_BYTES = 256 * 1024  # decompressed at once
LAYERS_MAX = 3

_GZIP_SIGN = b"\x1f"
_DEFLATE_RAW, _DEFLATE_ZLIB, _GZIP = -zlib.MAX_WBITS, zlib.MAX_WBITS, 16 + zlib.MAX_WBITS
_BROKEN = (zlib.error, brotli.error)


async def unpacked(chunks: AsyncIterable[bytes], encoding: str) -> AsyncIterator[bytes]:
    """The decompressed bytes. Raises RemoteFileRefused if the encoding is unknown, or the data is damaged."""
    for name in reversed(_names(encoding)):
        chunks = _unpacked(chunks, name)
    async for chunk in chunks:
        yield chunk


def _names(encoding: str) -> list[str]:
    names = [name for one in encoding.lower().split(",") if (name := one.strip()) not in ("", "identity")]
    unknown = [name for name in names if name not in _UNPACKERS]
    if unknown or len(names) > LAYERS_MAX:
        raise RemoteFileRefused(f"The file is packed as {encoding[:60]!r}; {', '.join(_UNPACKERS)} can be unpacked.")
    return names


async def _unpacked(chunks: AsyncIterable[bytes], name: str) -> AsyncIterator[bytes]:
    unpacker: Unpacker | None = None
    try:
        async for chunk in chunks:
            if unpacker is None and chunk:
                unpacker = _UNPACKERS[name](chunk)
            for piece in unpacker.feed(chunk) if unpacker else ():
                yield piece
    except _BROKEN as error:
        raise RemoteFileRefused(f"The file is packed as {name} and cannot be unpacked: {error}.") from error
    if unpacker is not None and not unpacker.is_whole:
        raise RemoteFileRefused(f"The file is packed as {name} and ends too early.")


class _AsItIs:
    """Passes bytes on, for a server that declares a compression and does not apply it."""

    is_whole = True

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk


class _Zlib:
    """gzip with any number of members, and deflate."""

    def __init__(self, window_bits: int) -> None:
        self._window_bits = window_bits
        self._member = zlib.decompressobj(window_bits)

    @property
    def is_whole(self) -> bool:
        return self._member.eof

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            if self._member.eof:
                if self._window_bits != _GZIP or not chunk.startswith(_GZIP_SIGN):
                    return  # padding after the end
                self._member = zlib.decompressobj(self._window_bits)
            yield self._member.decompress(chunk, PIECE_BYTES)
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail


class _Brotli:
    def __init__(self) -> None:
        self._inner = brotli.Decompressor()

    @property
    def is_whole(self) -> bool:
        return bool(self._inner.is_finished())

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        if self._inner.is_finished():
            return
        piece = self._inner.process(chunk, output_buffer_limit=PIECE_BYTES)
        while piece or not self._inner.can_accept_more_data():
            yield piece
            piece = self._inner.process(b"", output_buffer_limit=PIECE_BYTES)


Unpacker = _AsItIs | _Zlib | _Brotli  # `is_whole` at the end of the compressed data


def _gzip(beginning: bytes) -> Unpacker:
    return _Zlib(_GZIP) if beginning[:1] == _GZIP_SIGN else _AsItIs()


def _deflate(beginning: bytes) -> Unpacker:
    """deflate with the header of zlib, as the standard says, or without it, as some servers send it."""
    has_head = beginning[0] & 0x0F == 8 and (len(beginning) < 2 or int.from_bytes(beginning[:2], "big") % 31 == 0)
    return _Zlib(_DEFLATE_ZLIB if has_head else _DEFLATE_RAW)


_UNPACKERS: dict[str, Callable[[bytes], Unpacker]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": lambda _: _Brotli(),
}
