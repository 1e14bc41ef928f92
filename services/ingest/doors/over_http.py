"""The HTTP door: `POST /v1/entries`.

401 before anything else, then 403, 415, 413, 400 and 422; 503 where Kafka has not acknowledged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from contracts import traces
from contracts.days import SHANGHAI
from contracts.entries.codec import RECORDED_FIRST, recorded_date
from contracts.receipts.codec import Receipt
from services.ingest.columns import Columns
from services.ingest.dead_letters import Allowance
from services.ingest.decoder.pool import Decoders
from services.ingest.formats import DECODED, MEDIA_TYPES, Read, arrow_table, compression, read
from services.ingest.judging import BUREAU, ERRORS_SHOWN, Outcome, Request
from services.ingest.publish import NotDurable
from services.ingest.receipts import RecentReceipts, RequestIdentity, identify
from services.ingest.refused import BodyRefused
from services.ingest.rounds import Rounds, count_entries
from yumai.access import Principal
from yumai.http.answers import answer
from yumai.http.refusals import Refused
from yumai.observability import tracing
from yumai.sharing.asking import name_of
from yumai.sharing.bodies import Bodies, Work
from yumai.sharing.workers import Workers

_KEY_MAX = 1_024
_FEW_ROWS = 256
"""So many are made into columns in less time than it takes to hand them to a thread and back."""
Reading = Callable[[], Awaitable[Read]]


@dataclass(frozen=True)
class Envelope:
    """What the headers say."""

    principal: Principal
    format: str
    encoding: str
    key: str | None
    recorded_on: str | None
    parents: tuple[str, ...]

    @property
    def sender(self) -> str:
        return BUREAU if self.principal.is_bureau else self.principal.code


def envelope(request: HttpRequest, principal: Principal, today: date) -> Envelope:
    """Raises Refused."""
    headers = request.headers
    if principal.role not in ("bureau", "platform"):
        raise Refused("forbidden", None, "a platform's key or the bureau's token sends entries")
    recorded_on = headers.get("recorded-on")
    if recorded_on is not None and not principal.is_bureau:
        raise Refused("forbidden", None, "Recorded-On is the bureau's")
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        raise Refused("unsupported_media_type", None, media_type[:100])
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in compression.ENCODINGS:
        raise Refused("unsupported_media_type", None, f"Content-Encoding {encoding[:100]}")
    if recorded_on is not None:
        try:
            if recorded_date(recorded_on) >= today:
                raise ValueError
        except ValueError:
            raise Refused(
                "invalid_parameter",
                "recorded-on",
                f"Recorded-On: a date before today, from {RECORDED_FIRST} on, YYYY-MM-DD",
            ) from None
    key = headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= _KEY_MAX:
        raise Refused("invalid_parameter", "idempotency-key", f"1 to {_KEY_MAX} characters")
    return Envelope(
        principal,
        MEDIA_TYPES[media_type],
        "gzip" if encoding == "x-gzip" else encoding,
        key,
        recorded_on,
        parents_of(request),
    )


def parents_of(request: HttpRequest) -> tuple[str, ...]:
    """The request's own span; where nothing is traced here, what its sender gave is passed on."""
    if tracing.on():
        return request.state.work.parents
    given = traces.parent(request.headers.get("traceparent"))
    return (given,) if given else ()


class EntriesDoor:
    """Takes bodies, gives receipts. A repeated request gets the receipt it had."""

    def __init__(
        self,
        rounds: Rounds,
        known: RecentReceipts,
        bodies: Bodies,
        workers: Workers,
        decoders: Decoders,
    ) -> None:
        self._rounds, self._known, self._bodies, self._workers = rounds, known, bodies, workers
        self._decoders = decoders
        self._in_work: dict[bytes, asyncio.Future[Receipt]] = {}
        self._keys_in_work: dict[str, bytes] = {}
        self.unacknowledged: dict[str, str] = {}
        """Receipts that were tried and never acknowledged -> sender (bounded)."""

    async def post(self, request: HttpRequest, principal: Principal) -> Response:
        said = envelope(request, principal, datetime.now(SHANGHAI).date())
        with self._bodies.work(name_of(principal)) as work:
            return answer(receipt_answer(await self._take(request, said, work)))

    async def _take(self, request: HttpRequest, said: Envelope, work: Work) -> Receipt:
        came = [await self._bodies.read(request, work, compression.BODY_MAX_BYTES)]
        packed = len(came[0])
        try:

            def unpack() -> tuple[list[bytes], RequestIdentity]:
                whole = compression.decompress(said.encoding, came.pop())
                return [whole], identify(said.sender, said.key, whole, said.recorded_on)

            small = packed < 16_384 and not said.encoding
            body, who = unpack() if small else await self._workers.run(work.sender, unpack)
            work.hold(len(body[0]))
            earlier = await self._earlier(who)
            if earlier is not None:
                return earlier
            small = small and said.format not in DECODED

            async def reading() -> Read:
                if said.format in DECODED:
                    decoded = await self._decoders.decode(
                        work.sender, said.format, body.pop(), packed
                    )
                    work.hold(max(work.held, decoded.stream.size))
                    return arrow_table.read(decoded.stream, decoded.rows)
                if small:
                    return read(said.format, body.pop(), packed)
                return await self._workers.run(
                    work.sender, lambda: read(said.format, body.pop(), packed)
                )

            return await self._process(said, who, work, reading, Allowance(packed))
        except BodyRefused as refused:
            raise Refused(refused.code, refused.field, refused.detail) from refused

    async def _earlier(self, who: RequestIdentity) -> Receipt | None:
        """The receipt of the same request, known or in work. Raises Refused for a used key."""
        if not who.key_hash:
            return None
        receipt_id = who.receipt.hex()
        known = self._known.get(receipt_id)
        if known is not None:
            return known
        running = self._in_work.get(who.receipt)
        if running is not None:
            try:
                return await asyncio.shield(running)
            except NotDurable as error:
                raise Refused("unavailable", None, str(error)) from error
        if self._known.of_key(who.key_hash) or who.key_hash in self._keys_in_work:
            raise Refused("key_reused", "idempotency-key")
        return None

    async def _process(
        self, said: Envelope, who: RequestIdentity, work: Work, reading: Reading, letters: Allowance
    ) -> Receipt:
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._in_work[who.receipt] = future
        if who.key_hash:
            self._keys_in_work[who.key_hash] = who.receipt
        try:
            receipt = await self._commit(said, who, work, reading, letters)
            future.set_result(receipt)
            return receipt
        except BaseException as error:
            if isinstance(error, NotDurable):
                self._note(who.receipt.hex(), said.sender)
            if not future.done():
                waiting = error if isinstance(error, Exception) else NotDurable("cancelled")
                future.set_exception(waiting)
                future.exception()
            if isinstance(error, NotDurable):
                raise Refused("unavailable", None, str(error)[:300]) from error
            raise
        finally:
            del self._in_work[who.receipt]
            self._keys_in_work.pop(who.key_hash, None)

    async def _commit(
        self, said: Envelope, who: RequestIdentity, work: Work, reading: Reading, letters: Allowance
    ) -> Receipt:
        rows = await reading()
        whole = Outcome(0, 0)

        def receipt_of(outcome: Outcome) -> Receipt:
            return Receipt(
                receipt_id=who.receipt.hex(),
                platform_id=said.sender,
                received=outcome.received,
                accepted=outcome.accepted,
                rejected=outcome.rejected,
                errors=outcome.errors,
                errors_truncated=outcome.rejected > ERRORS_SHOWN,
                format=said.format,
                at=time.time_ns() // 1_000_000,
                key_hash=who.key_hash,
                body_hash=who.body_hash,
            )

        async def commit(columns: Columns) -> Receipt | None:
            """A piece, one after the other, so that rows stand in the log as they came."""
            request = Request(
                receipt=who.receipt,
                sender=None if said.principal.is_bureau else said.principal.code,
                format=said.format,
                columns=columns,
                header=rows.header,
                recorded_on=said.recorded_on,
                parents=said.parents,
                row=np.arange(whole.received, whole.received + columns.rows, dtype=np.uint32),
                letters=letters,
            )
            last = whole.received + columns.rows >= rows.rows
            made = (lambda outcome: receipt_of(whole.plus(outcome))) if last else None
            size = work.held * columns.rows // rows.rows
            outcome, receipt = await self._rounds.commit(work.sender, request, size, made)
            whole.add(outcome)
            return receipt

        receipt = None
        pieces = rows.pieces()
        while whole.received < rows.rows:
            receipt = await commit(await self._next(work.sender, pieces, rows.rows))
        if receipt is None:
            _, receipt = await self._rounds.commit(work.sender, None, work.held, receipt_of)
        assert receipt is not None
        self._known.add(receipt)
        self.unacknowledged.pop(receipt.receipt_id, None)
        count_entries("http", said.format, whole)
        return receipt

    async def _next(self, sender: str, pieces: Iterator[Columns], rows: int) -> Columns:
        """The next piece; in a thread where it may take long."""
        if rows < _FEW_ROWS:
            return next(pieces)
        return await self._workers.run(sender, next, pieces)

    def _note(self, receipt_id: str, sender: str) -> None:
        self.unacknowledged[receipt_id] = sender
        while len(self.unacknowledged) > 10_000:
            del self.unacknowledged[next(iter(self.unacknowledged))]


def receipt_answer(receipt: Receipt) -> dict[str, object]:
    return {
        "receipt_id": receipt.receipt_id,
        "received": receipt.received,
        "accepted": receipt.accepted,
        "rejected": receipt.rejected,
        "errors": receipt.errors,
        "errors_truncated": receipt.errors_truncated,
    }
