"""Each merchant's latest history from `merchants.v1`, and the records that a PUT makes of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import msgspec
from msgspec.structs import replace

from contracts.merchants import codec
from contracts.merchants.codec import Merchant, Span
from contracts.receipts.codec import RowError
from services.ingest.classify import MerchantIndex
from services.ingest.formats import json_body
from services.ingest.refused import BodyRefused
from yumai.districts import districts
from yumai.entry import TEXT_MAX
from yumai.http import refusals
from yumai.observability import telemetry
from yumai.platforms import is_platform_id
from yumai.registry import replace_overlap

_MCC = re.compile(r"[0-9]{4}", re.ASCII)
_INDUSTRY = re.compile(r"[A-T][0-9]{0,4}", re.ASCII)


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """A row of `PUT /v1/merchants`."""

    platform_id: str
    merchant_id: str
    district_code: str
    valid_from: date
    valid_to: date | None = None
    mcc: str | None = None
    industry: str | None = None
    group_id: str | None = None


_row = msgspec.json.Decoder(Row)
_WHERE = re.compile(r"`\$\.?([a-z_]*)")
_NAME_SHOWN = 64
_NAMED = re.compile(r"(?:unknown|missing required) field `([^`]*)`")
PROBLEMS_SHOWN = 1_000
ROWS_MAX = 100_000
"""Of one request: each becomes objects here, and perhaps a record."""
ROW_MAX_BYTES = 16 * 1024
"""More than the longest row that is right, however its characters are escaped."""
SPANS_MAX = 200
"""Of one merchant: a new span is compared with all of them. Nobody moves more often."""


class TooManySpans(Exception):
    """`index`: the row with which a merchant would have more spans than it may."""

    def __init__(self, index: int) -> None:
        super().__init__(f"more than {SPANS_MAX} spans of one merchant")
        self.index = index


def read_rows(body: bytes) -> tuple[list[Row], list[RowError]]:
    """The rows, and what is wrong with the first of those that are; one wrong row refuses all.

    Raises BodyRefused for what is no JSON array, and for too many rows: before any becomes an object.
    """
    data, starts, ends = json_body.elements(body, _check_number)
    rows: list[Row] = []
    problems: list[RowError] = []
    for index, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        field, said = None, ""
        try:
            if end - start > ROW_MAX_BYTES:
                raise msgspec.DecodeError(f"more than {ROW_MAX_BYTES:,} bytes")
            row = _row.decode(data[start:end].data)
            field, said = _fault(row)
            rows.append(row)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            said = str(error)
            named = _NAMED.search(said) or _WHERE.search(said)
            field = (named.group(1)[:_NAME_SHOWN] or None) if named else None
        if said:
            problems.append(refusals.error("invalid_merchant", field, said[:200], index))
            if len(problems) == PROBLEMS_SHOWN:
                break
    return rows, problems


def _check_number(rows: int) -> None:
    if rows > ROWS_MAX:
        raise BodyRefused("too_large", None, f"more than {ROWS_MAX:,} rows: send them in parts")


def _fault(row: Row) -> tuple[str | None, str]:
    """(field, what is wrong), or (None, "")."""
    if not is_platform_id(row.platform_id):
        return "platform_id", "not a platform id"
    for name, value in (("merchant_id", row.merchant_id), ("group_id", row.group_id)):
        if value is not None and not 1 <= len(value) <= TEXT_MAX:
            return name, f"want 1 to {TEXT_MAX} characters"
    if row.district_code not in districts():
        return "district_code", "a district code that never existed"
    if row.mcc is not None and not _MCC.fullmatch(row.mcc):
        return "mcc", "want four digits as text"
    if row.industry is not None and not _INDUSTRY.fullmatch(row.industry):
        return "industry", "want a GB/T 4754 class: a letter and up to four digits"
    if row.valid_to is not None and row.valid_to < row.valid_from:
        return "valid_to", "before valid_from"
    return None, ""


def check(merchant: Merchant) -> None:
    """Raises ValueError where the door would have refused it: what is read is held to the same."""
    for span in merchant.spans:
        row = Row(
            merchant.platform_id, merchant.merchant_id, span.district_code, span.valid_from,
            span.valid_to, span.mcc, span.industry, span.group_id,
        )  # fmt: skip
        field, said = _fault(row)
        if said:
            raise ValueError(f"{field}: {said}")


@dataclass(frozen=True)
class Change:
    """Records to be written: whole histories by key."""

    records: list[tuple[bytes, bytes]]
    merchants: int
    spans: int


class Registry:
    """Histories as encoded values, and the index that classification asks."""

    def __init__(self) -> None:
        self.index = MerchantIndex()
        self._values: dict[bytes, bytes] = {}

    def apply(self, key: bytes, value: bytes | None, end: int) -> None:
        """A record of `merchants.v1`; `end` is the offset after it. Raises ValueError for one that can't be kept."""
        try:
            merchant = codec.decode(value) if value is not None else None
            if merchant is not None:
                check(merchant)
                self._values[key] = value or b""
            else:
                known = self._values.pop(key, None)
                merchant = replace(codec.decode(known), spans=()) if known is not None else None
            if merchant is not None:
                self.index.put(merchant.platform_id, merchant.merchant_id, merchant.spans)
        finally:
            self.index.map_version = end

    def tell(self) -> None:
        telemetry.INGEST_MERCHANTS.set(len(self._values))
        telemetry.INGEST_MAP_VERSION.set(self.index.map_version)

    def history(self, platform_id: str, merchant_id: str) -> tuple[Span, ...]:
        value = self._values.get(codec.key(platform_id, merchant_id))
        return codec.decode(value).spans if value else ()

    def change(self, rows: Iterable[Row]) -> Change:
        """What the rows make of the histories; those that stay the same are left out.

        Raises TooManySpans.
        """
        by_merchant: dict[tuple[str, str], list[tuple[int, Row]]] = {}
        for index, row in enumerate(rows):
            by_merchant.setdefault((row.platform_id, row.merchant_id), []).append((index, row))
        records = []
        spans = 0
        for (platform_id, merchant_id), news in by_merchant.items():
            spans += len(news)
            history = self.history(platform_id, merchant_id)
            if len(news) > SPANS_MAX:
                raise TooManySpans(news[SPANS_MAX][0])
            for index, new in news:
                span = Span(
                    new.district_code, new.valid_from, new.valid_to,
                    new.mcc, new.industry, new.group_id,
                )  # fmt: skip
                history = replace_overlap(history, span)
                if len(history) > SPANS_MAX:
                    raise TooManySpans(index)
            key = codec.key(platform_id, merchant_id)
            value = codec.encode(Merchant(platform_id, merchant_id, history))
            if self._values.get(key) != value:
                records.append((key, value))
        return Change(records, len(by_merchant), spans)
