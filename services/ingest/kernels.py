"""Column kernels that every format needs, compiled ahead (numba), without the GIL. Pure.

All signatures are given, so that nothing compiles while a request waits; `cache=True` keeps the
machine code beside this file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from contracts.entries.kernel_types import BYTES, INT32, INT64, kernel
from services.ingest.columns import INVALID, NULL, Text


@njit(inline="always")
def utf8_width(data, at, end):
    """Bytes of the valid UTF-8 character at `at` (of 2 to 4 bytes), or 0."""
    c = data[at]
    if c < 0xC2 or c > 0xF4:
        return 0
    width = 2 if c < 0xE0 else (3 if c < 0xF0 else 4)
    if at + width > end:
        return 0
    for k in range(1, width):
        if data[at + k] & 0xC0 != 0x80:
            return 0
    second = data[at + 1]
    if (
        (c == 0xE0 and second < 0xA0)
        or (c == 0xED and second > 0x9F)
        or (c == 0xF0 and second < 0x90)
        or (c == 0xF4 and second > 0x8F)
    ):
        return 0
    return width


@kernel(types.boolean(BYTES, types.int64, types.int64))
def is_utf8(data, at, end):
    while at < end:
        if data[at] < 0x80:
            at += 1
        else:
            width = utf8_width(data, at, end)
            if width == 0:
                return False
            at += width
    return True


@kernel(types.void(BYTES, INT64, INT32, types.boolean[::1]))
def _mark_not_utf8(data, start, size, out):
    for i in range(len(start)):
        if size[i] > 0 and not is_utf8(data, start[i], start[i] + size[i]):
            out[i] = True


def not_utf8(text: Text) -> np.ndarray:
    """Which rows are not UTF-8."""
    out = np.zeros(len(text.start), np.bool_)
    _mark_not_utf8(text.data, text.start, text.size, out)
    return out


@njit(inline="always")
def _two(data, at):
    """Two digits as a number, or −1000."""
    a, b = np.int64(data[at]) - 48, np.int64(data[at + 1]) - 48
    return a * 10 + b if 0 <= a <= 9 and 0 <= b <= 9 else np.int64(-1000)


@kernel(types.Tuple((types.boolean, types.int64))(BYTES, types.int64, types.int64))
def instant(data, at, size):
    """(readable, epoch ms) of an RFC 3339 text with offset; more than milliseconds are cut off."""
    if size < 20:
        return False, np.int64(0)
    end = at + size
    century, year2 = _two(data, at), _two(data, at + 2)
    month, day = _two(data, at + 5), _two(data, at + 8)
    hour, minute, second = _two(data, at + 11), _two(data, at + 14), _two(data, at + 17)
    t = data[at + 10]
    if (
        century < 0
        or year2 < 0
        or data[at + 4] != 45
        or data[at + 7] != 45
        or (t != 84 and t != 116 and t != 32)
        or data[at + 13] != 58
        or data[at + 16] != 58
        or not (1 <= month <= 12)
        or not (1 <= day <= 31)
        or not (0 <= hour <= 23)
        or not (0 <= minute <= 59)
        or not (0 <= second <= 59)
    ):
        return False, np.int64(0)
    year = century * 100 + year2
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if month == 2:
        if day > (29 if leap else 28):
            return False, np.int64(0)
    elif day == 31 and (month == 4 or month == 6 or month == 9 or month == 11):
        return False, np.int64(0)
    p = at + 19
    millis = np.int64(0)
    if data[p] == 46:
        p += 1
        digits = 0
        while p < end and 48 <= data[p] <= 57:
            if digits < 3:
                millis = millis * 10 + (np.int64(data[p]) - 48)
            digits += 1
            p += 1
        if digits == 0:
            return False, np.int64(0)
        for _ in range(digits, 3):
            millis *= 10
    if p >= end:
        return False, np.int64(0)
    offset = np.int64(0)
    z = data[p]
    if z == 90 or z == 122:
        p += 1
    elif z == 43 or z == 45:
        if p + 6 > end or data[p + 3] != 58:
            return False, np.int64(0)
        hours, minutes = _two(data, p + 1), _two(data, p + 4)
        if not (0 <= hours <= 23) or not (0 <= minutes <= 59):
            return False, np.int64(0)
        offset = hours * 60 + minutes
        if z == 45:
            offset = -offset
        p += 6
    else:
        return False, np.int64(0)
    if p != end:
        return False, np.int64(0)
    # Days from civil (Hinnant): March is the first month of a shifted year.
    y = year - 1 if month <= 2 else year
    era = y // 400
    yoe = y - era * 400
    doy = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = era * 146_097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719_468
    seconds = ((days * 24 + hour) * 60 + minute - offset) * 60 + second
    return True, seconds * 1000 + millis


@kernel(types.void(BYTES, INT64, INT32, types.int64[::1], types.boolean[::1]))
def _instants(data, start, size, out, readable):
    for i in range(len(start)):
        if size[i] >= 0:
            readable[i], out[i] = instant(data, start[i], np.int64(size[i]))


def instants(text: Text) -> tuple[np.ndarray, np.ndarray]:
    """(epoch ms, readable) of RFC 3339 texts; a null is not readable."""
    out, readable = np.zeros(len(text.start), np.int64), np.zeros(len(text.start), np.bool_)
    _instants(text.data, text.start, text.size, out, readable)
    return out, readable


INTEGER, NOT_INTEGER, TOO_BIG = 0, 1, 2


@kernel(types.Tuple((types.int64, types.int64))(BYTES, types.int64, types.int64))
def integer(data, at, size):
    """(state, value) of decimal digits with an optional minus; beyond Int64 it is TOO_BIG."""
    end = at + size
    negative = size > 0 and data[at] == 45
    p = at + 1 if negative else at
    if p >= end:
        return NOT_INTEGER, np.int64(0)
    value = np.int64(0)
    big = False
    while p < end:
        digit = np.int64(data[p]) - 48
        if digit < 0 or digit > 9:
            return NOT_INTEGER, np.int64(0)
        if value > 922_337_203_685_477_579:
            big = True
        else:
            value = value * 10 + digit
        p += 1
    if big:
        return TOO_BIG, np.int64(0)
    return INTEGER, -value if negative else value


@kernel(types.void(BYTES, INT64, INT32, types.int64[::1], types.uint8[::1]))
def _integers(data, start, size, out, state):
    for i in range(len(start)):
        if size[i] >= 0:
            s, out[i] = integer(data, start[i], np.int64(size[i]))
            state[i] = s


def integers(text: Text) -> tuple[np.ndarray, np.ndarray]:
    """(values, states) of integers written as text."""
    out, state = np.zeros(len(text.start), np.int64), np.zeros(len(text.start), np.uint8)
    _integers(text.data, text.start, text.size, out, state)
    return out, state


@kernel(types.void(BYTES, INT64, INT32, types.int64, types.int32[::1]))
def _digits(data, start, size, width, out):
    for i in range(len(start)):
        if size[i] < 0:
            out[i] = NULL
            continue
        value = np.int32(INVALID)
        if size[i] == width:
            value = np.int32(0)
            for k in range(width):
                digit = np.int32(data[start[i] + k]) - 48
                if digit < 0 or digit > 9:
                    value = np.int32(INVALID)
                    break
                value = np.int32(value * 10 + digit)
        out[i] = value


def codes_of_digits(text: Text, width: int) -> np.ndarray:
    """Codes of exactly `width` digits as numbers; NULL, INVALID."""
    out = np.empty(len(text.start), np.int32)
    _digits(text.data, text.start, text.size, width, out)
    return out


@kernel(types.void(BYTES, INT64, INT32, BYTES, INT64, types.int8[::1]))
def _words(data, start, size, words, bounds, out):
    count = len(bounds) - 1
    for i in range(len(start)):
        if size[i] < 0:
            out[i] = NULL
            continue
        found = np.int8(INVALID)
        for w in range(count):
            width = bounds[w + 1] - bounds[w]
            if width != size[i]:
                continue
            same = True
            for k in range(width):
                if data[start[i] + k] != words[bounds[w] + k]:
                    same = False
                    break
            if same:
                found = np.int8(w + 1)
                break
        out[i] = found


def codes_of_words(text: Text, words: dict[str, int]) -> np.ndarray:
    """Numbers 1… of the words (in the dict's order); NULL, INVALID."""
    assert list(words.values()) == list(range(1, len(words) + 1))
    data = np.frombuffer("".join(words).encode(), np.uint8)
    bounds = np.cumsum([0, *(len(word) for word in words)]).astype(np.int64)
    out = np.empty(len(text.start), np.int8)
    _words(text.data, text.start, text.size, data, bounds, out)
    return out


@kernel(types.int64(BYTES, INT64, INT32, types.int32[::1], types.int64[::1]))
def _distinct(data, start, size, codes, firsts):
    """Numbers equal texts alike; `firsts` has room for all rows. Null is −1."""
    rows = len(start)
    capacity = 16
    while capacity < 2 * rows + 2:
        capacity *= 2
    table = np.full(min(capacity, 1024), -1, np.int32)
    count = 0
    last: Any = np.int32(-1)
    for i in range(rows):
        if size[i] < 0:
            codes[i] = -1
            continue
        if last >= 0:
            j = firsts[last]
            if size[j] == size[i]:
                same = True
                for k in range(size[i]):
                    if data[start[i] + k] != data[start[j] + k]:
                        same = False
                        break
                if same:
                    codes[i] = last
                    continue
        if 2 * count >= len(table):
            bigger = np.full(len(table) * 4, -1, np.int32)
            for c in range(count):
                f = firsts[c]
                h = np.uint64(14695981039346656037)
                for k in range(size[f]):
                    h = (h ^ np.uint64(data[start[f] + k])) * np.uint64(1099511628211)
                slot = np.int64((h ^ (h >> np.uint64(32))) & np.uint64(len(bigger) - 1))
                while bigger[slot] >= 0:
                    slot = (slot + 1) & (len(bigger) - 1)
                bigger[slot] = c
            table = bigger
        h = np.uint64(14695981039346656037)
        for k in range(size[i]):
            h = (h ^ np.uint64(data[start[i] + k])) * np.uint64(1099511628211)
        slot = np.int64((h ^ (h >> np.uint64(32))) & np.uint64(len(table) - 1))
        while True:
            c = table[slot]
            if c < 0:
                table[slot] = count
                firsts[count] = i
                c = np.int32(count)  # type: ignore[assignment]
                count += 1
                break
            j = firsts[c]
            same = size[j] == size[i]
            if same:
                for k in range(size[i]):
                    if data[start[i] + k] != data[start[j] + k]:
                        same = False
                        break
            if same:
                break
            slot = (slot + 1) & (len(table) - 1)
        codes[i] = c
        last = c
    return count


def distinct(text: Text) -> tuple[np.ndarray, list[bytes]]:
    """(codes, the distinct texts): equal texts have one code; null is −1."""
    codes = np.empty(len(text.start), np.int32)
    firsts = np.empty(len(text.start) + 1, np.int64)
    count = _distinct(text.data, text.start, text.size, codes, firsts)
    return codes, [text.at(int(row)) for row in firsts[:count]]


@kernel(types.void(BYTES, INT64, INT64, types.uint8[::1]))
def _gather(data, start, offsets, out):
    for i in range(len(start)):
        size = offsets[i + 1] - offsets[i]
        out[offsets[i] : offsets[i + 1]] = data[start[i] : start[i] + size]


def gather(text: Text, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bytes, int64 offsets) of the texts in that order, side by side. A null is empty."""
    offsets = np.zeros(len(order) + 1, np.int64)
    np.cumsum(np.maximum(text.size[order], 0), out=offsets[1:])
    out = np.empty(int(offsets[-1]), np.uint8)
    _gather(text.data, text.start[order], offsets, out)
    return out, offsets
