"""The wiring of ingest: which parts there are, who knows whom, what answers where."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from fastapi import FastAPI
from kafka.errors import KafkaError

from contracts.receipts import codec as receipt_codec
from services.ingest import formats, memory
from services.ingest.bookings import Bookings
from services.ingest.classify import MerchantIndex
from services.ingest.decoder.pool import Decoders
from services.ingest.doors.figures import MerchantsDoor, ReceiptFigures
from services.ingest.doors.over_http import EntriesDoor
from services.ingest.doors.over_kafka import KafkaDoor
from services.ingest.doors.routes import router
from services.ingest.following import Follower, read_tail
from services.ingest.judging import Request as JudgeRequest
from services.ingest.judging import judge
from services.ingest.merchants import Registry
from services.ingest.publish import Publisher
from services.ingest.receipts import KEPT, KEPT_MS, RecentReceipts
from services.ingest.rounds import Rounds
from yumai.access import Identity
from yumai.broker.stray import passed_over
from yumai.http import document, refusals
from yumai.http.refusals import Refused
from yumai.observability import telemetry
from yumai.observability.http_requests import Observed
from yumai.process.serving import Draining
from yumai.process.settings import Settings
from yumai.sharing.asking import Awaited
from yumai.sharing.bodies import Bodies, Brake
from yumai.sharing.turns import Budget
from yumai.sharing.workers import Workers
from yumai.store.asked import Queries
from yumai.topics import MERCHANTS, RECEIPTS

log = logging.getLogger("yumai.ingest")

_PRELOAD_SECONDS = 3.0
THREADS, THREADS_EACH = 3, 2
"""One sender keeps as many threads at work as there are cores at least; one is left for another."""
REQUESTS_MOST = 1_024
DESCRIPTION = """Takes entries, and answers with receipts: a 200 means that Kafka has all of it. Money is integer fen."""


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
        self.known = RecentReceipts()
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

        self.follower = Follower(self._bootstrap, MERCHANTS, self.registry.apply, moved)
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
                    read_tail,
                    self._bootstrap,
                    RECEIPTS,
                    back=KEPT,
                    since_ms=since_ms,
                    seconds=_PRELOAD_SECONDS,
                )
            except (KafkaError, OSError) as error:
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

    def check_able(self) -> None:
        """Raises Refused (503)."""
        if not self.is_able():
            raise Refused("unavailable", None, "; ".join(self.problems().values()))


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

    app = FastAPI(
        title="Yumai ingest",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.add_middleware(Awaited)
    app.add_middleware(
        Observed,
        requests=telemetry.INGEST_REQUESTS,
        seconds=telemetry.INGEST_REQUEST_SECONDS,
    )
    app.state.ingest = ingest
    app.state.draining = draining or Draining()
    app.state.metrics_token = settings.metrics_token
    # Nothing was acknowledged, whatever went wrong: the sender sends it again.
    refusals.install(app, brake, bug="unavailable")
    document.install(app, [router])
    return app
