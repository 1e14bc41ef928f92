"""Answers to who sends: receipts, control totals, the registry."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from contracts.http.words import Day, District, EpochMs, Error, Fen

ReceiptState = Literal["queued", "booked", "incomplete"]


class ReceiptGiven(TypedDict):
    """Kafka has all of it. `errors`: of the first 100 rows that were refused, in order."""

    receipt_id: str
    received: int
    accepted: int
    rejected: int
    errors: list[Error]
    errors_truncated: bool


class Receipt(TypedDict):
    """`queued` until booked + duplicates + conflicts = accepted; `incomplete`: send it again."""

    receipt_id: str
    platform_id: NotRequired[str]
    received: NotRequired[int]
    accepted: int | None
    rejected: NotRequired[int]
    errors: NotRequired[list[Error]]
    errors_truncated: NotRequired[bool]
    format: NotRequired[str]
    at: NotRequired[EpochMs]
    state: ReceiptState
    booked: int
    duplicates: int
    conflicts: int
    note: NotRequired[str]


class ReceiptSummary(TypedDict):
    receipt_id: str
    platform_id: str
    received: int
    accepted: int
    rejected: int
    format: str
    at: EpochMs


class ReceiptsMeta(TypedDict):
    limit: int
    note: NotRequired[str]


class Receipts(TypedDict):
    meta: ReceiptsMeta
    data: list[ReceiptSummary]


class RowsMeta(TypedDict):
    receipt_id: str
    verdict: Literal["rejected", "duplicate", "conflict"] | None
    rows: int


class ReceiptRows(TypedDict):
    meta: RowsMeta
    data: list[Error]


class ControlTotals(TypedDict):
    """Control totals by the day of occurrence."""

    date: Day
    platform_id: str
    entries: int
    sales_fen: Fen
    refunds_fen: Fen
    reversals_fen: Fen
    net_fen: Fen


class MerchantsSet(TypedDict):
    """The next entry is classified with it."""

    merchants: int
    spans: int
    map_version: int


class MerchantSpan(TypedDict):
    platform_id: str
    merchant_id: str
    district_code: District
    mcc: str | None
    industry: str | None
    group_id: str | None
    valid_from: Day
    valid_to: Day | None


class MerchantMeta(TypedDict):
    platform_id: str
    merchant_id: str
    spans: int
    map_version: int


class Merchant(TypedDict):
    meta: MerchantMeta
    data: list[MerchantSpan]
