"""Where a row is booked: district and sector, field by field, and what decided each. Pure.

Registry first (by merchant and Shanghai date of occurrence), else the entry's own code, else
nobody: 000000 and U00. The division change is applied to the district, wherever its name came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache
from threading import Lock
from typing import NamedTuple

import numpy as np
from numba import types

from contracts.days import DAY_MS, SHANGHAI_MS
from contracts.entries.ids import id_of
from contracts.entries.kernel_types import BOOL, IDS, INT16, INT32, INT64, group, kernel, read_only
from contracts.merchants.codec import Span
from yumai.districts import BEGUN, CHANGE_MS, ENDED
from yumai.sectors import UNRESOLVED, industry_sector, mcc_sectors

REGISTRY, ENTRY, NOBODY = 1, 2, 0
_OWN = -1
"""A span that leaves the sector to the entry."""
_FOR_EVER = 2**31 - 1
_FREE, _EMPTY = -1, 0


class ToPlace(NamedTuple):
    """What places a row: its own words, and its merchant's id."""

    merchant: np.ndarray
    occurred_ms: np.ndarray
    district: np.ndarray
    mcc: np.ndarray
    good: np.ndarray


class Registered(NamedTuple):
    """Merchants by open addressing (`keys`, each with `first_span` and `span_count`), and their spans side by side."""

    keys: np.ndarray
    first_span: np.ndarray
    span_count: np.ndarray
    from_day: np.ndarray
    to_day: np.ndarray
    district: np.ndarray
    sector: np.ndarray


_ROWS = group(ToPlace, IDS, INT64, INT32, INT32, BOOL)
_REGISTERED = group(Registered, IDS, INT32, INT32, INT32, INT32, INT32, INT16)


@kernel(
    types.void(
        _ROWS, _REGISTERED, INT16, INT64, types.uint32[::1], types.int8[::1], types.uint8[::1]
    )
)
def _classify(rows, registry, mcc_sector, changes, district, sector, decided):
    mask = np.int64(len(registry.keys) - 1)
    change_ms, offset_ms = changes[0], changes[1]
    for i in range(len(rows.good)):
        if not rows.good[i]:
            continue
        h1, h2 = rows.merchant[i, 0], rows.merchant[i, 1]
        where = np.int64(0)
        what = np.int16(_OWN)
        by_district, by_sector = NOBODY, NOBODY
        slot = np.int64(h1 & np.uint64(mask))
        while registry.first_span[slot] != _FREE:
            if registry.keys[slot, 0] == h1 and registry.keys[slot, 1] == h2:
                day = np.int64((rows.occurred_ms[i] + offset_ms) // DAY_MS)
                for s in range(
                    registry.first_span[slot], registry.first_span[slot] + registry.span_count[slot]
                ):
                    if registry.from_day[s] <= day <= registry.to_day[s]:
                        where = np.int64(registry.district[s])
                        by_district = REGISTRY
                        what = registry.sector[s]
                        break
                break
            slot = (slot + 1) & mask
        if by_district == NOBODY and rows.district[i] >= 0:
            where = np.int64(rows.district[i])
            by_district = ENTRY
        if what != _OWN:
            by_sector = REGISTRY
        elif rows.mcc[i] >= 0:
            what = mcc_sector[rows.mcc[i]]
            by_sector = ENTRY
        else:
            what = np.int16(UNRESOLVED)
        before = rows.occurred_ms[i] < change_ms
        for k in range(2, len(changes), 2):
            if changes[k] == where:
                if changes[k + 1] == 0:  # begun by the change
                    if before:
                        where = np.int64(0)
                elif not before:
                    where = changes[k + 1]
                break
        district[i] = np.uint32(where)
        sector[i] = np.int8(what)
        decided[i] = np.uint8(by_district | (by_sector << 4))


@cache
def _mcc_table() -> np.ndarray:
    table = np.full(10_000, UNRESOLVED, np.int16)
    for mcc, number in mcc_sectors().items():
        table[int(mcc)] = number
    return table


@cache
def _changes() -> np.ndarray:
    pairs = [(int(old), int(new)) for old, new in ENDED.items()] + [(int(c), 0) for c in BEGUN]
    return np.array([CHANGE_MS, SHANGHAI_MS, *(n for pair in pairs for n in pair)], np.int64)


def _days(day: date) -> int:
    return day.toordinal() - 719_163


def span_sector(span: Span) -> int:
    """Sector number that a span decides, or −1: the entry's own `mcc` counts."""
    if span.industry is not None:
        number = industry_sector(span.industry)
        if number is not None:
            return number
    if span.mcc is not None:
        return mcc_sectors().get(span.mcc, UNRESOLVED)
    return _OWN


@dataclass(frozen=True)
class Classified:
    district: np.ndarray
    sector: np.ndarray
    decided: np.ndarray
    map_version: int


class MerchantIndex:
    """Every merchant's spans, found by the 128-bit hash of platform and merchant.

    Open addressing; a merchant's spans stand side by side. Replacing a history appends the new one
    and moves the pointer; what is left behind goes when the arrays grow. Safe for a writer beside
    readers.
    """

    def __init__(self, room: int = 1 << 16) -> None:
        self._lock = Lock()
        self._reset(room)
        self.map_version = 0

    def _reset(self, room: int) -> None:
        self._keys = np.zeros((room, 2), np.uint64)
        self._first = np.full(room, _FREE, np.int32)
        self._count = np.zeros(room, np.int32)
        self._merchants = 0
        self._from, self._to = np.zeros(room, np.int32), np.zeros(room, np.int32)
        self._district = np.zeros(room, np.int32)
        self._sector = np.zeros(room, np.int16)
        self._spans = 0

    def put(self, platform_id: str, merchant_id: str, spans: tuple[Span, ...]) -> None:
        """A merchant's whole history; no spans: as if it had never been there."""
        hashed = id_of(platform_id, merchant_id)
        h1, h2 = int.from_bytes(hashed[:8], "little"), int.from_bytes(hashed[8:], "little")
        with self._lock:
            if 2 * self._merchants >= len(self._keys):
                self._grow_keys()
            if self._spans + len(spans) > len(self._from):
                self._grow_spans(len(spans))
            slot = self._slot(h1, h2)
            if self._first[slot] == _FREE:
                self._keys[slot] = (h1, h2)
                self._merchants += 1
            begin = self._spans
            for span in spans:
                at = self._spans
                self._from[at] = _days(span.valid_from)
                self._to[at] = _days(span.valid_to) if span.valid_to else _FOR_EVER
                self._district[at] = int(span.district_code)
                self._sector[at] = span_sector(span)
                self._spans += 1
            self._first[slot], self._count[slot] = begin, len(spans)

    def _slot(self, h1: int, h2: int) -> int:
        mask = len(self._keys) - 1
        slot = h1 & mask
        while self._first[slot] != _FREE and (
            int(self._keys[slot, 0]) != h1 or int(self._keys[slot, 1]) != h2
        ):
            slot = (slot + 1) & mask
        return slot

    def _grow_keys(self) -> None:
        keys, first, count = self._keys, self._first, self._count
        self._keys = np.zeros((2 * len(keys), 2), np.uint64)
        self._first = np.full(2 * len(keys), _FREE, np.int32)
        self._count = np.zeros(2 * len(keys), np.int32)
        for old in np.flatnonzero(first != _FREE).tolist():
            slot = self._slot(int(keys[old, 0]), int(keys[old, 1]))
            self._keys[slot], self._first[slot] = keys[old], first[old]
            self._count[slot] = count[old]

    def _grow_spans(self, more: int) -> None:
        """Leaves out what no merchant points to any more, and makes room."""
        used = np.flatnonzero(self._first != _FREE)
        counts = self._count[used]
        kept = np.repeat(self._first[used] - (np.cumsum(counts) - counts), counts) + np.arange(
            counts.sum()
        )
        room = 2 * (len(kept) + more)
        for name in ("_from", "_to", "_district", "_sector"):
            old = getattr(self, name)
            new = np.zeros(max(room, len(old)), old.dtype)
            new[: len(kept)] = old[kept]
            setattr(self, name, new)
        self._first[used] = np.cumsum(counts) - counts
        self._spans = len(kept)

    def classify(
        self,
        merchant: np.ndarray,
        occurred_ms: np.ndarray,
        own_district: np.ndarray,
        own_mcc: np.ndarray,
        good: np.ndarray,
    ) -> Classified:
        """District and sector of the good rows; `merchant`: uint64[rows, 2] as `content.hashes`."""
        district, sector = np.zeros(len(good), np.uint32), np.zeros(len(good), np.int8)
        decided = np.zeros(len(good), np.uint8)
        rows = ToPlace(*map(read_only, (merchant, occurred_ms, own_district, own_mcc, good)))
        with self._lock:
            registry = Registered(
                read_only(self._keys),
                read_only(self._first),
                read_only(self._count),
                read_only(self._from),
                read_only(self._to),
                read_only(self._district),
                read_only(self._sector),
            )
            _classify(rows, registry, _mcc_table(), _changes(), district, sector, decided)
            return Classified(district, sector, decided, self.map_version)
