"""What each row is, as numbers: its id, its merchant's key, and its content. Pure.

Content is what the sender said, normalised: equal whichever format carried it. A field's number
here is its place in the contract (contracts/entries/README.md) and never changes.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import njit, types

from services.ingest.columns import NULL, NUMBER, Columns, Text
from services.ingest.kernels import BOOL, BYTES, INT32, INT64
from yumai.ids import add_number_content, murmur128, text_buffers


@njit(
    types.void(BYTES, INT64, INT32, BYTES, INT64, INT32, BOOL, types.uint64[:, ::1]),
    nogil=True,
    cache=True,
)
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


def hashes(platform_ids: list[str], codes: np.ndarray, text: Text, good: np.ndarray) -> np.ndarray:
    """uint64[rows, 2]: murmurHash3_128(platform 0x1F text) of the good rows, else 0.

    A good row's platform and text are short (64 characters each at most).
    """
    out = np.zeros((len(codes), 2), np.uint64)
    # A refused row's platform may be of any length: it is never looked at.
    prefix, bounds = text_buffers(pa.array([p[:64] for p in platform_ids], pa.large_string()))
    _prefixed(prefix, bounds, codes, text.data, text.start, text.size, good, out)
    return out


@njit(
    types.void(types.uint64, BYTES, INT64, INT32, BOOL, types.uint64[::1]), nogil=True, cache=True
)
def _add_text(seed, data, start, size, good, out):
    for i in range(len(start)):
        if good[i] and size[i] >= 0:
            h1, _ = murmur128(data, start[i], size[i], seed)
            out[i] += h1


def content(columns: Columns, good: np.ndarray) -> np.ndarray:
    """uint64[rows]; any number where a row is not good."""
    out = np.zeros(columns.rows, np.uint64)
    for name, text in (
        ("merchant_id", columns.merchant_id),
        ("refers_to", columns.refers_to),
        ("scene_tags", columns.tags),
        ("program_id", columns.program_id),
    ):
        if (text.size > NULL).any():
            _add_text(np.uint64(NUMBER[name]), text.data, text.start, text.size, good, out)
    for name, values, null in (
        ("occurred_at", columns.occurred_ms, None),
        ("kind", columns.kind, None),
        ("amount_fen", columns.amount_fen, None),
        ("district_code", columns.district, columns.district < 0),
        ("mcc", columns.mcc, columns.mcc < 0),
        ("channel", columns.channel, columns.channel < 0),
        ("subsidy_fen", columns.subsidy_fen, columns.subsidy_null),
    ):
        add_number_content(
            out, NUMBER[name], pa.array(values.astype(np.int64, copy=False), mask=null)
        )
    return out
