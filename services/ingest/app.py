"""The wiring of ingest: which parts there are, who knows whom, what answers where."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from fastapi import FastAPI, Request
from kafka.errors import KafkaError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from contracts.receipts import codec as receipt_codec
from services.ingest import formats, memory
from services.ingest.bookings import Bookings
from services.ingest.classify import MerchantIndex
from services.ingest.decoder.pool import Decoders
from services.ingest.doors.answers import Refusal, answer
from services.ingest.doors.figures import MerchantsDoor, ReceiptFigures
from services.ingest.doors.over_http import EntriesDoor
from services.ingest.doors.over_kafka import KafkaDoor
from services.ingest.following import Follower, read_tail
from services.ingest.judging import Request as JudgeRequest
from services.ingest.judging import judge
from services.ingest.merchants import Registry
from services.ingest.publish import Publisher
from services.ingest.receipts import KEPT, KEPT_MS, Known
from services.ingest.rounds import Rounds
from yumai.access import Identity, Principal
from yumai.broker.stray import passed_over
from yumai.observability import scraping, telemetry
from yumai.observability.http_requests import Observed
from yumai.observability.instruments import exposition
from yumai.process.serving import Draining
from yumai.process.settings import Settings
from yumai.sharing.asking import Awaited, asker, asks
from yumai.sharing.bodies import Bodies, Brake, NeverCame, TooLarge, TooMuch
from yumai.sharing.turns import Budget
from yumai.sharing.workers import Workers
from yumai.store.asked import Queries
from yumai.topics import MERCHANTS, RECEIPTS

log = logging.getLogger("yumai.ingest")

_PRELOAD_SECONDS = 3.0
THREADS, THREADS_EACH = 3, 2
"""One sender keeps as many threads at work as there are cores at least; one is left for another."""
REQUESTS_MOST = 1_024
READ = ["GET", "HEAD"]


class Ingest:
    """All parts of one process. No state on disk: what it knows it reads from Kafka."""

    def __init__(self, settings: Settings) -> None:
        bootstrap = settings.kafka
        self._bootstrap = bootstrap
        self.identity = Identity(settings.identity_dir)
        self.workers = Workers(THREADS, THREADS_EACH, "judge")
        self.registry = Registry()
        self.publisher = Publisher(bootstrap)
        self.rounds = Rounds(self.publisher, self.registry.index, self.workers)
        self.known = Known()
        self.bookings = Bookings(settings.clickhouse_dsn, Queries(settings.reader_queries))
        self.bodies = bodies = Bodies(
            Budget(REQUESTS_MOST, settings.sender_requests),
            Budget(settings.held_bytes, settings.sender_bytes),
            telemetry.INGEST_HELD_BYTES.set,
        )
        self.decoders = Decoders(THREADS, THREADS_EACH)
        self.entries = EntriesDoor(self.rounds, self.known, bodies, self.workers, self.decoders)
        self.receipts = ReceiptFigures(self.known, self.bookings, self.entries)
        self.merchants = MerchantsDoor(self.registry, self.publisher, bodies, self.workers)
        self.feeds = KafkaDoor(settings, self.publisher, self.registry.index, self.receipts.feeds)
        self._preloaded = False

    @contextlib.asynccontextmanager
    async def running(self):
        loop = asyncio.get_running_loop()

        def moved(position: int) -> None:
            self.registry.tell()
            asyncio.run_coroutine_threadsafe(self.merchants.moved(position), loop)

        self.follower = Follower(self._bootstrap, MERCHANTS.name, self.registry.apply, moved)
        self.follower.start()
        tasks = [
            asyncio.create_task(self.publisher.run()),
            asyncio.create_task(self.rounds.run()),
            asyncio.create_task(self._preload()),
            asyncio.create_task(memory.give_back(lambda: self.bodies.ended)),
        ]
        await asyncio.gather(self.workers.run("", warm_up), self.decoders.start())
        self.feeds.start(loop, self.follower.caught_up)
        try:
            yield
        finally:
            self.feeds.stop()
            self.follower.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.bookings.close()
            await self.decoders.close()
            self.workers.close()

    async def _preload(self) -> None:
        """Receipts of the last day, so that a repeated request is answered as before."""
        while not self._preloaded:
            since_ms = time.time_ns() // 1_000_000 - KEPT_MS
            try:
                values = await asyncio.to_thread(
                    read_tail, self._bootstrap, RECEIPTS.name, KEPT, since_ms, _PRELOAD_SECONDS
                )
            except (KafkaError, OSError, ValueError, KeyError, AssertionError) as error:
                log.warning("receipts_away %s", error)
                await asyncio.sleep(0.5)
                continue
            for number, (offset, value) in enumerate(values):
                try:
                    self.known.add(receipt_codec.decode(value or b""))
                except Exception as error:
                    passed_over(RECEIPTS.name, offset, error)
                if number % 1_000 == 0:
                    await asyncio.sleep(0)
            self._preloaded = True

    def problems(self) -> dict[str, str]:
        """Why entries can't be taken now; empty when they can."""
        found = {}
        if not self.publisher.is_open:
            found["kafka"] = self.publisher.problem or "no producer"
        if not self.follower.caught_up.is_set():
            found["merchants"] = "the registry is still being read"
        if not self._preloaded:
            found["receipts"] = "the receipts of the last day are still being read"
        return found

    def is_able(self) -> bool:
        """Whether a row would be classified as it should, and a repeated request be known."""
        return self._preloaded and self.follower.caught_up.is_set()

    def principal(self, request: Request) -> Principal:
        """Raises Refusal (401)."""
        principal = self.identity.authenticate(request.headers.get("authorization"))
        if principal is None:
            raise Refusal("unauthorized")
        asks(principal)
        return principal


def warm_up() -> None:
    """One row through every step: tables are built and code is loaded before anybody waits."""
    names = "entry_id,platform_id,merchant_id,occurred_at,kind,amount_fen,mcc,scene_tags"
    row = b"0,p,m,2020-01-01T00:00:00Z,sale,1,5812,a"
    csv = formats.read("csv", names.encode() + b"\n" + row).columns
    json = formats.read("ndjson", b'{"entry_id":"0"}').columns
    assert csv is not None
    assert json is not None
    for columns in (csv, json):
        made = JudgeRequest(bytes(16), None, "warm-up", columns)
        judge([made], MerchantIndex(), 1, int(csv.occurred_ms[0]))


def build(settings: Settings, draining: Draining | None = None) -> FastAPI:
    ingest = Ingest(settings)
    brake = Brake()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI):
        async with ingest.running():
            yield

    app = FastAPI(title="Yumai ingest", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Awaited)
    app.add_middleware(
        Observed,
        requests=telemetry.INGEST_REQUESTS,
        seconds=telemetry.INGEST_REQUEST_SECONDS,
    )

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> Response:
        return refusal.response()

    @app.exception_handler(TooMuch)
    async def too_much(_: Request, spent: TooMuch) -> Response:
        telemetry.HTTP_OVER_BUDGET.inc(budget=spent.budget, whose="own" if spent.own else "all")
        code = "too_many" if spent.own else "unavailable"
        if spent.own:
            await brake.hold(asker())
        return Refusal(code, f"{spent.budget} in work").response()

    @app.exception_handler(TooLarge)
    async def too_large(_: Request, __: TooLarge) -> Response:
        return Refusal("too_large").response()

    @app.exception_handler(NeverCame)
    async def never_came(_: Request, error: NeverCame) -> Response:
        return Refusal("body_undecodable", f"the body did not come to its end: {error}").response()

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return Refusal("unavailable", f"not processed: {type(error).__name__}").response()

    @app.exception_handler(HTTPException)
    async def nowhere(_: Request, error: HTTPException) -> Response:
        """No such path, or a method that it does not take."""
        detail = "" if error.status_code == 404 else str(error.detail)
        said = Refusal("not_found", detail, status=error.status_code).response()
        said.headers.update(error.headers or {})
        return said

    @app.post("/v1/entries")
    async def entries(request: Request) -> Response:
        principal = ingest.principal(request)
        if not ingest.is_able():
            raise Refusal("unavailable", "; ".join(ingest.problems().values()))
        return await ingest.entries.post(request, principal)

    @app.api_route("/v1/receipts", methods=READ)
    async def receipts(request: Request) -> Response:
        return await ingest.receipts.newest(request, ingest.principal(request))

    @app.api_route("/v1/receipts/{receipt_id}", methods=READ)
    async def receipt(receipt_id: str, request: Request) -> Response:
        return await ingest.receipts.show(receipt_id, ingest.principal(request))

    @app.api_route("/v1/receipts/{receipt_id}/rows", methods=READ)
    async def rows(receipt_id: str, request: Request) -> Response:
        return await ingest.receipts.rows(receipt_id, request, ingest.principal(request))

    @app.api_route("/v1/control-totals", methods=READ)
    async def control_totals(request: Request) -> Response:
        return await ingest.receipts.control_totals(request, ingest.principal(request))

    @app.put("/v1/merchants")
    async def put_merchants(request: Request) -> Response:
        principal = ingest.principal(request)
        if not ingest.is_able():
            raise Refusal("unavailable", "; ".join(ingest.problems().values()))
        return await ingest.merchants.put(request, principal)

    @app.api_route("/v1/merchants", methods=READ)
    async def merchants(request: Request) -> Response:
        principal = ingest.principal(request)
        if not ingest.follower.caught_up.is_set():
            raise Refusal("unavailable", "the registry is still being read")
        return ingest.merchants.show(request, principal)

    @app.api_route("/health/live", methods=READ)
    async def live() -> Response:
        return answer({"status": "live"})

    @app.api_route("/health/ready", methods=READ)
    async def ready() -> Response:
        problems = ingest.problems()
        if draining is not None and draining.begun:
            problems["stopping"] = "told to stop: no more requests, please"
        if problems:
            return answer({"status": "not ready", "problems": problems}, 503)
        return answer({"status": "ready"})

    @app.api_route("/metrics", methods=READ)
    async def metrics(request: Request) -> Response:
        authorization = request.headers.get("authorization")
        if not scraping.may_read(authorization, settings.metrics_token):
            return Response(status_code=401, headers=scraping.REFUSED)
        body, media_type = exposition(request.headers.get("accept", ""))
        return Response(body, media_type=media_type)

    return app
