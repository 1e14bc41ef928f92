"""`python -m services.gateway`: the REST interface, the stream and the page."""

from __future__ import annotations

import sys

import uvicorn

from services.gateway.app import build
from yumai.observability import exporting, telemetry
from yumai.process.serving import Draining, Server
from yumai.process.settings import start
from yumai.sharing.connections import bounded


def main() -> int:
    settings = start("gateway", "httpx", "aiokafka")
    if settings.map_file is not None and not settings.map_file.is_file():
        print(f"YUMAI_MAP_FILE={str(settings.map_file)!r}: no such file", file=sys.stderr)
        return 2
    exporting.begin("gateway", settings.worker or "gateway")
    # As in ingest: threads that compute give the interpreter back soon.
    sys.setswitchinterval(0.001)
    draining = Draining()
    app = build(settings, draining)
    config = uvicorn.Config(
        draining.middleware(app),
        host=settings.host,
        port=settings.port,
        http=bounded(settings.connections, telemetry.HTTP_CONNECTIONS_ENDED),
        log_config=None,
        log_level="warning",
        # The stream's address may carry a token: addresses are not logged.
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    # The streams end when it stops: otherwise it would wait for their readers.
    try:
        Server(config, draining, settings.drain_seconds, app.state.hub.close).run()
    finally:
        exporting.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
