"""`Content-Encoding`: gzip and zstd, never past the limit. Pure."""

from __future__ import annotations

import sys
import zlib

from services.ingest.formats.refused import BodyRefused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BODY_MAX_BYTES = 64 * 1024 * 1024
ENCODINGS = ("", "identity", "gzip", "x-gzip", "zstd")


def decompress(encoding: str, body: bytes) -> bytes:
    """Several members or frames are one body. Raises BodyRefused: damaged, truncated, too large."""
    if encoding in ("", "identity") or not body:
        return body
    return _inflate(encoding, body)


def _inflate(encoding: str, body: bytes) -> bytes:
    out = bytearray()
    try:
        while body:
            if encoding == "zstd":
                frame = zstd.ZstdDecompressor()
                out += frame.decompress(body, BODY_MAX_BYTES + 1 - len(out))
                ended, body = frame.eof, frame.unused_data
            else:
                member = zlib.decompressobj(31)
                out += member.decompress(body, BODY_MAX_BYTES + 1 - len(out))
                ended, body = member.eof, member.unused_data
            if len(out) > BODY_MAX_BYTES:
                raise BodyRefused("too_large", None, "more than 64 MiB after decompression")
            if not ended:
                raise BodyRefused("body_undecodable", None, f"the {encoding} body is cut off")
    except (zlib.error, zstd.ZstdError, EOFError, ValueError) as error:
        raise BodyRefused("body_undecodable", None, f"not {encoding}: {error}") from error
    return bytes(out)
