"""What a sender may ask afterwards: receipts, their rows, control totals, the registry."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from typing import Any

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from contracts.receipts.codec import Receipt
from services.ingest.bookings import Bookings, Counts, StoreAway
from services.ingest.dead_letters import message
from services.ingest.doors.over_http import EntriesDoor, receipt_answer
from services.ingest.doors.parameters import (
    ControlTotalsParameters,
    MerchantParameters,
    RowsParameters,
)
from services.ingest.formats import compression
from services.ingest.merchants import Registry, TooManySpans, read_rows
from services.ingest.publish import NotDurable, Publisher
from services.ingest.receipts import RecentReceipts
from services.ingest.refused import BodyRefused
from yumai import printable
from yumai.access import Principal
from yumai.http.answers import answer
from yumai.http.refusals import Refused
from yumai.sharing.asking import name_of
from yumai.sharing.bodies import Bodies, Work
from yumai.sharing.workers import Workers
from yumai.topics import MERCHANTS

_RECEIPT_ID = re.compile(r"[0-9a-f]{32}")
_MERCHANTS_SECONDS = 60.0


class ReceiptFigures:
    def __init__(self, known: RecentReceipts, bookings: Bookings, door: EntriesDoor) -> None:
        self._known, self._bookings, self._door = known, bookings, door
        self.feeds: dict[str, str] = {}
        """Receipts of the Kafka door -> platform."""

    async def show(self, receipt_id: str, principal: Principal) -> Response:
        receipt_id = receipt_id.lower()
        if not _RECEIPT_ID.fullmatch(receipt_id):
            raise Refused("not_found")
        known = self._known_to(principal, receipt_id)
        if known is not None:
            return await self._known_receipt(known)
        try:
            return await self._stored_receipt(receipt_id, principal)
        except StoreAway as error:
            sender = self._door.unacknowledged.get(receipt_id)
            if sender is not None and _is_own(principal, sender):
                return answer(_incomplete(receipt_id, Counts(0, 0, 0)))
            raise Refused("unavailable", None, f"the store is away: {error}") from error

    def _known_to(self, principal: Principal, receipt_id: str) -> Receipt | None:
        """Another's is looked for like one that never was: neither answer nor time tells them apart."""
        known = self._known.get(receipt_id)
        return known if known is not None and _is_own(principal, known.platform_id) else None

    async def _known_receipt(self, receipt: Receipt) -> Response:
        shown = receipt_answer(receipt) | {"format": receipt.format, "at": receipt.at}
        shown["platform_id"] = receipt.platform_id
        try:
            counts = await self._bookings.counts(receipt.receipt_id)
        except StoreAway as error:
            note = f"the store is away, counts are not known: {error}"
            return answer(
                shown
                | {"state": "queued", "booked": 0, "duplicates": 0, "conflicts": 0, "note": note}
            )
        return answer(shown | _state(receipt.accepted, counts))

    async def _stored_receipt(self, receipt_id: str, principal: Principal) -> Response:
        stored = await self._bookings.receipt(receipt_id)
        if stored is not None and _is_own(principal, stored["platform_id"]):
            counts = await self._bookings.counts(receipt_id)
            rows = await self._bookings.rows(receipt_id, "rejected") if stored["rejected"] else []
            errors = [_row(*row) for row in rows[:100]]
            shown = {"receipt_id": receipt_id, **stored, "errors": errors}
            shown["errors_truncated"] = stored["rejected"] > len(errors)
            return answer(shown | _state(stored["accepted"], counts))
        platforms = await self._bookings.platforms_of(receipt_id)
        if stored is not None:
            raise Refused("not_found")
        sender = self._door.unacknowledged.get(receipt_id)
        if sender is not None:
            platforms.add(sender)
        feed = self.feeds.get(receipt_id)
        if feed is not None:
            platforms.add(feed)
        if not platforms:
            raise Refused("not_found")
        if not principal.is_bureau and platforms != {principal.code}:
            raise Refused("not_found")
        counts = await self._bookings.counts(receipt_id)
        if feed is not None:
            # The Kafka door acknowledges by its offsets: a row that is here was accepted.
            shown = _incomplete(receipt_id, counts) | {"state": "booked", "format": "kafka"}
            return answer(shown | {"accepted": counts.decided, "platform_id": feed})
        return answer(_incomplete(receipt_id, counts))

    async def rows(self, receipt_id: str, asked: RowsParameters, principal: Principal) -> Response:
        receipt_id = receipt_id.lower()
        verdict, form = asked.verdict or "", asked.format
        if not _RECEIPT_ID.fullmatch(receipt_id):
            raise Refused("not_found")
        known = self._known_to(principal, receipt_id)
        try:
            await self._allow_rows(receipt_id, known, principal)
            found = await self._bookings.rows(receipt_id, verdict)
        except StoreAway as error:
            raise Refused("unavailable", None, f"the store is away: {error}") from error
        data = [_row(*row) for row in found]
        if (
            known is not None
            and verdict in ("", "rejected")
            and len(known.errors) == known.rejected
        ):
            # All are in the receipt: no need to wait until the store has them.
            data = [row for row in data if row["code"] in ("duplicate", "conflict")]
            data += msgspec.to_builtins(known.errors)
            data.sort(key=lambda row: row["index"])
        if form == "csv":
            out = io.StringIO()
            writer = csv.DictWriter(out, ["index", "field", "code", "message"])
            writer.writeheader()
            writer.writerows({name: printable.cell(v) for name, v in row.items()} for row in data)
            return Response(out.getvalue(), media_type="text/csv; charset=utf-8")
        meta = {"receipt_id": receipt_id, "verdict": verdict or None, "rows": len(data)}
        return answer({"meta": meta, "data": data})

    async def _allow_rows(
        self, receipt_id: str, known: Receipt | None, principal: Principal
    ) -> None:
        if known is not None:
            return
        stored = await self._bookings.receipt(receipt_id)
        if stored is not None and _is_own(principal, stored["platform_id"]):
            return
        platforms = await self._bookings.platforms_of(receipt_id)
        if stored is not None or not platforms:
            raise Refused("not_found")
        if not principal.is_bureau and platforms != {principal.code}:
            raise Refused("not_found")

    async def newest(self, limit: int, principal: Principal) -> Response:
        if principal.role == "district":
            raise Refused("forbidden")
        sender = None if principal.is_bureau else principal.code
        shown = {r.receipt_id: _summary(r) for r in self._known.newest(sender, limit)}
        meta: dict[str, object] = {"limit": limit}
        try:
            for stored in await self._bookings.newest(sender, limit):
                shown.setdefault(stored["receipt_id"], stored)
        except StoreAway as error:
            meta["note"] = f"the store is away: only what ingest remembers ({error})"
        newest = sorted(shown.values(), key=lambda r: -r["at"])[:limit]
        return answer({"meta": meta, "data": newest})

    async def control_totals(
        self, asked: ControlTotalsParameters, principal: Principal
    ) -> Response:
        day, platform = asked.date, asked.platform
        if principal.is_bureau:
            if not platform:
                raise Refused("invalid_parameter", "platform", "the bureau says which platform")
        elif principal.role != "platform" or platform not in (None, principal.code):
            raise Refused("forbidden")
        else:
            platform = principal.code
        try:
            totals = await self._bookings.control_totals(platform, day)
        except StoreAway as error:
            raise Refused("unavailable", None, f"the store is away: {error}") from error
        return answer({"date": day.isoformat(), "platform_id": platform, **totals})


def _is_own(principal: Principal, sender: str) -> bool:
    """Another's receipt is not there for you. No platform is called as the bureau is (`yumai/platforms.py`)."""
    return principal.may_see_platform(sender)


def _state(accepted: int, counts: Counts) -> dict[str, object]:
    return {
        "state": "booked" if counts.decided == accepted else "queued",
        "booked": counts.booked,
        "duplicates": counts.duplicates,
        "conflicts": counts.conflicts,
    }


def _incomplete(receipt_id: str, counts: Counts) -> dict[str, object]:
    """Never acknowledged: the sender has to send it again."""
    return (
        {"receipt_id": receipt_id, "accepted": None} | _state(-1, counts) | {"state": "incomplete"}
    )


def _row(index: int, field: str, code: str) -> dict[str, Any]:
    return {"index": index, "field": field or None, "code": code, "message": message(code)}


def _summary(receipt: Receipt) -> dict[str, Any]:
    names = ("receipt_id", "platform_id", "received", "accepted", "rejected", "format", "at")
    return {name: getattr(receipt, name) for name in names}


class MerchantsDoor:
    def __init__(
        self, registry: Registry, publisher: Publisher, bodies: Bodies, workers: Workers
    ) -> None:
        self._registry, self._publisher = registry, publisher
        self._bodies, self._workers = bodies, workers
        self._one = asyncio.Lock()
        self._moved = asyncio.Condition()
        self._position = 0

    async def moved(self, position: int) -> None:
        """The index has everything before this offset."""
        async with self._moved:
            self._position = position
            self._moved.notify_all()

    async def put(self, request: HttpRequest, principal: Principal) -> Response:
        if not principal.is_bureau:
            raise Refused("forbidden")
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        encoding = request.headers.get("content-encoding", "").strip().lower()
        if media_type != "application/json" or encoding not in compression.ENCODINGS:
            raise Refused("unsupported_media_type", None, media_type[:100])
        with self._bodies.work(name_of(principal)) as work:
            return await self._put(request, encoding, work)

    async def _put(self, request: HttpRequest, encoding: str, work: Work) -> Response:
        body = await self._bodies.read(request, work, compression.BODY_MAX_BYTES)
        try:
            rows, problems = await self._workers.run(
                work.sender, lambda: read_rows(compression.decompress(encoding, body))
            )
        except BodyRefused as refused:
            raise Refused(refused.code, refused.field, refused.detail) from refused
        if problems:
            raise Refused.rows(problems)
        # One at a time: each builds on the histories that the one before has left.
        async with self._one:
            try:
                change = await self._workers.run(work.sender, self._registry.change, rows)
            except TooManySpans as many:
                raise Refused("invalid_merchant", "valid_from", str(many), many.index) from many
            if change.records:
                try:
                    end = await self._publisher.send_many(
                        MERCHANTS.name, change.records, _MERCHANTS_SECONDS
                    )
                    async with asyncio.timeout(_MERCHANTS_SECONDS):
                        await self._applied(end)
                except (NotDurable, TimeoutError) as error:
                    raise Refused("unavailable", None, str(error)) from error
        return answer(
            {
                "merchants": change.merchants,
                "spans": change.spans,
                "map_version": self._registry.index.map_version,
            }
        )

    async def _applied(self, end: int) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: self._position >= end)

    def show(self, asked: MerchantParameters, principal: Principal) -> Response:
        platform_id, merchant_id = asked.platform_id, asked.merchant_id
        if platform_id is None and principal.role == "platform":
            platform_id = principal.code
        if platform_id is None:
            raise Refused("invalid_parameter", "platform_id", "whose merchant")
        if not principal.may_see_platform(platform_id):
            raise Refused("forbidden")
        who = {"platform_id": platform_id, "merchant_id": merchant_id}
        empty = {"mcc": None, "industry": None, "group_id": None, "valid_to": None}
        spans = self._registry.history(platform_id, merchant_id)
        data = [who | empty | msgspec.to_builtins(span) for span in spans]
        meta = who | {"spans": len(data), "map_version": self._registry.index.map_version}
        return answer({"meta": meta, "data": data})
