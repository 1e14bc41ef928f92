"""`Content-Encoding`: gzip and zstd, never past the limits, in time that grows with the body. Pure."""

from __future__ import annotations

import sys
import zlib

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


def decompress(encoding: str, body: bytes) -> bytes:
    """Several members or frames are one body. Raises BodyRefused: damaged, truncated, too large."""
    if encoding in ("", "identity") or not body:
        return body
    try:
        return _inflate(encoding, memoryview(body))
    except (zlib.error, zstd.ZstdError, EOFError, ValueError) as error:
        raise BodyRefused("body_undecodable", None, f"not {encoding}: {error}") from error


def _inflate(encoding: str, body: memoryview) -> bytes:
    out = bytearray()
    at = members = 0
    while at < len(body):
        members += 1
        if members > MEMBERS_MAX:
            raise BodyRefused("too_large", None, f"more than {MEMBERS_MAX:,} {encoding} members")
        member = zstd.ZstdDecompressor() if encoding == "zstd" else zlib.decompressobj(31)
        while not member.eof:
            if at >= len(body):
                raise BodyRefused("body_undecodable", None, f"the {encoding} body is cut off")
            piece = body[at : at + _PIECE]
            out += member.decompress(piece, BODY_MAX_BYTES + 1 - len(out))
            if len(out) > BODY_MAX_BYTES:
                raise BodyRefused("too_large", None, "more than 64 MiB after decompression")
            at += len(piece) - len(member.unused_data)
    return bytes(out)
