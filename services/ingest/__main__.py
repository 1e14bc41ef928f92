"""`python -m services.ingest`: the doors of Yumai."""

from __future__ import annotations

import logging
import os
import sys

# Large buffers come and go with every request: keep their pages instead of giving them back.
# glibc reads this at its start only, so the process begins once more with it.
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": "536870912", "MALLOC_MMAP_THRESHOLD_": "536870912"}


def main() -> int:
    from yumai.process.settings import start

    settings = start("ingest")
    if any(name not in os.environ for name in _MALLOC):
        os.environ.update({k: v for k, v in _MALLOC.items() if k not in os.environ})
        os.execv(sys.executable, [sys.executable, "-m", "services.ingest", *sys.argv[1:]])

    import uvicorn

    from services.ingest.app import build
    from yumai.observability import exporting, telemetry
    from yumai.process.serving import Draining, Server
    from yumai.sharing.connections import bounded

    # Threads that judge hold the interpreter: the loop has it back within a millisecond.
    sys.setswitchinterval(0.001)
    # They tell of every attempt to reach a broker that is away; we tell of it once.
    for noisy in ("kafka", "aiokafka"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    exporting.begin("ingest", settings.worker or "ingest")
    draining = Draining()
    config = uvicorn.Config(
        draining.middleware(build(settings, draining)),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=bounded(settings.connections, telemetry.HTTP_CONNECTIONS_ENDED),
        ws="none",
        access_log=False,
        log_config=None,
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
    )
    try:
        Server(config, draining, settings.drain_seconds).run()
    finally:
        exporting.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
