"""`python -m services.gateway`: the REST interface, the stream and the page."""

from __future__ import annotations

import logging
import sys

import uvicorn

from services.gateway.app import build
from yumai import settings as settings_module


def main() -> int:
    try:
        settings = settings_module.read()
    except settings_module.BadSettings as error:
        print(error, file=sys.stderr)
        return 2
    if "--check" in sys.argv:
        for name, value in settings.masked().items():
            print(f"{name} = {value}")
        return 0
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    config = uvicorn.Config(
        build(settings),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        # The stream's address may carry a token: addresses are not logged.
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
