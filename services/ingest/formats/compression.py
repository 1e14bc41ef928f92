"""`Content-Encoding`: gzip and zstd, never past the limits, in time that grows with the body. Pure."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator

from services.ingest.refused import BodyRefused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BODY_MAX_BYTES = 64 * 1024 * 1024
MEMBERS_MAX = 16_384
"""Members or frames of one body. 64 MiB in blocks of 64 KiB, as bgzip makes them, are a thousand."""
ENCODINGS = ("", "identity", "gzip", "x-gzip", "zstd")
_PIECE = 64 * 1024
"""Packed bytes given to a decoder at once: what it leaves over is copied, and never more than this."""
_UNPACKED = 1024 * 1024
"""Unpacked bytes taken from it at once: they are copied with the interpreter held, while others wait."""


def decompress(encoding: str, body: bytes) -> bytes:
    """Several members or frames are one body. Raises BodyRefused: damaged, truncated, too large."""
    if encoding in ("", "identity") or not body:
        return body
    try:
        return _inflate(encoding, memoryview(body))
    except (zlib.error, zstd.ZstdError, EOFError, ValueError) as error:
        raise BodyRefused("body_undecodable", None, f"not {encoding}: {error}") from error


def _inflate(encoding: str, body: memoryview) -> bytes:
    unpack = _unzstd if encoding == "zstd" else _gunzip
    out: list[bytes] = []
    at = members = size = 0
    while at < len(body):
        members += 1
        if members > MEMBERS_MAX:
            raise BodyRefused("too_large", None, f"more than {MEMBERS_MAX:,} {encoding} members")
        for used, piece in unpack(body[at:]):
            at += used
            size += len(piece)
            if size > BODY_MAX_BYTES:
                raise BodyRefused("too_large", None, "more than 64 MiB after decompression")
            if piece:
                out.append(piece)
    return b"".join(out)


def _gunzip(body: memoryview) -> Iterator[tuple[int, bytes]]:
    """(packed bytes used, what they become), again and again until the first member ends."""
    member = zlib.decompressobj(31)
    at = 0
    while not member.eof:
        given = body[at : at + _PIECE]
        made = member.decompress(given, _UNPACKED)
        if not given and not made and not member.eof:
            raise _cut_off("gzip")
        used = len(given) - len(member.unused_data if member.eof else member.unconsumed_tail)
        at += used
        yield used, made


def _unzstd(body: memoryview) -> Iterator[tuple[int, bytes]]:
    """As `_gunzip`; of a frame that is not over, what the decoder keeps is used."""
    frame = zstd.ZstdDecompressor()
    at = 0
    while not frame.eof:
        given = body[at : at + _PIECE] if frame.needs_input else body[:0]
        if frame.needs_input and not given:
            raise _cut_off("zstd")
        made = frame.decompress(given, _UNPACKED)
        used = len(given) - len(frame.unused_data)
        at += used
        yield used, made


def _cut_off(encoding: str) -> BodyRefused:
    return BodyRefused("body_undecodable", None, f"the {encoding} body is cut off")
