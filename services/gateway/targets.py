"""`/v1/targets`: what districts and the city are to reach. The log `targets.v1` is the truth.

Writing is all or nothing: the rows of one request are one Kafka record batch, so that a crash never
leaves half of them. Who writes reads the log to its end first, under one lock; two gateways that write
one key at once both stay in its history.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from contracts.http.targets import Targets, TargetsSet
from contracts.targets.codec import decode, encode, key_of, of_versions
from services.gateway.bodies import taken
from services.gateway.login import principal_of
from services.gateway.parameters import TargetsParameters, as_of_of
from services.gateway.requests import TargetAsked
from services.gateway.store import Store
from yumai import targets
from yumai.access import Principal
from yumai.broker.consumers import let_go
from yumai.broker.security import Bootstrap, client_options
from yumai.broker.stray import passed_over
from yumai.evaluation.reads import booked_of_year
from yumai.http import refusals
from yumai.http.answers import answer
from yumai.http.direct import Direct
from yumai.http.document import errors, takes
from yumai.http.parameters import FROM_QUERY, Asked
from yumai.http.refusals import Refused, Unavailable
from yumai.sharing.asking import asker
from yumai.sharing.workers import Workers
from yumai.targets import Held, Wrong
from yumai.topics import MESSAGE_MAX_BYTES, TARGETS

router = APIRouter(route_class=Direct, tags=["targets"])
PARTITION = TopicPartition(TARGETS.name, 0)
BODY_MOST = 16 << 20
BATCH_MOST = 12 << 20
"""Bytes of one request's records: a batch is written whole."""
READ_SECONDS = 20.0
CATCH_UP_SECONDS = 3.0
WRITE_SECONDS = 15.0
AWAY: tuple[type[Exception], ...] = (KafkaError, OSError, TimeoutError)


class TargetLog:
    """Targets as `targets.v1` tells them, read when asked for; writes through the same door."""

    def __init__(self, bootstrap: Bootstrap) -> None:
        self._bootstrap = bootstrap
        self._consumer: AIOKafkaConsumer | None = None
        self._producer: AIOKafkaProducer | None = None
        self._reading = asyncio.Lock()
        self._held = Held()
        self._known = False
        self.writing = asyncio.Lock()
        self.changes = 0
        """Grows with every record: what is derived from targets is stale then."""

    async def current(self) -> Held:
        """Everything that was set before the call. With the broker away: as last known.

        Raises Unavailable where nothing was ever read.
        """
        try:
            return await self.caught_up()
        except Unavailable:
            if self._known:
                return self._held
            raise

    async def caught_up(self) -> Held:
        """Everything that was set before the call. Raises Unavailable."""
        async with self._reading:
            try:
                async with asyncio.timeout(CATCH_UP_SECONDS if self._known else READ_SECONDS):
                    await self._catch_up()
            except AWAY as error:
                await self._drop_consumer()
                raise Unavailable(f"targets: {str(error) or type(error).__name__}") from error
            return self._held

    async def _catch_up(self) -> None:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                **client_options(self._bootstrap),
                client_id="yumai-gateway-targets",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                request_timeout_ms=5_000,
                max_partition_fetch_bytes=MESSAGE_MAX_BYTES,
                fetch_max_wait_ms=50,
            )
            self._consumer = consumer
            await consumer.start()
            consumer.assign([PARTITION])
            await consumer.seek_to_beginning(PARTITION)
            # A topic made anew holds other targets than the one before.
            self._held.clear()
        end = (await self._consumer.end_offsets([PARTITION]))[PARTITION]
        while await self._consumer.position(PARTITION) < end:
            found = await self._consumer.getmany(PARTITION, timeout_ms=200)
            for record in found.get(PARTITION, ()):
                self.changes += 1
                key = (record.key or b"").decode(errors="replace")
                try:
                    self._held.take(key, None if record.value is None else decode(record.value))
                except Exception as error:
                    passed_over(PARTITION.topic, record.offset, error)
        self._known = True

    async def write(self, records: Sequence[tuple[str, bytes]]) -> None:
        """All of them or none. Raises Unavailable; then it is not known whether they were written."""
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                if self._producer is None:
                    producer = AIOKafkaProducer(
                        **client_options(self._bootstrap),
                        client_id="yumai-gateway-targets",
                        acks="all",
                        enable_idempotence=True,
                        request_timeout_ms=10_000,
                        max_batch_size=BATCH_MOST,
                        max_request_size=MESSAGE_MAX_BYTES,
                    )
                    await producer.start()
                    self._producer = producer
                batch = self._producer.create_batch()
                for key, value in records:
                    if batch.append(key=key.encode(), value=value, timestamp=None) is None:
                        raise Refused(
                            "too_large", None, "too many targets for one request: nothing was set"
                        )
                batch.close()
                sent = await self._producer.send_batch(batch, TARGETS.name, partition=0)
                await sent
        except AWAY as error:
            producer, self._producer = self._producer, None
            if producer is not None:
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(1.0):
                        await producer.stop()
            raise Unavailable(f"targets: {str(error) or type(error).__name__}") from error

    async def close(self) -> None:
        await self._drop_consumer()
        if self._producer is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(2.0):
                    await self._producer.stop()

    async def _drop_consumer(self) -> None:
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await let_go(consumer, 1.0)


@router.get(
    "/v1/targets", response_model=Targets, responses=errors("forbidden", "invalid_parameter")
)
async def get_targets(
    request: Request, asked: Annotated[TargetsParameters, FROM_QUERY]
) -> Response:
    """Each target as it holds, and its history."""
    log: TargetLog = request.app.state.targets
    year, as_of, sectors = asked.year, as_of_of(asked.as_of), asked.sector
    allowed = in_scope(principal_of(request), asked.district)
    held = await log.current()
    data = [
        targets.as_row(key, versions)
        for key in held.ordered()
        if (year is None or key[0] == year)
        and (allowed is None or key[1] in allowed)
        and (sectors is None or "*" in sectors or key[2] in sectors)
        and (versions := held.of(key, as_of))
    ]
    meta = {
        "count": len(data),
        "as_of": as_of and as_of.isoformat(),
        "currency": "CNY",
        "unit": "fen",
        "generated_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    return answer({"meta": meta, "data": data})


ROW_CODES = (
    *("duplicate", "invalid_value", "missing_field", "not_object", "out_of_range"),
    *("too_long", "unknown_district", "unknown_field", "wrong_type"),
)


@router.put(
    "/v1/targets",
    response_model=TargetsSet,
    responses=errors(
        *("forbidden", "body_undecodable", "too_large", "unsupported_media_type"),
        *("invalid_field", "invalid_parameter", *ROW_CODES),
    ),
    openapi_extra=takes(list[TargetAsked]),
)
async def put_targets(request: Request, _: Annotated[Asked, FROM_QUERY]) -> Response:
    """Sets targets, all or none; what holds already makes no version."""
    log: TargetLog = request.app.state.targets
    store: Store = request.app.state.store
    principal = principal_of(request)
    if not principal.is_bureau:
        raise Refused("forbidden", None, "targets are set by the bureau")
    came = await taken(request, BODY_MOST)
    workers: Workers = request.app.state.workers
    asked, wrong = await workers.run(asker(), lambda: targets.read(_rows(came)))
    if wrong:
        raise refused(wrong)
    async with log.writing:
        held = await log.caught_up()
        bases = await _bases(store, asked)
        now_ms = int(time.time() * 1000)
        fresh: dict[targets.Key, tuple[Any, ...]] = {}
        for index, row in enumerate(asked):
            base, approximate = bases.get(row.key, (None, False))
            if row.needs_base and not base:
                wrong.append(
                    Wrong(
                        index, "base_fen", "missing_field", f"nothing is booked for {row.year - 1}"
                    )
                )
                continue
            version = targets.next_version(
                row, held.of(row.key), base, approximate, principal.name, now_ms
            )
            if version is None:
                continue
            if version.target_fen is None and row.form != "share":
                wrong.append(Wrong(index, "value", "out_of_range", "no target comes of it"))
                continue
            fresh[row.key] = (*held.of(row.key), version)
        if wrong:
            raise refused(wrong)
        if fresh:
            await log.write(_records(fresh.items()))
            held = await log.caught_up()
            while torn := held.torn & fresh.keys():
                # Another gateway wrote between our reading and our writing: one record says it all.
                await log.write(_records((key, held.of(key)) for key in torn))
                held = await log.caught_up()
    data = []
    for row in asked:
        versions = held.of(row.key)
        version = targets.holding(versions, row.form)
        assert version is not None
        data.append(targets.as_row(row.key, [version], history=False))
    meta = {"count": len(data), "set": len(fresh), "currency": "CNY", "unit": "fen"}
    return answer({"meta": meta, "data": data})


def _records(held: Iterable[tuple[targets.Key, Any]]) -> list[tuple[str, bytes]]:
    return [(key_of(*key), encode(of_versions(*key, versions))) for key, versions in held]


def in_scope(principal: Principal, asked: Sequence[str] | None) -> Sequence[str] | None:
    """Districts (and `city`) that may be read; None: all. A district's are its own. Raises Refused."""
    if principal.role == "platform":
        raise Refused("forbidden", None, "targets are the bureau's and the districts'")
    if asked is not None and "*" in asked:
        asked = None if principal.is_bureau else [principal.code]
    if principal.is_bureau:
        return asked
    if asked is not None and any(code != principal.code for code in asked):
        raise Refused("forbidden", "district", f"district {', '.join(asked)}: not yours")
    return [principal.code]


def _rows(body: bytes) -> list[Any]:
    """Numbers exactly as they were written. Raises Refused."""
    try:
        # Half of a surrogate pair is no text: nobody could write it down.
        orjson.loads(body.removeprefix(b"\xef\xbb\xbf"))
        rows = json.loads(body, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise Refused("body_undecodable", None, f"not JSON: {error}") from error
    if not isinstance(rows, list):
        raise Refused("invalid_field", None, "want an array of targets")
    return rows


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def refused(wrong: Sequence[Wrong]) -> Refused:
    """All that is wrong, row by row; nothing was changed."""
    return Refused.rows(refusals.error(w.code, w.field, w.message, w.index) for w in wrong)


async def _bases(
    store: Store, asked: Sequence[targets.Asked]
) -> dict[targets.Key, tuple[int, bool]]:
    """What was booked last year, for each growth that brings no base of its own. Raises Unavailable."""
    found: dict[targets.Key, tuple[int, bool]] = {}
    for year in sorted({row.year for row in asked if row.needs_base}):
        rows = await store.rows(booked_of_year(year - 1))
        booked = {(f"{number:06d}", sector): int(fen) for number, sector, fen in rows}
        for row in asked:
            if row.year != year or not row.needs_base:
                continue
            codes, approximate = targets.base_districts(row.district, year)
            sum_fen = sum(
                fen
                for (code, sector), fen in booked.items()
                if (codes is None or code in codes) and (row.sector in (None, sector))
            )
            if sum_fen > 0:
                found[row.key] = (sum_fen, approximate)
    return found
