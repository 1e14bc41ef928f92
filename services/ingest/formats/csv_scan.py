"""Cutting CSV into records and fields, compiled, without the GIL. Pure.

RFC 4180. A quote that is never closed, or closed in the middle of a field, spoils its own line
only: reading goes on with the next line.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

from contracts.entries.kernel_types import BYTES, group, kernel
from services.ingest.kernels import is_utf8

GOOD, NOT_CSV, FIELD_COUNT, NOT_UTF8 = 0, 1, 2, 3
QUOTED_MAX_BYTES = 1024 * 1024
"""A quoted field that goes on for longer counts as never closed."""


class Records(NamedTuple):
    """Room for records: their spans without line end, and what is wrong with each."""

    start: np.ndarray
    end: np.ndarray
    state: np.ndarray


class Fields(NamedTuple):
    """Room for fields, [column, row]. `doubled`: it has doubled quotes inside."""

    start: np.ndarray
    size: np.ndarray
    doubled: np.ndarray


RECORDS = group(Records, types.int64[::1], types.int64[::1], types.uint8[::1])
FIELDS = group(Fields, types.int64[:, ::1], types.int32[:, ::1], types.uint8[:, ::1])


@kernel(
    types.UniTuple(types.int64, 2)(
        BYTES,
        types.int64,
        types.int64,
        RECORDS,
        FIELDS,
    )
)
def scan(data, at, most, records, fields):
    """Records from `at` on: their spans without line end, records.state, and fields ([column, row]).

    `doubled` marks a field that has doubled quotes inside. Returns the number of records, `most` or
    fewer, and where the next begins. Where the columns have room for one row only, records are just
    counted.
    """
    columns = len(fields.start)
    size = len(data)
    count = 0
    fill = len(records.state) > 1
    p = at
    while p < size and count < most:
        line = p
        while line < size and data[line] != 10:
            line += 1
        # Where the first line ends, and whether there is anything in it.
        stop = line - 1 if line > p and data[line - 1] == 13 else line
        q = p
        while q < stop and (data[q] == 32 or data[q] == 9 or data[q] == 13):
            q += 1
        if q == stop:
            p = line + 1
            continue
        found = 0
        q = p
        good = True
        end = stop
        after = line + 1
        while True:
            begin = q
            has_doubled = np.uint8(0)
            if q < size and data[q] == 34:
                begin = q + 1
                q = begin
                closed = False
                while q < size and q - begin < QUOTED_MAX_BYTES:
                    if data[q] == 34:
                        if q + 1 < size and data[q + 1] == 34:
                            has_doubled = np.uint8(1)
                            q += 2
                            continue
                        closed = True
                        break
                    q += 1
                last = q
                q += 1
                if not closed:
                    good = False
                    break
                if q + 1 < size and data[q] == 13 and data[q + 1] == 10:
                    end = q
                    q += 1
                    ended = True
                elif q < size and data[q] == 44:
                    ended = False
                elif q >= size or data[q] == 10:
                    end = min(q, size)
                    ended = True
                else:
                    good = False
                    break
            else:
                while q < size and data[q] != 44 and data[q] != 10:
                    q += 1
                ended = q >= size or data[q] == 10
                last = q
                if ended and last > begin and data[last - 1] == 13:
                    last -= 1
                if ended:
                    end = last
            if fill and found < columns:
                fields.start[found, count] = begin
                # An empty field is null.
                fields.size[found, count] = last - begin if last > begin else -1
                fields.doubled[found, count] = has_doubled
            found += 1
            if ended:
                after = q + 1
                break
            q += 1
        if not good:
            end = stop
            after = line + 1
        if not fill:
            count += 1
            p = after
            continue
        if not good:
            records.state[count] = NOT_CSV
        elif found != columns:
            records.state[count] = FIELD_COUNT
        else:
            records.state[count] = GOOD
        if not is_utf8(data, p, end):
            records.state[count] = NOT_UTF8
        if records.state[count] != GOOD:
            for c in range(columns):
                fields.size[c, count] = -1
                fields.doubled[c, count] = 0
        records.start[count] = p
        records.end[count] = end
        count += 1
        p = after
    return count, p
