"""The gateway's wiring: what answers which path."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from services.gateway import (
    actions,
    alerts,
    deliveries,
    dimensions,
    feeds,
    figures,
    health,
    live,
    overview,
    progress,
    standing,
    subscriptions,
    targets,
    work_items,
)
from services.gateway.follow import Follower
from services.gateway.login import DefaultDeny
from services.gateway.register import Register
from services.gateway.store import Store
from services.gateway.system_figures import SystemFigures
from yumai.access import Identity
from yumai.http import document, refusals
from yumai.observability import telemetry
from yumai.observability.http_requests import Observed
from yumai.process.serving import Draining
from yumai.process.settings import Settings
from yumai.sealing import Sealer
from yumai.sharing.aside import Asides
from yumai.sharing.asking import Awaited
from yumai.sharing.bodies import Bodies, Brake
from yumai.sharing.turns import Budget
from yumai.sharing.workers import Workers
from yumai.store.asked import Queries

THREADS, THREADS_EACH = 3, 2
REQUESTS_MOST = 1_024
DESCRIPTION = """Figures, alerts and targets of a city's service consumption. Money is integer fen; every figure is
an estimate from transactions. What you see is what your token may see."""
PAGES = Path(__file__).parent / "pages"
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
ROUTERS = tuple(
    module.router
    for module in (
        figures,
        overview,
        feeds,
        targets,
        progress,
        alerts,
        actions,
        work_items,
        subscriptions,
        deliveries,
        dimensions,
        live,
        health,
    )
)


def build(settings: Settings, draining: Draining | None = None) -> FastAPI:
    """The application; nothing is connected before the first request or the lifespan."""
    identity = Identity(settings.identity_dir)
    store = Store(settings.clickhouse_dsn, Queries(settings.reader_queries))
    brake = Brake()
    asides = Asides("judging addresses")
    workers = Workers(THREADS, THREADS_EACH, "judging")
    bodies = Bodies(
        Budget(REQUESTS_MOST, settings.sender_requests),
        Budget(settings.held_bytes, settings.sender_bytes),
    )
    hub = live.Hub(store, settings.reader_streams)
    follower = Follower(settings.kafka, hub.commit, hub.learn, hub.whole)
    sealer = Sealer(settings.subscriptions_key, settings.identity_dir)
    register = Register(settings.kafka, sealer, hub.alert)
    system = SystemFigures(settings.kafka, settings.clickhouse_dsn)
    readiness = health.Readiness(
        settings.service_urls, store, lambda: follower.problem or register.problem
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        work = [
            asyncio.create_task(follower.run()),
            asyncio.create_task(hub.serve_platforms()),
            asyncio.create_task(app.state.evaluations.warm()),
            asyncio.create_task(register.run()),
        ]
        for task in work:
            task.add_done_callback(_ended)
        system.start()
        yield
        system.stop()
        hub.close()
        for task in work:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        await readiness.close()
        await register.close()
        await store.close()
        workers.close()
        asides.close()

    app = FastAPI(
        title="Yumai gateway",
        lifespan=lifespan,
        middleware=[
            Middleware(
                Observed,
                requests=telemetry.GATEWAY_REQUESTS,
                seconds=telemetry.GATEWAY_REQUEST_SECONDS,
            ),
            Middleware(Awaited),
            Middleware(DefaultDeny, identity=identity, bodies=bodies, brake=brake),
        ],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        description=DESCRIPTION,
    )
    app.state.settings = settings
    app.state.identity = identity
    app.state.store = store
    app.state.bodies = bodies
    app.state.brake = brake
    app.state.workers = workers
    app.state.asides = asides
    app.state.tests = subscriptions.Tests()
    app.state.hub = hub
    app.state.readiness = readiness
    app.state.draining = draining or Draining()
    app.state.register = register
    app.state.sealer = sealer
    app.state.feeds = feeds.Health(store)
    app.state.evaluations = progress.Evaluations(
        store, register, app.state.feeds, settings.alerts_rules, workers
    )
    app.state.standing = standing.Standing(app.state.evaluations)
    app.state.overviews = overview.Overviews(
        store, app.state.evaluations, app.state.feeds, register
    )
    app.add_route("/", _page, include_in_schema=False)
    app.mount("/pages", _Pages(directory=PAGES))
    refusals.install(app, brake)
    document.install(app, ROUTERS)
    return app


class _Pages(StaticFiles):
    def file_response(self, *args, **kwargs) -> Response:  # type: ignore[no-untyped-def]
        answer = super().file_response(*args, **kwargs)
        answer.headers.update(PAGE_HEADERS)
        return answer


async def _page(_: Request) -> Response:
    return FileResponse(PAGES / "index.html", headers=PAGE_HEADERS)


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        # A bug: end loudly rather than go on without the stream.
        import os

        logging.getLogger("yumai.gateway").critical("following ended", exc_info=error)
        os._exit(1)
