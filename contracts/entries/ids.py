"""An entry's id: the first 16 bytes of SHA-256 over platform 0x1F entry_id. Pure.

Nobody can make an entry that has a given id, nor two that share one. The same function over
`merchant_id` gives a merchant's key; the ledger carries its first 8 bytes. ClickHouse:
`substring(SHA256(concat(platform_id, '\\x1f', entry_id)), 1, 16)`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from contracts.entries import sha256

PLATFORM_MAX_BYTES = 64


def id_of(platform_id: str, name: str) -> bytes:
    """One id: of an entry, or of a merchant."""
    return hashlib.sha256(f"{platform_id}\x1f{name}".encode()).digest()[:16]


def ids_of(
    platform_ids: Sequence[str],
    codes: np.ndarray,
    data: np.ndarray,
    start: np.ndarray,
    size: np.ndarray,
    good: np.ndarray,
) -> np.ndarray:
    """uint64[n, 2]: the ids of the good rows as little-endian words, else 0.

    Row i is the platform platform_ids[codes[i]] and the text data[start[i]:start[i] + size[i]].
    Raises ValueError where a good row's text is longer than any id that is accepted.
    """
    out = np.zeros((len(codes), 2), np.uint64)
    longest = int(size.max(initial=0, where=good))
    if longest + PLATFORM_MAX_BYTES + 1 > sha256.TEXT_MAX_BYTES:
        raise ValueError(f"an id of {longest} bytes")
    prefix, bounds = prefixes(platform_ids)
    sha256.digests(prefix, bounds, codes, data, start, size, good, out)
    return out


def prefixes(platform_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(bytes, bounds) of the platforms. That of a refused row may be of any length: it is cut."""
    cut = [platform.encode()[:PLATFORM_MAX_BYTES] for platform in platform_ids]
    return text_buffers(pa.array(cut, pa.large_binary()))


def text_buffers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 data, int64 offsets) of a large_binary or large_string array; nulls have any bytes."""
    _, offsets, data = column.buffers()
    begin = column.offset
    if offsets is None or len(column) == 0:
        return np.zeros(1, np.uint8), np.zeros(len(column) + 1, np.int64)
    numbers = np.frombuffer(offsets, dtype=np.int64)[begin : begin + len(column) + 1]
    body = (
        np.frombuffer(data, dtype=np.uint8)
        if data is not None and data.size
        else np.zeros(1, np.uint8)
    )
    return body, numbers
