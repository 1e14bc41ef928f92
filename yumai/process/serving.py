"""A uvicorn server that ends in order: readiness off first, what came is answered, exit code 0.

A load balancer hears of it by the readiness, and for some seconds goes on sending: these requests
are answered too, and each answer asks the connection to be closed, so that the next one goes elsewhere.
"""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Draining:
    """Whether this process has been told to stop. Also the middleware that says so to clients."""

    def __init__(self) -> None:
        self.begun = False

    def middleware(self, app: ASGIApp) -> ASGIApp:
        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            async def closing(message: Message) -> None:
                if self.begun and message["type"] == "http.response.start":
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
                await send(message)

            await app(scope, receive, closing if scope["type"] == "http" else send)

        return handle


class Server(uvicorn.Server):
    """`seconds`: how long new requests are still taken after SIGTERM."""

    def __init__(
        self,
        config: uvicorn.Config,
        draining: Draining,
        seconds: float,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._draining, self._seconds, self._on_stop = draining, seconds, on_stop
        self._stop_at: float | None = None

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        with super().capture_signals():
            yield
            # Not raised again: an end in order is an exit code 0.
            self._captured_signals.clear()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._stop_at is None and self._seconds > 0:
            self._draining.begun = True
            self._stop_at = time.monotonic() + self._seconds
            return
        self._stop(sig, frame)

    def _stop(self, sig: int, frame: FrameType | None) -> None:
        self._draining.begun = True
        self._on_stop()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What is there now stays: a collection that looks through it stops everybody for 0.2 s.
        gc.collect()
        gc.freeze()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if self._stop_at is not None and time.monotonic() >= self._stop_at and not self.should_exit:
            self._on_stop()
            self.should_exit = True
        return await super().on_tick(counter)
