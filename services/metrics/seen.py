"""Seen: is an id booked already, and with what? Three tiers that give one verdict.

(a) the newest positions exactly, in memory; (b) a filter over every older id: a superset, a missing
id is impossible; (c) the filter's positives, looked up in the ledger by the caller (`Seen.suspects`)
and put into (a) before the records are sorted (`Seen.remember`).

An id is its platform's own: one that two platforms have (nobody can make it so, but nothing hangs on
that) is two ids here. Where an id stands in memory depends on `spread`, a secret of the process, so
that nobody can choose ids that all stand in one place.

A verdict is the same whenever it is asked: (a) holds at least every position that is not durable
yet, and (c) looks only at positions below those that are being sorted.

The filter is a split block Bloom filter (Putze, Sanders, Singler 2007; the layout of Apache
Parquet's specification): one cache line a look-up. 24 bits an id, about 1 in 6,000 false.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numba import njit, types

from contracts.entries.kernel_types import IDS, INT32, UINT32, UINT64, group, kernel

FRESH, REDELIVERED, DUPLICATE, CONFLICT = 0, 1, 2, 3

_BITS_PER_ID = 24
_FIRST_LEVEL_IDS = 1 << 20
_SALT = np.array(
    [
        0x47B6137B,
        0x44974D91,
        0x8824AD5B,
        0xA2B7289D,
        0x705495C7,
        0x2DF1424B,
        0x9EFC4947,
        0x5C6BFB31,
    ],
    dtype=np.uint32,
)
_LOW32 = np.uint64(0xFFFFFFFF)


@njit(inline="always")
def _line(high, lines):
    """The filter line of an id: the second hash word scaled to the number of lines."""
    return ((high >> np.uint64(32)) * np.uint64(lines)) >> np.uint64(32)


@njit(inline="always")
def filter_has(words, high):
    """`words` uint32[lines, 8]; `high` the id's second 64 bits."""
    line = _line(high, words.shape[0])
    low = high & _LOW32
    for i in range(8):
        # numba multiplies uint32 as uint64: the mask keeps it the 32-bit product.
        bit = ((low * np.uint64(_SALT[i])) & _LOW32) >> np.uint64(27)
        if not (words[line, i] >> np.uint32(bit)) & np.uint32(1):
            return False
    return True


@njit(inline="always")
def filter_add(words, high):
    line = _line(high, words.shape[0])
    low = high & _LOW32
    for i in range(8):
        bit = ((low * np.uint64(_SALT[i])) & _LOW32) >> np.uint64(27)
        words[line, i] |= np.uint32(1) << np.uint32(bit)


@kernel("void(uint32[:, ::1], Array(uint64, 1, 'C', readonly=True))")
def _add_all(words, highs):
    for i in range(highs.shape[0]):
        filter_add(words, highs[i])


@kernel("int64(uint32[:, ::1], Array(uint64, 2, 'C', readonly=True), uint8[::1])")
def _mark(words, ids, marks):
    """Sets marks[i] where the filter may hold ids[i]; how many it set."""
    found = 0
    for i in range(ids.shape[0]):
        if marks[i] == 0 and filter_has(words, ids[i, 1]):
            marks[i] = 1
            found += 1
    return found


@njit(inline="always")
def _slot(low, spread, mask):
    """Multiply-shift (Dietzfelbinger et al. 1997): `spread` is odd and random."""
    return ((low * spread) >> np.uint64(32)) & mask


class Id(NamedTuple):
    """An entry's id, of a platform as the caller numbers them."""

    low: np.uint64
    high: np.uint64
    platform: np.int32


class Remembered(NamedTuple):
    """Ids side by side, with the content, receipt and row of their first position."""

    slots: np.ndarray
    """uint32[2^k]: place + 1, or 0; open addressing."""
    id: np.ndarray
    platform: np.ndarray
    content: np.ndarray
    receipt_low: np.ndarray
    receipt_row: np.ndarray


REMEMBERED = group(
    Remembered,
    types.uint32[::1],
    types.uint64[:, ::1],
    types.int32[::1],
    types.uint64[::1],
    types.uint64[::1],
    types.uint32[::1],
)


@njit(inline="always")
def exact_find(spread, known, wanted):
    """Place of an Id in `known`, or -1."""
    mask = np.uint64(known.slots.shape[0] - 1)
    slot = _slot(wanted.low, spread, mask)
    while True:
        place = known.slots[slot]
        if place == 0:
            return -1
        at = np.int64(place) - 1
        if (
            known.id[at, 0] == wanted.low
            and known.id[at, 1] == wanted.high
            and known.platform[at] == wanted.platform
        ):
            return at
        slot = (slot + np.uint64(1)) & mask


@njit(inline="always")
def exact_add(spread, known, count, new, content, receipt_low, receipt_row):
    mask = np.uint64(known.slots.shape[0] - 1)
    slot = _slot(new.low, spread, mask)
    while known.slots[slot] != 0:
        slot = (slot + np.uint64(1)) & mask
    known.slots[slot] = count + 1
    known.id[count, 0] = new.low
    known.id[count, 1] = new.high
    known.platform[count] = new.platform
    known.content[count] = content
    known.receipt_low[count] = receipt_low
    known.receipt_row[count] = receipt_row


@kernel(types.int64(types.uint64, REMEMBERED, types.int64, IDS, INT32, UINT64, UINT64, UINT32))
def _remember(spread, known, count, ids, platform, content, receipt_low, receipt_row):
    for i in range(ids.shape[0]):
        new = Id(ids[i, 0], ids[i, 1], platform[i])
        if exact_find(spread, known, new) < 0:
            exact_add(spread, known, count, new, content[i], receipt_low[i], receipt_row[i])
            count += 1
    return count


@kernel(types.void(IDS, INT32, types.uint64, REMEMBERED, REMEMBERED, types.boolean[::1]))
def _unknown_rows(ids, platform, spread, young, old, out):
    for i in range(ids.shape[0]):
        wanted = Id(ids[i, 0], ids[i, 1], platform[i])
        out[i] = exact_find(spread, young, wanted) < 0 and exact_find(spread, old, wanted) < 0


class Generation:
    """Exact ids: open addressing over append-only columns; 48 bytes an id at full load.

    A platform is a number, as the caller numbers them.
    """

    def __init__(self, capacity: int) -> None:
        slots = 1 << max(10, int(capacity * 3 // 2).bit_length())
        self.capacity = capacity
        self.known = Remembered(
            slots=np.zeros(slots, dtype=np.uint32),
            id=np.empty((capacity, 2), dtype=np.uint64),
            platform=np.empty(capacity, dtype=np.int32),
            content=np.empty(capacity, dtype=np.uint64),
            receipt_low=np.empty(capacity, dtype=np.uint64),
            receipt_row=np.empty(capacity, dtype=np.uint32),
        )
        self.count = 0


@dataclass
class FilterLevel:
    words: np.ndarray
    capacity: int
    count: int = 0


@dataclass
class Filter:
    """Levels of doubling size; ids go into the newest. 3 bytes an id."""

    expected: int = 0
    levels: list[FilterLevel] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._grow(max(_FIRST_LEVEL_IDS, self.expected + self.expected // 2))

    def _grow(self, capacity: int) -> None:
        lines = max(1, capacity * _BITS_PER_ID // 256)
        self.levels.append(FilterLevel(np.zeros((lines, 8), dtype=np.uint32), capacity))

    def room(self, ids: int) -> FilterLevel:
        """The level for the next `ids` ids; the caller adds them and raises its count."""
        newest = self.levels[-1]
        if newest.count + ids > newest.capacity:
            self._grow(newest.capacity * 2)
        return self.levels[-1]

    def add(self, highs: np.ndarray) -> None:
        level = self.room(len(highs))
        _add_all(level.words, np.ascontiguousarray(highs))
        level.count += len(highs)

    def mark(self, ids: np.ndarray, marks: np.ndarray) -> int:
        """Marks (uint8) rows of ids (uint64[n, 2]) that may be known; how many."""
        return sum(_mark(level.words, ids, marks) for level in self.levels)

    @property
    def nbytes(self) -> int:
        return sum(level.words.nbytes for level in self.levels)


class Seen:
    """The ids of one partition. Not thread-safe: one thread sorts."""

    def __init__(self, filter_: Filter, generation_ids: int = 1 << 18) -> None:
        self.filter = filter_
        self.spread = np.uint64(secrets.randbits(64) | 1)
        self._size = generation_ids
        self.young = Generation(generation_ids)
        self.old = Generation(1024)

    def suspects(self, ids: np.ndarray, platforms: np.ndarray) -> np.ndarray:
        """Rows of ids (uint64[n, 2], int32[n]) that the filter holds and memory does not: ask the ledger."""
        marks = np.zeros(len(ids), dtype=np.uint8)
        if not self.filter.mark(ids, marks):
            return np.empty(0, dtype=np.int64)
        rows = np.flatnonzero(marks)
        unknown = np.empty(len(rows), dtype=np.bool_)
        _unknown_rows(
            np.ascontiguousarray(ids[rows]),
            np.ascontiguousarray(platforms[rows]),
            self.spread,
            self.young.known,
            self.old.known,
            unknown,
        )
        return rows[unknown]

    def remember(
        self,
        ids: np.ndarray,
        platforms: np.ndarray,
        content: np.ndarray,
        receipt_low: np.ndarray,
        receipt_row: np.ndarray,
    ) -> None:
        """Puts what the ledger answered into memory; it is in the filter already."""
        if self.young.count + len(ids) > self.young.capacity:
            self._turn(len(ids))
        self.young.count = _remember(
            self.spread,
            self.young.known,
            self.young.count,
            ids,
            platforms,
            content,
            receipt_low,
            receipt_row,
        )

    def room(self, rows: int) -> None:
        """Makes room for `rows` new ids. What is dropped must be durable: see `keeps`."""
        if self.young.count + rows > self.young.capacity:
            self._turn(rows)

    def _turn(self, rows: int) -> None:
        self.old = self.young
        self.young = Generation(max(self._size, rows))

    @property
    def keeps(self) -> int:
        """At least so many of the newest ids are in memory."""
        return self.young.count + self.old.count

    @property
    def nbytes(self) -> int:
        columns = (*self.young.known, *self.old.known)
        return self.filter.nbytes + sum(column.nbytes for column in columns)
