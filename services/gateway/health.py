"""Liveness, readiness (its own, or of all four services), and the instruments for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.errors import Unavailable
from services.gateway.store import Store
from yumai.observability import scraping, telemetry
from yumai.observability.instruments import exposition

SERVICES = ("ingest", "metrics", "alerts")
ASK_SECONDS = 2.0
KEEP_SECONDS = 0.5


def services_of(text: str) -> dict[str, dict[str, str]]:
    """`ingest=http://…,metrics-1=http://…` as service -> process -> address."""
    found: dict[str, dict[str, str]] = {service: {} for service in SERVICES}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, url = part.partition("=")
        service = name.rpartition("-")[0] if name.rpartition("-")[2].isdigit() else name
        found.setdefault(service, {})[name] = url.rstrip("/")
    return found


class Readiness:
    """Asks the other services, the store and the broker, at most twice a second.

    A service is ready when one of its processes is: others may be starting, or be gone since the
    list was made. Without addresses (a cluster) readiness is this process's own: once store and broker
    were there it stays, since all gateways would leave their Service together; answers say what is away.
    """

    def __init__(self, service_urls: str, store: Store, broker: Callable[[], str]) -> None:
        self._services = services_of(service_urls) if service_urls.strip() else {}
        self._was_ready = False
        self._store = store
        self._broker = broker
        self._client: httpx.AsyncClient | None = None
        self._lock = asyncio.Lock()
        self._kept: tuple[float, dict[str, Any]] | None = None

    async def state(self) -> dict[str, Any]:
        async with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] > KEEP_SECONDS:
                self._kept = (time.monotonic(), await self._ask())
            return self._kept[1]

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _ask(self) -> dict[str, Any]:
        if self._client is None:
            # trust_env off: a proxy set for the outside must not see calls on loopback.
            self._client = httpx.AsyncClient(timeout=ASK_SECONDS, trust_env=False)
        urls = {name: url for of in self._services.values() for name, url in of.items()}
        problems = dict(
            zip(
                ("store", *urls),
                await asyncio.gather(
                    self._store_problem(), *(self._problem(url) for url in urls.values())
                ),
                strict=True,
            )
        )
        problems["broker"] = self._broker()
        waiting = {name: why for name in ("store", "broker") if (why := problems[name])}
        for service, processes in self._services.items():
            if not processes:
                waiting[service] = "no process of it is wanted"
            elif all(problems[name] for name in processes):
                waiting |= {name: problems[name] for name in processes}
        self._was_ready = self._was_ready or not waiting
        return {
            "ready": not waiting or (self._was_ready and not self._services),
            "waiting_for": waiting,
            "processes": {name: problems[name] or "ready" for name in urls},
        }

    async def _store_problem(self) -> str:
        try:
            await self._store.ping()
        except Unavailable as error:
            return str(error)
        return ""

    async def _problem(self, url: str) -> str:
        assert self._client is not None
        try:
            answer = await self._client.get(f"{url}/health/ready")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"[:200]
        if answer.status_code == 200:
            return ""
        return f"not ready ({answer.status_code}): {answer.text[:200]}"


async def live(_: Request) -> Response:
    return _json({"live": True}, 200)


async def ready(request: Request) -> Response:
    if request.app.state.draining.begun:
        return _json({"ready": False, "waiting_for": {"gateway": "told to stop"}}, 503)
    state = await request.app.state.readiness.state()
    return _json(state, 200 if state["ready"] else 503)


async def metrics(request: Request) -> Response:
    token = request.app.state.settings.metrics_token
    if not scraping.may_read(request.headers.get("authorization"), token):
        return Response(status_code=401, headers=scraping.REFUSED)
    with contextlib.suppress(Unavailable):
        lag = (await request.app.state.store.freshness()).lag_seconds(datetime.now(UTC))
        telemetry.GATEWAY_FRESHNESS_LAG.set(lag)
    body, media_type = exposition(request.headers.get("accept", ""))
    return Response(body, media_type=media_type)


def _json(body: dict[str, Any], status: int) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


Handler = Callable[[Request], Awaitable[Response]]
