"""The one loop over a record's rows: verdict, ledger row, cell. Each column is read once.

Pure: everything it needs comes in as arrays, everything it changes is named in `book`'s docstring.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types

from contracts.entries.kernel_types import (
    IDS,
    INT8,
    INT16,
    INT64,
    UINT8,
    UINT32,
    UINT64,
    group,
    kernel,
)
from services.metrics.cells import CARRY_AT, CELL_COLUMNS, SECTOR_NUMBERS, cell_key, cell_place
from services.metrics.ledger import LEDGER_COLUMNS
from services.metrics.seen import (
    CONFLICT,
    DUPLICATE,
    FRESH,
    REDELIVERED,
    REMEMBERED,
    Id,
    exact_add,
    exact_find,
    filter_add,
)


class RecordColumns(NamedTuple):
    """The judged columns of a record of `entries.v1`, named as there; `receipt` and `platform` as codes."""

    id: np.ndarray
    content: np.ndarray
    receipt: np.ndarray
    row: np.ndarray
    occurred_at: np.ndarray
    kind: np.ndarray
    amount_fen: np.ndarray
    district: np.ndarray
    sector: np.ndarray
    platform: np.ndarray
    merchant: np.ndarray
    classified_by: np.ndarray
    map_version: np.ndarray


class Place(NamedTuple):
    """Where a record is booked, and what its codes stand for."""

    receipt_lows: np.ndarray
    """uint64: of each receipt code the receipt's first half."""
    platform_numbers: np.ndarray
    """int32: of each platform code this worker's number of it."""
    district_numbers: np.ndarray
    """uint8[10,000]: of a code's last four digits its number."""
    canary: int
    """Number of the platform that is in no figure; -1: none."""
    day_number: int
    """The recorded day, as the block numbers its days."""
    flush: int
    written: int
    """Rows that the ledger's buffer holds already."""
    remembered: int
    """Ids that the young generation holds already."""


class Booked(NamedTuple):
    """Results of booking one record."""

    verdicts: np.ndarray
    """uint8[rows]."""
    receipts: np.ndarray
    """uint32[receipts of the record]: rows booked of each."""
    changes: np.ndarray
    """int64[districts, 128, 2]: net fen and entries by sector."""
    totals: np.ndarray
    """int64[2]: net fen, entries."""


RECORD_COLUMNS = group(
    RecordColumns,
    IDS,
    UINT64,
    INT16,
    UINT32,
    INT64,
    INT8,
    INT64,
    UINT32,
    INT8,
    INT16,
    UINT64,
    UINT8,
    UINT32,
)
PLACE = group(
    Place,
    types.uint64[::1],
    types.int32[::1],
    types.uint8[::1],
    *[types.int64] * 5,
)
BOOKED = group(
    Booked, types.uint8[::1], types.uint32[::1], types.int64[:, :, ::1], types.int64[::1]
)


@njit(inline="always")
def _verdict(known, first, record, i, receipt_low):
    """The verdict on a row whose id was booked before, at place `first` of `known`."""
    if known.receipt_low[first] == receipt_low and known.receipt_row[first] == record.row[i]:
        return REDELIVERED
    return DUPLICATE if known.content[first] == record.content[i] else CONFLICT


@kernel(
    types.int64(
        RECORD_COLUMNS,
        PLACE,
        types.uint64,
        REMEMBERED,
        REMEMBERED,
        types.uint32[:, ::1],
        types.Tuple((CELL_COLUMNS, LEDGER_COLUMNS)),
        BOOKED,
    )
)
def book(record, place, spread, young, old, filter_words, books, booked):
    """Sorts and books the rows of one record; how many are fresh.

    Reads `record` (RecordColumns of n rows, of which `yumai.bookable` finds no fault), `place`, and the ids of
    the `young` and the `old` generation. Changes: the young one and the filter (a fresh id each), `books` (the
    block's cells, the ledger's buffer from `place.written` on), and `booked`. The rows of the canary are booked,
    and are in neither `changes` nor `totals`.
    """
    cells, ledger = books
    at = place.written
    count = place.remembered
    for i in range(record.id.shape[0]):
        low = record.id[i, 0]
        high = record.id[i, 1]
        receipt_low = place.receipt_lows[record.receipt[i]]
        whose = place.platform_numbers[record.platform[i]]
        id_ = Id(low, high, whose)
        first = exact_find(spread, young, id_)
        if first >= 0:
            booked.verdicts[i] = _verdict(young, first, record, i, receipt_low)
            continue
        first = exact_find(spread, old, id_)
        if first >= 0:
            booked.verdicts[i] = _verdict(old, first, record, i, receipt_low)
            continue
        booked.verdicts[i] = FRESH
        exact_add(spread, young, count, id_, record.content[i], receipt_low, record.row[i])
        count += 1
        filter_add(filter_words, high)

        number = place.district_numbers[record.district[i] % np.uint32(10_000)]
        hour = record.occurred_at[i] // 3_600_000
        key = cell_key(hour, number, SECTOR_NUMBERS[record.sector[i]], place.day_number, whose)
        cell = cell_place(cells.slots, cells.keys, cells.counts[0], key)
        if cell == cells.counts[0]:
            cells.counts[0] += 1
            cells.keys[cell] = key
            cells.entries[cell] = 0
            cells.sales[cell] = 0
            cells.carry[cell] = 0
            cells.flushed[cell] = 0
            cells.beside[cell] = 0
        if cells.flushed[cell] != place.flush:
            cells.flushed[cell] = place.flush
            cells.touched[cells.counts[2]] = cell
            cells.counts[2] += 1
        cells.entries[cell] += 1
        value = record.amount_fen[i]
        what = record.kind[i]
        if what == 1:
            cells.sales[cell] += value
            if cells.sales[cell] >= CARRY_AT:
                cells.sales[cell] -= CARRY_AT
                cells.carry[cell] += np.uint16(1)
        else:
            beside = cells.beside[cell]
            if beside == 0:
                beside = np.uint32(cells.counts[1])
                cells.beside[cell] = beside
                cells.counts[1] += 1
                cells.others[beside, :] = 0
            cells.others[beside, what - 2] += value
            if cells.others[beside, what - 2] >= CARRY_AT:
                cells.others[beside, what - 2] -= CARRY_AT
                cells.others[beside, what + 1] += 1
            if what != 4:
                value = -value
        if whose != place.canary:
            booked.changes[number, record.sector[i], 0] += value
            booked.changes[number, record.sector[i], 1] += 1
            booked.totals[0] += value
            booked.totals[1] += 1
        booked.receipts[record.receipt[i]] += 1

        ledger.id[at, 0] = low
        ledger.id[at, 1] = high
        ledger.content[at] = record.content[i]
        ledger.receipt_low[at] = receipt_low
        ledger.receipt_row[at] = record.row[i]
        ledger.occurred_at[at] = record.occurred_at[i]
        ledger.kind[at] = what
        ledger.amount_fen[at] = record.amount_fen[i]
        ledger.district[at] = record.district[i]
        ledger.sector[at] = record.sector[i]
        ledger.platform[at] = whose
        ledger.merchant[at] = record.merchant[i]
        ledger.classified_by[at] = record.classified_by[i]
        ledger.map_version[at] = record.map_version[i]
        ledger.row[at] = i
        at += 1
    return at - place.written
