"""Liveness, readiness (its own, or of all four services), and the instruments for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from contracts.http.words import Health as HealthBody
from services.gateway.store import Store
from yumai.http import health
from yumai.http.answers import answer
from yumai.http.direct import Direct
from yumai.http.document import health_errors
from yumai.http.health import Health
from yumai.http.refusals import Unavailable
from yumai.observability import scraping, telemetry
from yumai.observability.instruments import exposition
from yumai.sharing.lately import Lately

SERVICE = "gateway"
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
        self._state: Lately[Health] = Lately(least=KEEP_SECONDS, most=KEEP_SECONDS, slow=math.inf)

    async def state(self) -> Health:
        return await self._state.of(None, self._ask)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _ask(self) -> Health:
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
        processes = {name: problems[name] or "ready" for name in urls}
        in_spite = self._was_ready and not self._services
        return health.ready(SERVICE, waiting, {"processes": processes}, in_spite)

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
        try:
            why = health.why_not(answer.json())
        except ValueError:
            why = None
        return f"not ready ({answer.status_code}): {why or answer.text}"[:300]


router = APIRouter(route_class=Direct, tags=["health"])


@router.get("/health/live", response_model=HealthBody)
async def live() -> Response:
    """Whether the process works at all."""
    return _told(health.live(SERVICE))


@router.get("/health/ready", response_model=HealthBody, responses=health_errors())
async def ready(request: Request) -> Response:
    """Whether it serves; where it knows the other services, whether they all do."""
    if request.app.state.draining.begun:
        return _told(health.ready(SERVICE, health.STOPPING))
    return _told(await request.app.state.readiness.state())


@router.get("/metrics", response_class=PlainTextResponse, include_in_schema=False)
async def metrics(request: Request) -> Response:
    token = request.app.state.settings.metrics_token
    if not scraping.may_read(request.headers.get("authorization"), token):
        return Response(status_code=401, headers=scraping.REFUSED)
    with contextlib.suppress(Unavailable):
        lag = (await request.app.state.store.freshness()).lag_seconds(datetime.now(UTC))
        telemetry.GATEWAY_FRESHNESS_LAG.set(lag)
    body, media_type = exposition(request.headers.get("accept", ""))
    return Response(body, media_type=media_type)


def _told(found: Health) -> Response:
    return answer(found.body, found.status)
