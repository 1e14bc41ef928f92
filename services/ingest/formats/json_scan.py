"""The quick reading of JSON rows: flat objects of known fields, compiled, without the GIL. Pure.

What is unusual (an escape, an unknown field, a float, nesting) is not judged here: the row is left
to `json_rows`, which reads it with msgspec and says exactly what is wrong, or that nothing is.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

from contracts.entries.kernel_types import BYTES, INT64, kernel
from services.ingest.columns import FIELDS, NULL
from services.ingest.kernels import instant, utf8_width

_KEYS = np.frombuffer("".join(FIELDS).encode(), np.uint8)
_BOUNDS = np.cumsum([0, *(len(name) for name in FIELDS)]).astype(np.int64)
_COUNT = len(FIELDS)
_OCCURRED, _AMOUNT, _TAGS, _SUBSIDY = 3, 5, 10, 12
_LAST_REQUIRED = 6

NUMBERS = {"occurred_at": 0, "amount_fen": 1, "subsidy_fen": 2}
"""Rows of `numbers` and `number_state`."""
NONE = np.empty(0, np.int64)
"""Given to `lines` and `elements` where they shall only count."""
SAID, MISSING, UNREADABLE_TIME = 0, 1, 2
QUICK, SLOW = 0, 1


@njit(inline="always")
def _blank(data, at, end):
    while at < end and (data[at] == 32 or data[at] == 9 or data[at] == 10 or data[at] == 13):
        at += 1
    return at


@njit(inline="always")
def _text_end(data, at, end):
    """Where the plain text beginning at `at` has its closing quote, or −1."""
    while at < end:
        c = data[at]
        if c == 34:
            return at
        if c < 32 or c == 92:
            return -1
        if c < 128:
            at += 1
        else:
            width = utf8_width(data, at, end)
            if width == 0:
                return -1
            at += width
    return -1


@njit(inline="always")
def _is_key(data, at, size, f):
    begin = _BOUNDS[f]
    if _BOUNDS[f + 1] - begin != size:
        return False
    for k in range(size):  # noqa: SIM110
        if data[at + k] != _KEYS[begin + k]:
            return False
    return True


@njit(inline="always")
def _array_end(data, at, end):
    """One past an array of plain texts that begins at `at` (a bracket), or −1."""
    p = _blank(data, at + 1, end)
    if p < end and data[p] == 93:
        return p + 1
    while p < end:
        if data[p] != 34:
            return -1
        p = _text_end(data, p + 1, end)
        if p < 0:
            return -1
        p = _blank(data, p + 1, end)
        if p >= end:
            return -1
        if data[p] == 93:
            return p + 1
        if data[p] != 44:
            return -1
        p = _blank(data, p + 1, end)
    return -1


@kernel(
    types.void(
        BYTES,
        INT64,
        INT64,
        types.int64[:, ::1],
        types.int32[:, ::1],
        types.int64[:, ::1],
        types.uint8[:, ::1],
        types.uint8[::1],
    )
)
def scan(data, row_start, row_end, starts, sizes, numbers, number_state, pace):
    """Fills a row's spans (starts, sizes: [field, row]) and numbers; `pace` says QUICK or SLOW.

    `scene_tags` is the span of the whole array.
    """
    order = np.zeros(_COUNT, np.int64)
    for i in range(_COUNT):
        order[i] = i
    for i in range(len(row_start)):
        pace[i] = SLOW
        for f in range(_COUNT):
            sizes[f, i] = NULL
        number_state[0, i] = MISSING
        number_state[1, i] = MISSING
        number_state[2, i] = MISSING
        end = row_end[i]
        p = _blank(data, row_start[i], end)
        if p >= end or data[p] != 123:
            continue
        seen = 0
        nth = 0
        good = False
        p = _blank(data, p + 1, end)
        while p < end:
            if data[p] != 34:
                break
            begin = p + 1
            p = begin
            while p < end and data[p] != 34 and data[p] > 32 and data[p] < 127:
                p += 1
            if p >= end or data[p] != 34:
                break
            size = p - begin
            # Senders write their fields in one order: try the one that stood here before.
            f = order[nth] if nth < _COUNT else 0
            if not _is_key(data, begin, size, f):
                f = -1
                for g in range(_COUNT):
                    if _is_key(data, begin, size, g):
                        f = g
                        break
                if f < 0:
                    break
                if nth < _COUNT:
                    order[nth] = f
            nth += 1
            if seen & (1 << f):
                break
            seen |= 1 << f
            p = _blank(data, p + 1, end)
            if p >= end or data[p] != 58:
                break
            p = _blank(data, p + 1, end)
            if p >= end:
                break
            c = data[p]
            if c == 34:
                if f == _AMOUNT or f == _SUBSIDY or f == _TAGS:  # noqa: SIM109
                    break
                begin = p + 1
                p = _text_end(data, begin, end)
                if p < 0:
                    break
                if f == _OCCURRED:
                    readable, numbers[0, i] = instant(data, begin, p - begin)
                    number_state[0, i] = SAID if readable else UNREADABLE_TIME
                else:
                    starts[f, i] = begin
                    sizes[f, i] = p - begin
                p += 1
            elif c == 45 or 48 <= c <= 57:
                if f != _OCCURRED and f != _AMOUNT and f != _SUBSIDY:
                    break
                negative = c == 45
                if negative:
                    p += 1
                begin = p
                value = np.int64(0)
                while p < end and 48 <= data[p] <= 57:
                    value = value * 10 + (np.int64(data[p]) - 48)
                    p += 1
                size = p - begin
                if size == 0 or size > 18 or (size > 1 and data[begin] == 48):
                    break
                n = 0 if f == _OCCURRED else (1 if f == _AMOUNT else 2)
                numbers[n, i] = -value if negative else value
                number_state[n, i] = SAID
            elif c == 110:
                if f < _LAST_REQUIRED or p + 4 > end:
                    break
                if data[p + 1] != 117 or data[p + 2] != 108 or data[p + 3] != 108:
                    break
                p += 4
            elif c == 91 and f == _TAGS:
                begin = p
                p = _array_end(data, begin, end)
                if p < 0:
                    break
                starts[f, i] = begin
                sizes[f, i] = p - begin
            else:
                break
            p = _blank(data, p, end)
            if p >= end:
                break
            if data[p] == 125:
                good = _blank(data, p + 1, end) == end
                break
            if data[p] != 44:
                break
            p = _blank(data, p + 1, end)
        # A row without a required field is left to the slow reading too: it is rare.
        if good and seen & 63 == 63:
            pace[i] = QUICK


@kernel(types.int64(BYTES, types.int64[::1], types.int64[::1]))
def lines(data, start, end):
    """Spans of the non-empty lines, without line end and outer blanks; their number.

    Spans beyond the room of `start` and `end` are only counted.
    """
    count = 0
    size = len(data)
    p = 0
    while p < size:
        q = p
        while q < size and data[q] != 10:
            q += 1
        a, b = p, q
        # The row keeps its own blanks; only a CR of the line end goes.
        if b > a and data[b - 1] == 13:
            b -= 1
        while a < b and (data[a] == 32 or data[a] == 9 or data[a] == 13):
            a += 1
        if a < b:
            if count < len(start):
                start[count] = p
                end[count] = b
            count += 1
        p = q + 1
    return count


@kernel(types.int64(BYTES, types.int64[::1], types.int64[::1]))
def elements(data, start, end):
    """Spans of the elements of a JSON array known to be valid as a whole; their number.

    Spans beyond the room of `start` and `end` are only counted.
    """
    count = 0
    size = len(data)
    p = _blank(data, 0, size) + 1
    depth = 0
    begin = -1
    last = p
    while p < size:
        c = data[p]
        if c == 34:
            if begin < 0:
                begin = p
            p += 1
            while p < size and data[p] != 34:
                p += 2 if data[p] == 92 else 1
            last = p + 1
        elif depth == 0 and (c == 44 or c == 93):
            if begin >= 0:
                if count < len(start):
                    start[count] = begin
                    end[count] = last
                count += 1
            begin = -1
            if c == 93:
                return count
        elif not (c == 32 or c == 9 or c == 10 or c == 13):
            if begin < 0:
                begin = p
            if c == 91 or c == 123:
                depth += 1
            elif c == 93 or c == 125:
                depth -= 1
            last = p + 1
        p += 1
    return count


@njit(inline="always")
def _hex(c):
    """The value of a hexadecimal digit, or −1."""
    if 48 <= c <= 57:
        return np.int64(c) - 48
    if 65 <= c <= 70 or 97 <= c <= 102:
        return (np.int64(c) | 32) - 87
    return np.int64(-1)


@kernel(types.void(types.uint8[::1]))
def blank_surrogates(data):
    """Overwrites \\ud800 to \\udfff, wherever they stand, by \\u0020."""
    for p in range(len(data) - 5):
        if data[p] != 92 or data[p + 1] != 117 or _hex(data[p + 2]) != 13:
            continue
        if _hex(data[p + 3]) >= 8 and _hex(data[p + 4]) >= 0 and _hex(data[p + 5]) >= 0:
            data[p + 2] = data[p + 3] = data[p + 5] = 48
            data[p + 4] = 50
