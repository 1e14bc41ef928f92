"""The one loop over a record's rows: verdict, ledger row, cell. Each column is read once.

Pure: everything it needs comes in as arrays, everything it changes is named in `book`'s docstring.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from services.metrics.cells import CARRY_AT, SECTOR_NUMBERS, cell_key, cell_place
from services.metrics.seen import (
    CONFLICT,
    DUPLICATE,
    FRESH,
    REDELIVERED,
    exact_add,
    exact_find,
    filter_add,
)

_R1 = "Array({}, 1, 'C', readonly=True)"
_RECORD = ", ".join(
    [
        "Array(uint64, 2, 'C', readonly=True)",  # ids
        _R1.format("uint64"),  # content
        _R1.format("int16"),  # receipt codes
        _R1.format("uint32"),  # receipt row
        _R1.format("int64"),  # occurred_at
        _R1.format("int8"),  # kind
        _R1.format("int64"),  # amount_fen
        _R1.format("uint32"),  # district
        _R1.format("int8"),  # sector
        _R1.format("int16"),  # platform codes
        _R1.format("uint64"),  # merchant
        _R1.format("uint8"),  # classified_by
        _R1.format("uint32"),  # map_version
    ]
)
_LOOKUPS = "uint64[::1], int32[::1], uint8[::1]"  # receipt lows, platform numbers, district numbers
_GENERATION = "uint32[::1], uint64[:, ::1], int32[::1], uint64[::1], uint64[::1], uint32[::1]"
_CELLS = (
    "uint32[::1], uint64[::1], uint32[::1], int64[::1], uint16[::1], uint32[::1], uint32[::1],"
    " int64[:, ::1], uint32[::1], int64[::1]"
)
_LEDGER = (
    "uint64[:, ::1], uint64[::1], uint64[::1], uint32[::1], int64[::1], int8[::1], int64[::1],"
    " uint32[::1], int8[::1], int32[::1], uint64[::1], uint8[::1], uint32[::1], uint16[::1]"
)


@njit(
    f"int64({_RECORD}, {_LOOKUPS}, int32, int64, uint32,"
    f" uint64, {_GENERATION}, int64, {_GENERATION}, uint32[:, ::1],"
    f" {_CELLS}, {_LEDGER}, int64, uint8[::1], uint32[::1], int64[:, :, ::1], int64[::1])",
    nogil=True,
    cache=True,
)
def book(
    ids, content, receipt, row, occurred_at, kind, amount, district, sector, platform, merchant,
    classified_by, map_version,
    receipt_lows, platform_numbers, district_numbers, canary, day_number, flush,
    spread, young_index, young_ids, young_platforms, young_content, young_receipt, young_row,
    young_count, old_index, old_ids, old_platforms, old_content, old_receipt, old_row,
    filter_words,
    cell_index, cell_keys, cell_entries, cell_sales, cell_carry, cell_flushed, cell_beside,
    cell_others, cell_touched, cell_counts,
    led_id, led_content, led_receipt, led_row, led_occurred, led_kind, led_amount, led_district,
    led_sector, led_platform, led_merchant, led_classified, led_map, led_position,
    written, verdicts, receipt_booked, changes, totals,
):  # fmt: skip
    """Sorts and books the rows of one record; how many are fresh.

    Reads the record's columns (n rows, of which `yumai.bookable` finds no fault) and the lookups. Changes: the young generation and the
    filter (a fresh id each), the block's cells, the ledger buffer from `written` on, `verdicts`
    uint8[n], `receipt_booked` uint32[receipts of the record], `changes` int64[districts, 128, 2]
    (net fen and entries by sector), `totals` int64[2] (net fen, entries). The rows of the platform
    numbered `canary` (-1: none) are booked, and are in neither `changes` nor `totals`.
    """
    at = written
    count = young_count
    for i in range(ids.shape[0]):
        low = ids[i, 0]
        high = ids[i, 1]
        receipt_low = receipt_lows[receipt[i]]
        whose = platform_numbers[platform[i]]
        place = exact_find(spread, young_index, young_ids, young_platforms, low, high, whose)
        if place >= 0:
            if young_receipt[place] == receipt_low and young_row[place] == row[i]:
                verdicts[i] = REDELIVERED
            elif young_content[place] == content[i]:
                verdicts[i] = DUPLICATE
            else:
                verdicts[i] = CONFLICT
            continue
        place = exact_find(spread, old_index, old_ids, old_platforms, low, high, whose)
        if place >= 0:
            if old_receipt[place] == receipt_low and old_row[place] == row[i]:
                verdicts[i] = REDELIVERED
            elif old_content[place] == content[i]:
                verdicts[i] = DUPLICATE
            else:
                verdicts[i] = CONFLICT
            continue
        verdicts[i] = FRESH
        exact_add(
            spread, young_index, young_ids, young_platforms, young_content, young_receipt,
            young_row, count, low, high, whose, content[i], receipt_low, row[i],
        )  # fmt: skip
        count += 1
        filter_add(filter_words, high)

        number = district_numbers[district[i] % np.uint32(10_000)]
        hour = occurred_at[i] // 3_600_000
        key = cell_key(hour, number, SECTOR_NUMBERS[sector[i]], day_number, whose)
        cell = cell_place(cell_index, cell_keys, cell_counts[0], key)
        if cell == cell_counts[0]:
            cell_counts[0] += 1
            cell_keys[cell] = key
            cell_entries[cell] = 0
            cell_sales[cell] = 0
            cell_carry[cell] = 0
            cell_flushed[cell] = 0
            cell_beside[cell] = 0
        if cell_flushed[cell] != flush:
            cell_flushed[cell] = flush
            cell_touched[cell_counts[2]] = cell
            cell_counts[2] += 1
        cell_entries[cell] += 1
        value = amount[i]
        what = kind[i]
        if what == 1:
            cell_sales[cell] += value
            if cell_sales[cell] >= CARRY_AT:
                cell_sales[cell] -= CARRY_AT
                cell_carry[cell] += np.uint16(1)
        else:
            beside = cell_beside[cell]
            if beside == 0:
                beside = np.uint32(cell_counts[1])
                cell_beside[cell] = beside
                cell_counts[1] += 1
                cell_others[beside, :] = 0
            cell_others[beside, what - 2] += value
            if cell_others[beside, what - 2] >= CARRY_AT:
                cell_others[beside, what - 2] -= CARRY_AT
                cell_others[beside, what + 1] += 1
            if what != 4:
                value = -value
        if whose != canary:
            changes[number, sector[i], 0] += value
            changes[number, sector[i], 1] += 1
            totals[0] += value
            totals[1] += 1
        receipt_booked[receipt[i]] += 1

        led_id[at, 0] = low
        led_id[at, 1] = high
        led_content[at] = content[i]
        led_receipt[at] = receipt_low
        led_row[at] = row[i]
        led_occurred[at] = occurred_at[i]
        led_kind[at] = what
        led_amount[at] = amount[i]
        led_district[at] = district[i]
        led_sector[at] = sector[i]
        led_platform[at] = whose
        led_merchant[at] = merchant[i]
        led_classified[at] = classified_by[i]
        led_map[at] = map_version[i]
        led_position[at] = i
        at += 1
    return at - written
