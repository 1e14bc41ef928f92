"""The one validation: which rows are refused, each for its first reason in contract order. Pure.

The formats note what only they can see (not JSON, a wrong type) as flaws; everything that depends
on a value is judged here, for all formats alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from numba import njit, types

from services.ingest.columns import CODE, NO_FLAW, NULL, NUMBER, Columns, Text
from services.ingest.kernels import BOOL, BYTES, INT32, INT64, UINT8, distinct
from yumai import canary
from yumai.districts import districts
from yumai.entry import AGE_MAX_YEARS, AMOUNT_MAX_FEN, FUTURE_TOLERANCE_MS, TEXT_MAX
from yumai.platforms import is_platform_id

ANY_PLATFORM = -2
"""The bureau may send any platform's rows."""

_ENTRY, _PLATFORM, _MERCHANT = NUMBER["entry_id"], NUMBER["platform_id"], NUMBER["merchant_id"]
_OCCURRED, _KIND, _AMOUNT = NUMBER["occurred_at"], NUMBER["kind"], NUMBER["amount_fen"]
_REFERS, _DISTRICT, _MCC = NUMBER["refers_to"], NUMBER["district_code"], NUMBER["mcc"]
_CHANNEL, _PROGRAM, _SUBSIDY = NUMBER["channel"], NUMBER["program_id"], NUMBER["subsidy_fen"]
_MISSING, _INVALID, _RANGE = CODE["missing_field"], CODE["invalid_value"], CODE["out_of_range"]
_LONG, _FUTURE, _OLD = CODE["too_long"], CODE["in_future"], CODE["too_old"]
_NO_DISTRICT, _MISMATCH = CODE["unknown_district"], CODE["platform_mismatch"]
_RESERVED_NAME = CODE["reserved_name"]

_AS_ALLOWED, _NOT_ALLOWED, _RESERVED = 0, 1, 2


@njit(types.int64(BYTES, types.int64, types.int64), nogil=True, cache=True)
def _text_fault(data, at, size):
    """Code of what is wrong with an id's text, or 0. Characters are code points."""
    if size < 0:
        return _MISSING
    if size == 0:
        return _INVALID
    characters = 0
    for k in range(at, at + size):
        if data[k] & 0xC0 != 0x80:
            characters += 1
    return _LONG if characters > TEXT_MAX else 0


_TEXT = (BYTES, INT64, INT32)
_NUMBERS = (INT64, BOOL)


@njit(
    types.void(
        *_TEXT,
        INT32,
        UINT8,
        INT32,
        INT64,
        *_TEXT,
        *_NUMBERS,
        types.Array(types.int8, 1, "C", readonly=True),
        *_NUMBERS,
        *_TEXT,
        INT32,
        BOOL,
        INT32,
        types.Array(types.int8, 1, "C", readonly=True),
        *_TEXT,
        *_NUMBERS,
        types.int64,
        types.int64,
        types.uint8[::1],
        types.uint8[::1],
    ),
    nogil=True,
    cache=True,
)
def _judge(
    entry_data,
    entry_start,
    entry_size,
    platform,
    platform_state,
    request,
    allowed,
    merchant_data,
    merchant_start,
    merchant_size,
    occurred_ms,
    occurred_null,
    kind,
    amount,
    amount_null,
    refers_data,
    refers_start,
    refers_size,
    district,
    known_district,
    mcc,
    channel,
    program_data,
    program_start,
    program_size,
    subsidy,
    subsidy_null,
    newest_ms,
    oldest_ms,
    flaw_field,
    flaw_code,
):
    for i in range(len(flaw_field)):
        # What the format noted stands unless an earlier field is wrong too.
        limit = np.int64(flaw_field[i])
        field = 0
        code: Any = np.int64(0)
        if limit > _ENTRY:
            code = _text_fault(entry_data, entry_start[i], np.int64(entry_size[i]))
            field = _ENTRY
        if code == 0 and limit > _PLATFORM:
            field = _PLATFORM
            p = platform[i]
            if p < 0:
                code = _MISSING
            elif platform_state[p] == _NOT_ALLOWED:
                code = _INVALID
            elif platform_state[p] == _RESERVED and allowed[request[i]] == ANY_PLATFORM:
                # It would be in no figure: only its own key sends it, to be found again.
                code = _RESERVED_NAME
            elif allowed[request[i]] != ANY_PLATFORM and allowed[request[i]] != p:
                code = _MISMATCH
        if code == 0 and limit > _MERCHANT:
            field = _MERCHANT
            code = _text_fault(merchant_data, merchant_start[i], np.int64(merchant_size[i]))
        if code == 0 and limit > _OCCURRED:
            field = _OCCURRED
            if occurred_null[i]:
                code = _MISSING
            elif occurred_ms[i] > newest_ms:
                code = _FUTURE
            elif occurred_ms[i] < oldest_ms:
                code = _OLD
        if code == 0 and limit > _KIND:
            field = _KIND
            if kind[i] < 0:
                code = _MISSING if kind[i] == NULL else _INVALID
        if code == 0 and limit > _AMOUNT:
            field = _AMOUNT
            if amount_null[i]:
                code = _MISSING
            elif amount[i] < 1 or amount[i] > AMOUNT_MAX_FEN:
                code = _RANGE
        if code == 0 and limit > _REFERS and refers_size[i] >= 0:
            field = _REFERS
            code = _text_fault(refers_data, refers_start[i], np.int64(refers_size[i]))
        if code == 0 and limit > _DISTRICT and district[i] != NULL:
            field = _DISTRICT
            if district[i] < 0:
                code = _INVALID
            elif not known_district[district[i]]:
                code = _NO_DISTRICT
        if code == 0 and limit > _MCC and mcc[i] < NULL:
            field = _MCC
            code = _INVALID
        if code == 0 and limit > _CHANNEL and channel[i] < NULL:
            field = _CHANNEL
            code = _INVALID
        if code == 0 and limit > _PROGRAM and program_size[i] >= 0:
            field = _PROGRAM
            code = _text_fault(program_data, program_start[i], np.int64(program_size[i]))
        if code == 0 and limit > _SUBSIDY and not subsidy_null[i]:
            field = _SUBSIDY
            if subsidy[i] < 0 or subsidy[i] > AMOUNT_MAX_FEN:
                code = _RANGE
        if code != 0:
            flaw_field[i] = field
            flaw_code[i] = code


@cache
def _known_districts() -> np.ndarray:
    known = np.zeros(1_000_000, np.bool_)
    known[[int(code) for code in districts()]] = True
    return known


def oldest_ms(now_ms: int) -> int:
    """The instant five calendar years before now."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    try:
        before = now.replace(year=now.year - AGE_MAX_YEARS)
    except ValueError:  # 29 February
        before = now.replace(year=now.year - AGE_MAX_YEARS, day=28)
    return int(before.timestamp() * 1000)


@dataclass(frozen=True)
class Platforms:
    """The platforms of the rows: a code a row, and each code's id."""

    codes: np.ndarray
    ids: list[str]
    allowed: list[bool]
    """Whether the id is one that a platform may have."""


def _state(platform_id: str) -> int:
    if platform_id == canary.PLATFORM:
        return _RESERVED
    return _AS_ALLOWED if is_platform_id(platform_id) else _NOT_ALLOWED


def validate(
    columns: Columns, request: np.ndarray, senders: list[str | None], now_ms: int
) -> tuple[np.ndarray, Platforms]:
    """(good: bool[rows], platforms). Completes the columns' flaws.

    `request[row]` is the place in `senders` of who sent the row; a sender None may send for all.
    """
    codes, found = distinct(columns.platform_id)
    # A platform id is ASCII: what is not can only be wrong.
    ids = [value.decode("ascii", "replace") for value in found]
    state = np.fromiter(map(_state, ids), np.uint8, len(ids))
    places = {platform_id: code for code, platform_id in enumerate(ids)}
    allowed = np.array(
        [ANY_PLATFORM if s is None else places.get(s, -1) for s in senders], np.int64
    )

    def text(column: Text) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return column.data, column.start, column.size

    _judge(
        *text(columns.entry_id),
        codes,
        state if len(state) else np.zeros(1, np.uint8),
        request,
        allowed,
        *text(columns.merchant_id),
        columns.occurred_ms,
        columns.occurred_null,
        columns.kind,
        columns.amount_fen,
        columns.amount_null,
        *text(columns.refers_to),
        columns.district,
        _known_districts(),
        columns.mcc,
        columns.channel,
        *text(columns.program_id),
        columns.subsidy_fen,
        columns.subsidy_null,
        now_ms + FUTURE_TOLERANCE_MS,
        oldest_ms(now_ms),
        columns.flaw_field,
        columns.flaw_code,
    )
    return columns.flaw_field == NO_FLAW, Platforms(codes, ids, [s == _AS_ALLOWED for s in state])
