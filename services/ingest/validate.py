"""The one validation: which rows are refused, each for its first reason in contract order. Pure.

The formats note what only they can see (not JSON, a wrong type) as flaws; everything that depends
on a value is judged here, for all formats alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import types

from contracts.entries.kernel_types import BOOL, INT8, INT32, INT64, UINT8, group, kernel, read_only
from services.ingest.columns import CODE, NO_FLAW, NULL, NUMBER, SPANS, Columns, Spans
from services.ingest.kernels import distinct
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


@kernel(types.int64(SPANS, types.int64))
def _text_fault(text, row):
    """Code of what is wrong with an id's text, or 0. Characters are code points."""
    at, size = text.start[row], np.int64(text.size[row])
    if size < 0:
        return _MISSING
    if size == 0:
        return _INVALID
    characters = 0
    for k in range(at, at + size):
        if text.data[k] & 0xC0 != 0x80:
            characters += 1
    return _LONG if characters > TEXT_MAX else 0


class ToJudge(NamedTuple):
    """What is judged of each row, named as in Columns."""

    entry_id: Spans
    merchant_id: Spans
    refers_to: Spans
    program_id: Spans
    occurred_ms: np.ndarray
    occurred_null: np.ndarray
    kind: np.ndarray
    amount_fen: np.ndarray
    amount_null: np.ndarray
    district: np.ndarray
    mcc: np.ndarray
    channel: np.ndarray
    subsidy_fen: np.ndarray
    subsidy_null: np.ndarray


class Senders(NamedTuple):
    """Who sent each row, and for whom it may speak."""

    platform: np.ndarray
    """Of each row the code of the platform that it names."""
    platform_state: np.ndarray
    """Of each code."""
    request: np.ndarray
    """Of each row its request."""
    allowed: np.ndarray
    """Of each request the platform that it may name, or ANY_PLATFORM."""


_ROWS = group(
    ToJudge, *[SPANS] * 4, INT64, BOOL, INT8, INT64, BOOL, INT32, INT32, INT8, INT64, BOOL
)
_SENDERS = group(Senders, INT32, UINT8, INT32, INT64)


@kernel(
    types.void(_ROWS, _SENDERS, BOOL, types.int64, types.int64, types.uint8[::1], types.uint8[::1])
)
def _judge(rows, senders, known_district, newest_ms, oldest_ms, flaw_field, flaw_code):
    for i in range(len(flaw_field)):
        # What the format noted stands unless an earlier field is wrong too.
        limit = np.int64(flaw_field[i])
        field = 0
        code: Any = np.int64(0)
        if limit > _ENTRY:
            code = _text_fault(rows.entry_id, i)
            field = _ENTRY
        if code == 0 and limit > _PLATFORM:
            field = _PLATFORM
            p = senders.platform[i]
            if p < 0:
                code = _MISSING
            elif senders.platform_state[p] == _NOT_ALLOWED:
                code = _INVALID
            elif (
                senders.platform_state[p] == _RESERVED
                and senders.allowed[senders.request[i]] == ANY_PLATFORM
            ):
                # It would be in no figure: only its own key sends it, to be found again.
                code = _RESERVED_NAME
            elif (
                senders.allowed[senders.request[i]] != ANY_PLATFORM
                and senders.allowed[senders.request[i]] != p
            ):
                code = _MISMATCH
        if code == 0 and limit > _MERCHANT:
            field = _MERCHANT
            code = _text_fault(rows.merchant_id, i)
        if code == 0 and limit > _OCCURRED:
            field = _OCCURRED
            if rows.occurred_null[i]:
                code = _MISSING
            elif rows.occurred_ms[i] > newest_ms:
                code = _FUTURE
            elif rows.occurred_ms[i] < oldest_ms:
                code = _OLD
        if code == 0 and limit > _KIND:
            field = _KIND
            if rows.kind[i] < 0:
                code = _MISSING if rows.kind[i] == NULL else _INVALID
        if code == 0 and limit > _AMOUNT:
            field = _AMOUNT
            if rows.amount_null[i]:
                code = _MISSING
            elif rows.amount_fen[i] < 1 or rows.amount_fen[i] > AMOUNT_MAX_FEN:
                code = _RANGE
        if code == 0 and limit > _REFERS and rows.refers_to.size[i] >= 0:
            field = _REFERS
            code = _text_fault(rows.refers_to, i)
        if code == 0 and limit > _DISTRICT and rows.district[i] != NULL:
            field = _DISTRICT
            if rows.district[i] < 0:
                code = _INVALID
            elif not known_district[rows.district[i]]:
                code = _NO_DISTRICT
        if code == 0 and limit > _MCC and rows.mcc[i] < NULL:
            field = _MCC
            code = _INVALID
        if code == 0 and limit > _CHANNEL and rows.channel[i] < NULL:
            field = _CHANNEL
            code = _INVALID
        if code == 0 and limit > _PROGRAM and rows.program_id.size[i] >= 0:
            field = _PROGRAM
            code = _text_fault(rows.program_id, i)
        if code == 0 and limit > _SUBSIDY and not rows.subsidy_null[i]:
            field = _SUBSIDY
            if rows.subsidy_fen[i] < 0 or rows.subsidy_fen[i] > AMOUNT_MAX_FEN:
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

    rows = ToJudge(
        columns.entry_id.spans,
        columns.merchant_id.spans,
        columns.refers_to.spans,
        columns.program_id.spans,
        *(read_only(getattr(columns, name)) for name in ToJudge._fields[4:]),
    )
    sent = Senders(
        read_only(codes),
        read_only(state if len(state) else np.zeros(1, np.uint8)),
        read_only(request),
        read_only(allowed),
    )
    _judge(
        rows,
        sent,
        _known_districts(),
        now_ms + FUTURE_TOLERANCE_MS,
        oldest_ms(now_ms),
        columns.flaw_field,
        columns.flaw_code,
    )
    return columns.flaw_field == NO_FLAW, Platforms(codes, ids, [s == _AS_ALLOWED for s in state])
