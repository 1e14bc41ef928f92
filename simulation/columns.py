"""Rows of the simulated city as columns of the contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.days import DAY_MS, SHANGHAI_MS
from simulation import draws
from simulation.city import PLATFORMS, SECTORS, City, day_of
from yumai.districts import CHANGE_MS
from yumai.entry import SIGNS as SIGN_OF

SIGNS = np.array([SIGN_OF[kind] for kind in sorted(SIGN_OF)])
"""By a row's kind, from 0: sale, refund, and the reversals of both."""

SCHEMA = pa.schema(
    [
        ("entry_id", pa.string()),
        ("platform_id", pa.string()),
        ("merchant_id", pa.string()),
        ("occurred_at", pa.timestamp("ms", "UTC")),
        ("kind", pa.string()),
        ("amount_fen", pa.int64()),
        ("refers_to", pa.string()),
        ("district_code", pa.string()),
        ("mcc", pa.string()),
        ("channel", pa.string()),
        ("scene_tags", pa.list_(pa.string())),
        ("program_id", pa.string()),
        ("subsidy_fen", pa.int64()),
    ]
)

_KINDS = pa.array(["sale", "refund", "sale_reversal", "refund_reversal"])
_TAGS = pa.array(["digital", "green", "night"])
_CHANNELS = pa.array(["online", "offline"])
_PLATFORMS = pa.array(PLATFORMS)
_FOUR_DIGITS = np.array([b"%04d" % n for n in range(10_000)], "S4")
_ID = np.dtype([("salt", "S9"), ("day", "S7"), ("high", "S4"), ("low", "S4")])
_FUNDED_MONTHS = (5, 6, 9, 10)
_DINING, _TOURISM = SECTORS.index("S01"), SECTORS.index("S04")


@dataclass
class Rows:
    """Facts of rows before they become columns; each an array of one length."""

    day: int | draws.UInts
    row: draws.UInts
    merchant: npt.NDArray[np.int32] = field(default=None)  # type: ignore[arg-type]
    amount: npt.NDArray[np.int64] = field(default=None)  # type: ignore[arg-type]
    occurred_ms: npt.NDArray[np.int64] = field(default=None)  # type: ignore[arg-type]
    kind: npt.NDArray[np.int8] = field(default=None)  # type: ignore[arg-type]
    linked: npt.NDArray[np.int64] = field(default=None)  # type: ignore[arg-type]
    link_day: draws.UInts = field(default=None)  # type: ignore[arg-type]
    link_row: draws.UInts = field(default=None)  # type: ignore[arg-type]
    chance: draws.UInts = field(default=None)  # type: ignore[arg-type]


def _ids(salt: bytes, day: int | draws.UInts, row: draws.UInts) -> npt.NDArray[Any]:
    """24 characters: salt, day sent, row."""
    ids = np.empty(len(row), _ID)
    ids["salt"] = salt
    if isinstance(day, int):
        ids["day"] = day_of(day).strftime("%y%m%d-").encode()
    else:
        days, which = np.unique(day, return_inverse=True)
        text = [day_of(int(d)).strftime("%y%m%d-").encode() for d in days]
        ids["day"] = np.array(text, "S7")[which]
    high = (row // np.uint64(10_000)).astype(np.int64)
    ids["high"] = _FOUR_DIGITS[high]
    ids["low"] = _FOUR_DIGITS[row.astype(np.int64) - high * 10_000]
    return ids


def batch(city: City, salt: bytes, scale: float, rows: Rows) -> pa.RecordBatch:
    """These rows as the contract's columns. `salt`: the beginning of their ids, 9 bytes."""
    c = city.columns
    n = len(rows.row)
    merchant, chance = rows.merchant, rows.chance
    sector, platform = c["sector"][merchant], c["platform"][merchant]
    is_linked = np.zeros(n, bool)
    is_linked[rows.linked] = True

    tells = c["sends_codes"][merchant]
    before, after = city.sent_codes
    teller = merchant[tells]
    code = np.where(rows.occurred_ms[tells] < CHANGE_MS, before[teller], after[teller])

    channel = np.where(c["online"][merchant] * 64 > draws.bits(chance, 50, 6), 0, 1)
    silent = (platform == 0) & (draws.bits(chance, 56, 3) == 0)

    hour = (rows.occurred_ms + SHANGHAI_MS) % DAY_MS // 3_600_000
    night = ((sector == _DINING) | (sector == _TOURISM)) & (hour >= 18)
    night &= draws.bits(chance, 59, 2) == 0
    tags = np.stack([c["digital"][merchant], c["green"][merchant], night], axis=1)
    tagged = tags.any(axis=1)
    tag = np.nonzero(tags[tagged])[1]
    ends = np.concatenate([[0], np.cumsum(tags.sum(axis=1))]).astype(np.int32)

    funded = np.flatnonzero(
        ((sector == _DINING) | (sector == _TOURISM))
        & (rows.kind == 0)
        & (chance >> np.uint64(61) == 7)
    )
    funded = funded[draws.bits(chance[funded], 16, 2) == 1]
    month = (
        (rows.occurred_ms[funded] + SHANGHAI_MS).astype("datetime64[ms]").astype("datetime64[M]")
    )
    month_of_year = month.astype(np.int64) % 12 + 1
    funded = funded[np.isin(month_of_year, _FUNDED_MONTHS)]
    is_funded = np.zeros(n, bool)
    is_funded[funded] = True
    year = month.astype(np.int64)[np.isin(month_of_year, _FUNDED_MONTHS)] // 12 + 1970
    program = np.where(sector[funded] == _DINING, b"yu-dining-", b"yu-travel-")
    program = np.char.add(program, _FOUR_DIGITS[year])
    cap = 5_000 * max(scale, 1)
    subsidy = np.zeros(n, np.int64)
    subsidy[funded] = np.minimum(rows.amount[funded] // 10, int(cap))

    columns = [
        _text(_ids(salt, rows.day, rows.row)),
        _PLATFORMS.take(pa.array(platform)),
        _text(c["id"][merchant]),
        pa.Array.from_buffers(
            pa.timestamp("ms", "UTC"),
            n,
            [None, pa.py_buffer(np.ascontiguousarray(rows.occurred_ms))],
        ),
        _KINDS.take(pa.array(rows.kind)),
        pa.array(rows.amount),
        _text(_ids(salt, rows.link_day, rows.link_row), is_linked),
        _text(code, tells),
        _text(c["mcc"][teller], tells),
        _CHANNELS.take(pa.array(channel, pa.int8(), mask=silent)),
        pa.ListArray.from_arrays(pa.array(ends), _TAGS.take(pa.array(tag)), mask=pa.array(~tagged)),
        _text(program, is_funded),
        pa.array(subsidy, mask=~is_funded),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _text(values: npt.NDArray[Any], where: npt.NDArray[np.bool_] | None = None) -> pa.StringArray:
    """ASCII of one width as a string column; `where`: true where there is one, null elsewhere."""
    values = np.ascontiguousarray(values)
    width = values.dtype.itemsize
    data = pa.py_buffer(values.view(np.uint8))
    if where is None:
        ends = np.arange(0, (len(values) + 1) * width, width, dtype=np.int32)
        return pa.StringArray.from_buffers(len(values), pa.py_buffer(ends), data)
    ends = np.zeros(len(where) + 1, np.int32)
    np.cumsum(where, out=ends[1:])
    ends *= width
    valid = pa.py_buffer(np.packbits(where, bitorder="little"))
    return pa.StringArray.from_buffers(len(where), pa.py_buffer(ends), data, valid)
