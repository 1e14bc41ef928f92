"""Partial cells of one open block: sums by hour × district × sector × platform × recorded date.

Kept densely (32 bytes a cell and 8 of index): in two years of history nearly every entry is a
cell of its own. Refunds and reversals, a few in a hundred, have their sums beside.

A block of 1,024 records of 4,096 entries of 10^13 fen is more than 63 bits: a sum is `low` below 2^62
and how often it has passed that (`carry`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types

from contracts.entries.kernel_types import group, kernel
from yumai.districts import districts
from yumai.entry import BLOCK_OFFSETS
from yumai.sectors import SECTOR_CODES

DISTRICT_CODES = np.array([0, *sorted(int(code) for code in districts())], dtype=np.uint32)
"""District number of a key -> code."""


def _district_numbers() -> np.ndarray:
    """Last four digits of a code -> its number; 255 where there is none (all are 50xxxx)."""
    numbers = np.full(10_000, 255, dtype=np.uint8)
    for number, code in enumerate(DISTRICT_CODES):
        numbers[int(code) % 10_000] = number
    return numbers


DISTRICT_NUMBERS = _district_numbers()


SECTOR_VALUES = np.array(sorted(SECTOR_CODES), dtype=np.int8)
"""Sector number of a key -> the value that records and tables have."""


def _sector_numbers() -> np.ndarray:
    numbers = np.full(128, 255, dtype=np.uint8)
    numbers[SECTOR_VALUES] = np.arange(len(SECTOR_VALUES))
    return numbers


SECTOR_NUMBERS = _sector_numbers()

CARRY_AT = 1 << 62

_HOUR, _DISTRICT, _SECTOR, _DAY = 44, 38, 33, 23
HOURS_MAX = 1 << 20
PLATFORMS_MAX = 1 << 23
"""More than the rows of a block: only ids of several blocks together could be as many."""
assert len(DISTRICT_CODES) <= 1 << 6
assert len(SECTOR_VALUES) <= 1 << 5
assert BLOCK_OFFSETS <= 1 << 10


@njit(inline="always")
def cell_key(hour, district_number, sector_number, day_number, platform):
    """64 bits: hour 20 (until 2089), district 6, sector 5, recorded day of the block 10, platform 23."""
    return (
        (np.uint64(hour) << np.uint64(_HOUR))
        | (np.uint64(district_number) << np.uint64(_DISTRICT))
        | (np.uint64(sector_number) << np.uint64(_SECTOR))
        | (np.uint64(day_number) << np.uint64(_DAY))
        | np.uint64(platform)
    )


@njit(inline="always")
def _mix(key):
    key ^= key >> np.uint64(32)
    key *= np.uint64(0x9E3779B97F4A7C15)
    return key ^ (key >> np.uint64(29))


@njit(inline="always")
def cell_place(index, keys, count, key):
    """Place of the key in `keys` (count if it is new, and then indexed). `index` holds place + 1."""
    mask = np.uint64(index.shape[0] - 1)
    slot = _mix(key) & mask
    while True:
        place = index[slot]
        if place == 0:
            index[slot] = count + 1
            return count
        at = np.int64(place) - 1
        if keys[at] == key:
            return at
        slot = (slot + np.uint64(1)) & mask


@kernel("void(uint32[::1], uint64[::1], int64)")
def _reindex(index, keys, count):
    mask = np.uint64(index.shape[0] - 1)
    for place in range(count):
        slot = _mix(keys[place]) & mask
        while index[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        index[slot] = place + 1


class CellColumns(NamedTuple):
    """A block's cells side by side, as the kernel fills them."""

    slots: np.ndarray
    """uint32[2^k]: place + 1, or 0; open addressing."""
    keys: np.ndarray
    entries: np.ndarray
    sales: np.ndarray
    carry: np.ndarray
    flushed: np.ndarray
    """The flush that touched each last."""
    beside: np.ndarray
    """Place of each in `others`; 0: it has none."""
    others: np.ndarray
    """Refunds, reversals of either; then their carries."""
    touched: np.ndarray
    """Places touched since the last flush."""
    counts: np.ndarray
    """Cells, sums beside, touched."""


CELL_COLUMNS = group(
    CellColumns,
    types.uint32[::1],
    types.uint64[::1],
    types.uint32[::1],
    types.int64[::1],
    types.uint16[::1],
    types.uint32[::1],
    types.uint32[::1],
    types.int64[:, ::1],
    types.uint32[::1],
    types.int64[::1],
)


class BlockCells:
    """The cells of one block, and which were touched since the last flush."""

    def __init__(self) -> None:
        self.index = np.zeros(1 << 14, dtype=np.uint32)
        self.keys = np.empty(8192, dtype=np.uint64)
        self.entries = np.zeros(8192, dtype=np.uint32)
        self.sales = np.zeros(8192, dtype=np.int64)
        self.carry = np.zeros(8192, dtype=np.uint16)
        self.flushed = np.zeros(8192, dtype=np.uint32)
        self.beside = np.zeros(8192, dtype=np.uint32)
        # Place 0 of the sums beside means "none".
        self.others = np.zeros((1024, 6), dtype=np.int64)
        self.touched = np.empty(8192, dtype=np.uint32)
        self.counts = np.array([0, 1, 0], dtype=np.int64)
        self._days: dict[int, int] = {}
        """Recorded day (since 1970) -> its number in this block's keys; a record has one day."""

    def day_number(self, recorded_day: int) -> int:
        return self._days.setdefault(recorded_day, len(self._days))

    def room(self, rows: int) -> None:
        """Makes sure that `rows` more entries fit, each in a new cell."""
        need = int(self.counts[0]) + rows
        if need > len(self.keys):
            size = max(need, len(self.keys) * 3 // 2)
            for name in ("keys", "entries", "sales", "carry", "flushed", "beside"):
                setattr(self, name, _grown(getattr(self, name), size))
        if need * 4 > len(self.index) * 3:
            self.index = np.zeros(1 << (need * 2).bit_length(), dtype=np.uint32)
            _reindex(self.index, self.keys, int(self.counts[0]))
        if int(self.counts[1]) + rows > len(self.others):
            self.others = _grown(self.others, max(len(self.others) * 2, int(self.counts[1]) + rows))
        if int(self.counts[2]) + rows > len(self.touched):
            self.touched = _grown(
                self.touched, max(len(self.touched) * 2, int(self.counts[2]) + rows)
            )

    def take_touched(self) -> dict[str, np.ndarray]:
        """Columns of the cells touched since the last call, as totals of the block so far.

        The platform comes as the number that the key has for it; a sum as `wide` gives it.
        """
        places = self.touched[: self.counts[2]].copy()
        self.counts[2] = 0
        keys = self.keys[places]
        others = self.others[self.beside[places]]
        days = np.array(list(self._days), dtype=np.uint16)

        def number(shift: int, bits: int) -> np.ndarray:
            return ((keys >> np.uint64(shift)) & np.uint64((1 << bits) - 1)).astype(np.uint32)

        return {
            "hour": number(_HOUR, 20),
            "district": DISTRICT_CODES[number(_DISTRICT, 6)],
            "sector": SECTOR_VALUES[number(_SECTOR, 5)],
            "platform": number(0, _DAY).astype(np.int32),
            "recorded_day": days[number(_DAY, 10)],
            "entries": self.entries[places],
            "sales": wide(self.sales[places], self.carry[places]),
            "refunds": wide(others[:, 0], others[:, 3]),
            "sale_reversals": wide(others[:, 1], others[:, 4]),
            "refund_reversals": wide(others[:, 2], others[:, 5]),
        }

    @property
    def columns(self) -> CellColumns:
        return CellColumns(
            self.index,
            self.keys,
            self.entries,
            self.sales,
            self.carry,
            self.flushed,
            self.beside,
            self.others,
            self.touched,
            self.counts,
        )


def wide(low: np.ndarray, carry: np.ndarray) -> np.ndarray:
    """low + carry × 2^62: int64[n] where all of it fits, else uint64[n, 2], the low half first."""
    if not carry.any():
        return np.ascontiguousarray(low)
    times = carry.astype(np.uint64)
    halves = np.empty((len(low), 2), dtype=np.uint64)
    halves[:, 0] = low.astype(np.uint64) + ((times & np.uint64(3)) << np.uint64(62))
    halves[:, 1] = times >> np.uint64(2)
    return halves


def joined(pieces: list[np.ndarray]) -> np.ndarray:
    """Sums of several blocks, each as `wide` gave them, as one: wide where one of them is."""
    if len({piece.ndim for piece in pieces}) == 1:
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    return np.concatenate(
        [
            piece
            if piece.ndim == 2
            else np.stack([piece.astype(np.uint64), np.zeros(len(piece), np.uint64)], axis=1)
            for piece in pieces
        ]
    )


def _grown(array: np.ndarray, size: int) -> np.ndarray:
    fresh = np.zeros((size, *array.shape[1:]), dtype=array.dtype)
    fresh[: len(array)] = array
    return fresh
