"""MurmurHash3_x64_128: contents of entries, and the ids of records of version 1. Pure.

Anybody can make two texts that it gives one number: it tells apart what one sender said, never who
said it. Equal to ClickHouse's `murmurHash3_128` (its 16 bytes are h1, h2 little-endian). Written for
numba, since no packaged hash does a column of Arrow strings at 0.1 µs a value (docs/decisions/0003).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit, types

from contracts.entries.ids import prefixes
from contracts.entries.kernel_types import BOOL, BYTES, INT32, INT64, kernel

_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
M1 = np.uint64(0xFF51AFD7ED558CCD)
M2 = np.uint64(0xC4CEB9FE1A85EC53)
_U5, _U1 = np.uint64(5), np.uint64(1)
_N1, _N2 = np.uint64(0x52DCE729), np.uint64(0x38495AB5)
_S33 = np.uint64(33)


@njit(inline="always")
def _rotl(x, r):
    return (x << np.uint64(r)) | (x >> np.uint64(64 - r))


@njit(inline="always")
def fmix(k):
    k ^= k >> _S33
    k *= M1
    k ^= k >> _S33
    k *= M2
    k ^= k >> _S33
    return k


@njit(inline="always")
def _word(data, at, count):
    """`count` (1…8) bytes from `at` as a little-endian UInt64."""
    value = np.uint64(0)
    for i in range(count):
        value |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return value


@njit(nogil=True, cache=True)
def murmur128(data, start, length, seed):
    """(h1, h2) of data[start:start+length]; `data` is uint8[:]."""
    h1 = np.uint64(seed)
    h2 = np.uint64(seed)
    blocks = length // 16
    for b in range(blocks):
        at = start + b * 16
        k1 = _word(data, at, 8)
        k2 = _word(data, at + 8, 8)
        k1 = _rotl(k1 * _C1, 31) * _C2
        h1 ^= k1
        h1 = (_rotl(h1, 27) + h2) * _U5 + _N1
        k2 = _rotl(k2 * _C2, 33) * _C1
        h2 ^= k2
        h2 = (_rotl(h2, 31) + h1) * _U5 + _N2
    tail = start + blocks * 16
    rest = length - blocks * 16
    if rest > 8:
        k2 = _word(data, tail + 8, rest - 8)
        h2 ^= _rotl(k2 * _C2, 33) * _C1
    if rest > 0:
        k1 = _word(data, tail, min(rest, 8))
        h1 ^= _rotl(k1 * _C1, 31) * _C2
    h1 ^= np.uint64(length)
    h2 ^= np.uint64(length)
    h1 += h2
    h2 += h1
    h1 = fmix(h1)
    h2 = fmix(h2)
    h1 += h2
    h2 += h1
    return h1, h2


@kernel(types.void(BYTES, INT64, INT32, BYTES, INT64, INT32, BOOL, types.uint64[:, ::1]))
def _prefixed(prefix, prefix_bounds, codes, data, start, size, good, out):
    scratch = np.empty(1024, dtype=np.uint8)
    last, width = -1, 0
    for i in range(len(start)):
        if not good[i]:
            continue
        if codes[i] != last:
            last = codes[i]
            begin = prefix_bounds[last]
            width = prefix_bounds[last + 1] - begin
            for k in range(width):
                scratch[k] = prefix[begin + k]
            scratch[width] = 0x1F
        for k in range(size[i]):
            scratch[width + 1 + k] = data[start[i] + k]
        out[i, 0], out[i, 1] = murmur128(scratch, 0, width + 1 + size[i], 0)


def version_1_ids(
    platform_ids: Sequence[str],
    codes: np.ndarray,
    data: np.ndarray,
    start: np.ndarray,
    size: np.ndarray,
    good: np.ndarray,
) -> np.ndarray:
    """As `ids.ids_of`, by murmurHash3_128: ids of version 1, and slots of the epochs begun with it."""
    out = np.zeros((len(codes), 2), np.uint64)
    if int(size.max(initial=0, where=good)) > 900:
        raise ValueError("an id longer than any that is accepted")
    prefix, bounds = prefixes(platform_ids)
    _prefixed(prefix, bounds, codes, data, start, size, good, out)
    return out
