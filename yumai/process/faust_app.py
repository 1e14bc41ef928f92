"""The Faust app as every worker here uses it: what was measured to be safe (docs/decisions/0002)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import faust
from aiohttp import web

from yumai.broker import undecodable
from yumai.broker.security import Cluster, tls
from yumai.http import health
from yumai.observability import exporting, scraping
from yumai.observability.instruments import exposition
from yumai.process.settings import Settings

FAUSTS_PAGES = (
    *("web_router_enabled", "web_tables_enabled", "web_graph_enabled"),
    *("web_stats_enabled", "web_metrics_enabled"),
)


def faust_app(name: str, settings: Settings, **more: Any) -> faust.App:
    """An app of the group `name`; topics come from the set-up step, numbers are never kept in tables."""
    undecodable.guard()
    return faust.App(
        name,
        broker=[f"kafka://{host}" for host in settings.kafka.bootstrap.split(",")],
        broker_credentials=_credentials(settings.kafka),
        value_serializer="raw",
        key_serializer="raw",
        store="memory://",
        datadir=settings.work_dir,
        web_bind=settings.host,
        web_host=settings.host,
        web_port=settings.port,
        # Faust compares it with the one in the assignment, which a static member gets back as it was.
        canonical_url=f"http://{settings.worker or name}/",
        web_application_options={"middlewares": [_for_hosts_of(settings.host)]},
        # Our pages alone: Faust's own tell of topics and tables, and need no name.
        **dict.fromkeys(FAUSTS_PAGES, False),
        topic_disable_leader=True,
        topic_allow_declare=False,
        # Unacknowledged is the normal state: a stop must not wait for it.
        stream_wait_empty=False,
        broker_session_timeout=settings.session_timeout,
        broker_heartbeat_interval=settings.session_timeout / 3,
        broker_commit_interval=1.0,
        # A static member comes back to its partitions without waiting for its old session.
        consumer_group_instance_id=settings.worker or None,
        worker_redirect_stdouts=False,
        **more,
    )


def _for_hosts_of(bound_to: str) -> Any:
    """A middleware: on loopback, no Host of elsewhere is answered."""

    @web.middleware
    async def named(request: web.Request, handler: Any) -> Any:
        if not scraping.is_named(request.headers.get("host", ""), bound_to):
            raise web.HTTPForbidden(text="not a Host of this machine")
        return await handler(request)

    return named


def _credentials(cluster: Cluster) -> faust.SASLCredentials | None:
    if not cluster.has_users:
        return None
    return faust.SASLCredentials(
        username=cluster.username,
        password=cluster.password,
        mechanism=cluster.mechanism,
        ssl_context=tls(cluster) if cluster.is_encrypted else None,
    )


class Worker(Protocol):
    app: faust.App
    stopping: bool
    """It was told to."""


def run_worker(service: str, instance: str, worker: Worker) -> NoReturn:
    """Until it ends; then ends the process, with 0 where it was told to stop. Logs stay as they are set."""
    exporting.begin(service, instance or service)
    try:
        code = _exit_code(worker)
    finally:
        exporting.stop()
    # Threads that still wait for a store or a broker that is away must not hold the end up.
    logging.shutdown()
    os._exit(code)


def _exit_code(worker: Worker) -> int:
    app = worker.app
    runner = faust.Worker(app, loglevel="INFO", redirect_stdouts=False, override_logging=False)
    try:
        runner.execute_from_commandline()
    except SystemExit as end:
        in_order = worker.stopping and not app.crashed
        return 0 if in_order or end.code is None else 1
    except RuntimeError:
        # Faust closes its loop while a thread of its consumer still has a word to say.
        if not worker.stopping:
            raise
    return 0


def health_pages(
    app: faust.App, service: str, state: Callable[[], health.Health], metrics_token: str
) -> None:
    """`/health/live`, `/health/ready` and `/metrics`."""

    @app.page("/health/live")
    async def live(view, request):  # type: ignore[no-untyped-def]
        told = health.live(service)
        return view.json(told.body, status=told.status)

    @app.page("/health/ready")
    async def ready(view, request):  # type: ignore[no-untyped-def]
        told = state()
        return view.json(told.body, status=told.status)

    @app.page("/metrics")
    async def metrics(view, request):  # type: ignore[no-untyped-def]
        if not scraping.may_read(request.headers.get("authorization"), metrics_token):
            return view.text("", status=401, headers=scraping.REFUSED)
        body, media_type = exposition(request.headers.get("accept", ""))
        return view.bytes(body, headers={"Content-Type": media_type})
