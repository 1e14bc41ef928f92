"""`python -m services.canary`: a round a minute, told at `/metrics`."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time

import orjson
import uvicorn
from kafka.errors import KafkaError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.canary import round as rounds
from yumai import canary
from yumai.access import Identity
from yumai.broker import provision
from yumai.http import health
from yumai.observability import exporting, scraping, telemetry
from yumai.observability.instruments import exposition
from yumai.process.settings import Settings, start

log = logging.getLogger("yumai.canary")

EVERY_SECONDS = 60.0


class Canary:
    """Rounds in a thread of its own, and what the last one found."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ending = threading.Event()
        self._last: list[rounds.Outcome] = []
        self._failing: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()

    def _run(self) -> None:
        while not self._ending.is_set():
            began = time.monotonic()
            with contextlib.suppress(KafkaError, OSError):
                # In a cluster the topic is declared, and this user may not make one.
                provision.ensure(self._settings.kafka, (rounds.FEED,))
            target = rounds.Target(
                self._settings.ingest_url,
                self._settings.gateway_url,
                self._settings.kafka,
                key_of(self._settings),
            )
            try:
                # The round must end before the next is due, also when all doors hang.
                self._tell(rounds.run(target, patience=EVERY_SECONDS - 15))
            except Exception:
                log.exception("canary_failed")
            self._ending.wait(max(EVERY_SECONDS - (time.monotonic() - began), 1.0))

    def _tell(self, outcomes: list[rounds.Outcome]) -> None:
        self._last = outcomes
        for outcome in outcomes:
            telemetry.CANARY_SENT.inc(door=outcome.door)
            if outcome.ok:
                assert outcome.visible_seconds is not None
                telemetry.CANARY_SECONDS.observe(outcome.visible_seconds, door=outcome.door)
                telemetry.CANARY_LAST_SUCCESS.set(time.time(), door=outcome.door)
            else:
                telemetry.CANARY_FAILURES.inc(door=outcome.door, fault=outcome.fault)
        failing = {o.door: o.error for o in outcomes if not o.ok}
        if failing != self._failing:
            log.warning("canary %s", failing or "all doors work again")
        self._failing = failing

    async def last(self, request: Request) -> Response:
        """The last round, door by door."""
        return _json([outcome.row() for outcome in self._last])


def key_of(settings: Settings) -> str:
    return settings.canary_key or Identity(settings.identity_dir).issue_token(
        f"platform:{canary.PLATFORM}", days=1
    )


def _json(body: object) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


async def alive(_: Request) -> Response:
    return _json(health.live("canary").body)


async def ready(_: Request) -> Response:
    """Always: a door that fails is an alarm, no reason to restart the canary."""
    return _json(health.ready("canary", {}).body)


async def metrics(request: Request) -> Response:
    """`/metrics`."""
    body, content_type = exposition(request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": content_type})


def guarded(app: Starlette, settings: Settings) -> ASGIApp:
    """Everything but the health pages asks for the token; a Host of elsewhere gets nothing."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked = Request(scope)
            if not scraping.is_named(asked.headers.get("host", ""), settings.host):
                return await Response(status_code=403)(scope, receive, send)
            is_health = asked.url.path.startswith("/health/")
            authorization = asked.headers.get("authorization")
            if not (is_health or scraping.may_read(authorization, settings.metrics_token)):
                refusal = Response(status_code=401, headers=scraping.REFUSED)
                return await refusal(scope, receive, send)
        await app(scope, receive, send)

    return handle


def main() -> int:
    settings = start("canary", "httpx", "kafka")
    exporting.begin("canary", settings.worker or "canary")
    mine = Canary(settings)
    routes = [
        Route("/health/live", alive),
        Route("/health/ready", ready),
        Route("/metrics", metrics),
        Route("/last", mine.last),
    ]
    mine.start()
    try:
        uvicorn.run(
            guarded(Starlette(routes=routes), settings),
            host=settings.host,
            port=settings.port,
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
        )
    finally:
        mine.stop()
        exporting.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
