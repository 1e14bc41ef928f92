"""Partial cells of one open block: sums by hour × district × sector × platform × recorded date.

Kept densely (28 bytes a cell and 8 of index): in two years of history nearly every entry is a
cell of its own. Refunds and reversals, a few in a hundred, have their sums beside.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from yumai.districts import districts

DISTRICT_CODES = np.array([0, *sorted(int(code) for code in districts())], dtype=np.uint32)
"""District number of a key -> code."""


def _district_numbers() -> np.ndarray:
    """Last four digits of a code -> its number; 255 where there is none (all are 50xxxx)."""
    numbers = np.full(10_000, 255, dtype=np.uint8)
    for number, code in enumerate(DISTRICT_CODES):
        numbers[int(code) % 10_000] = number
    return numbers


DISTRICT_NUMBERS = _district_numbers()


@njit(inline="always")
def cell_key(hour, district_number, sector, platform, recorded_day):
    """64 bits: hour 20 (until 2089), district 8, sector 8, platform 12, recorded day 16."""
    return (
        (np.uint64(hour) << np.uint64(44))
        | (np.uint64(district_number) << np.uint64(36))
        | (np.uint64(sector) << np.uint64(28))
        | (np.uint64(platform) << np.uint64(16))
        | np.uint64(recorded_day)
    )


PLATFORMS_MAX = 1 << 12


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


@njit("void(uint32[::1], uint64[::1], int64)", nogil=True, cache=True)
def _reindex(index, keys, count):
    mask = np.uint64(index.shape[0] - 1)
    for place in range(count):
        slot = _mix(keys[place]) & mask
        while index[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        index[slot] = place + 1


class BlockCells:
    """The cells of one block, and which were touched since the last flush."""

    def __init__(self) -> None:
        self.index = np.zeros(1 << 14, dtype=np.uint32)
        self.keys = np.empty(8192, dtype=np.uint64)
        self.entries = np.zeros(8192, dtype=np.uint32)
        self.sales = np.zeros(8192, dtype=np.int64)
        self.flushed = np.zeros(8192, dtype=np.uint32)
        self.beside = np.zeros(8192, dtype=np.uint32)
        # Place 0 of the sums beside means "none".
        self.others = np.zeros((1024, 3), dtype=np.int64)
        self.touched = np.empty(8192, dtype=np.uint32)
        # cells, sums beside, touched
        self.counts = np.array([0, 1, 0], dtype=np.int64)

    def room(self, rows: int) -> None:
        """Makes sure that `rows` more entries fit, each in a new cell."""
        need = int(self.counts[0]) + rows
        if need > len(self.keys):
            size = max(need, len(self.keys) * 3 // 2)
            for name in ("keys", "entries", "sales", "flushed", "beside"):
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

        The platform comes as the number that the key has for it.
        """
        places = self.touched[: self.counts[2]].copy()
        self.counts[2] = 0
        keys = self.keys[places]
        others = self.others[self.beside[places]]
        return {
            "hour": (keys >> np.uint64(44)).astype(np.uint32),
            "district": DISTRICT_CODES[(keys >> np.uint64(36)) & np.uint64(0xFF)],
            "sector": ((keys >> np.uint64(28)) & np.uint64(0xFF)).astype(np.int8),
            "platform": ((keys >> np.uint64(16)) & np.uint64(0xFFF)).astype(np.int16),
            "recorded_day": (keys & np.uint64(0xFFFF)).astype(np.uint16),
            "entries": self.entries[places],
            "sales": self.sales[places],
            "refunds": np.ascontiguousarray(others[:, 0]),
            "sale_reversals": np.ascontiguousarray(others[:, 1]),
            "refund_reversals": np.ascontiguousarray(others[:, 2]),
        }

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return (
            self.index,
            self.keys,
            self.entries,
            self.sales,
            self.flushed,
            self.beside,
            self.others,
            self.touched,
            self.counts,
        )


def _grown(array: np.ndarray, size: int) -> np.ndarray:
    fresh = np.zeros((size, *array.shape[1:]), dtype=array.dtype)
    fresh[: len(array)] = array
    return fresh
