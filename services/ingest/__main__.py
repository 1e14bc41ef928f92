"""`python -m services.ingest`: the doors of Yumai."""

from __future__ import annotations

import logging
import os
import sys

# Large buffers come and go with every request: keep their pages instead of giving them back.
# glibc reads this at its start only, so the process begins once more with it.
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": "536870912", "MALLOC_MMAP_THRESHOLD_": "536870912"}


def main() -> int:
    from yumai import settings as settings_module

    try:
        settings = settings_module.read()
    except settings_module.BadSettings as error:
        print(error, file=sys.stderr)
        return 2
    if "--check" in sys.argv:
        for name, value in settings.masked().items():
            print(f"{name} = {value}")
        return 0
    if any(name not in os.environ for name in _MALLOC):
        os.environ.update({k: v for k, v in _MALLOC.items() if k not in os.environ})
        os.execv(sys.executable, [sys.executable, "-m", "services.ingest", *sys.argv[1:]])

    import uvicorn

    from services.ingest.app import build

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
    # They tell of every attempt to reach a broker that is away; we tell of it once.
    for noisy in ("kafka", "aiokafka"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    uvicorn.run(
        build(settings),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
