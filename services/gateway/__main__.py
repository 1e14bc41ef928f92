"""`python -m services.gateway`: the REST interface, the stream and the page."""

from __future__ import annotations

import sys
from types import FrameType

import uvicorn

from services.gateway.app import build
from services.gateway.live import Hub
from yumai import exporting
from yumai.settings import start


class _Server(uvicorn.Server):
    """Ends the streams when it is told to stop: otherwise it would wait for their readers."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._hub.close()
        super().handle_exit(sig, frame)


def main() -> int:
    settings = start("gateway", "httpx", "aiokafka")
    if settings.map_file is not None and not settings.map_file.is_file():
        print(f"YUMAI_MAP_FILE={str(settings.map_file)!r}: no such file", file=sys.stderr)
        return 2
    exporting.begin("gateway", settings.worker or "gateway")
    app = build(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        log_level="warning",
        # The stream's address may carry a token: addresses are not logged.
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    try:
        _Server(config, app.state.hub).run()
    finally:
        exporting.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
