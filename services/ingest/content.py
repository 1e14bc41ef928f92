"""What each row is, as numbers: its id, its merchant's key, and its content. Pure.

Content is what the sender said, normalised: equal whichever format carried it. A field's number
here is its place in the contract (contracts/entries/README.md) and never changes.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import types

from contracts.entries import ids, murmur
from contracts.entries.codec import SLOT_FUNCTION
from contracts.entries.kernel_types import BOOL, BYTES, INT32, INT64, kernel
from contracts.entries.murmur import M1, M2, fmix, murmur128
from services.ingest.columns import NULL, NUMBER, Columns, Text


def hashes(platform_ids: list[str], codes: np.ndarray, text: Text, good: np.ndarray) -> np.ndarray:
    """uint64[rows, 2]: the ids of the good rows, by platform and text, else 0."""
    return ids.ids_of(platform_ids, codes, text.data, text.start, text.size, good)


def slot_numbers(
    slot_function: str,
    platform_ids: list[str],
    codes: np.ndarray,
    entry_id: Text,
    good: np.ndarray,
    hashed: np.ndarray,
) -> np.ndarray:
    """uint64[rows]: what the epoch's slot function takes the remainder of. `hashed`: the rows' ids."""
    if slot_function == SLOT_FUNCTION:
        return hashed[:, 0]
    text = entry_id
    old = murmur.version_1_ids(platform_ids, codes, text.data, text.start, text.size, good)
    return old[:, 0]


@kernel(types.void(types.uint64, BYTES, INT64, INT32, BOOL, types.uint64[::1]))
def _add_text(seed, data, start, size, good, out):
    for i in range(len(start)):
        if good[i] and size[i] >= 0:
            h1, _ = murmur128(data, start[i], size[i], seed)
            out[i] += h1


@kernel(types.void(types.uint64, INT64, BOOL, types.uint64[::1]))
def _add_number(seed, values, valid, out):
    for i in range(out.shape[0]):
        if valid[i]:
            out[i] += fmix(fmix(np.uint64(values[i]) + seed * M1) + seed * M2)


def _valid(column: pa.Array) -> np.ndarray:
    if column.null_count == 0:
        return np.ones(len(column), dtype=np.bool_)
    return np.ascontiguousarray(column.is_valid().to_numpy(zero_copy_only=False))


def _add_number_content(out: np.ndarray, field_number: int, column: pa.Array) -> None:
    """Adds each non-null Int64's hash to `out` (uint64[n])."""
    if column.null_count < len(column):
        valid = _valid(column)
        numbers = column.fill_null(0) if column.null_count else column
        values = np.ascontiguousarray(numbers.to_numpy(zero_copy_only=False), dtype=np.int64)
        _add_number(np.uint64(field_number), values, valid, out)


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
        _add_number_content(
            out, NUMBER[name], pa.array(values.astype(np.int64, copy=False), mask=null)
        )
    return out
