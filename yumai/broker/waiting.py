"""While the broker is awaited and Faust has not begun: its health, which Faust serves afterwards, and the asking."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

from kafka.errors import KafkaError

T = TypeVar("T")
ASK_SECONDS = 0.5


class NotYet(Exception):
    """Kafka answers, and lacks something that the caller needs; the text names it."""


class _Health(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        live = self.path.startswith("/health/live")
        body = json.dumps({"live": True} if live else {"ready": False, "problem": "no broker yet"})
        self.send_response(200 if live else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Probes are not news."""


@contextmanager
def waiting_health(host: str, port: int) -> Iterator[None]:
    server = ThreadingHTTPServer((host, port), _Health)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def until_there(ask: Callable[[], T], log: logging.Logger) -> T:
    """The first answer of `ask`, which raises while Kafka is away, or NotYet. `log` hears once why it waits."""
    waited = False
    while True:
        try:
            return ask()
        except (KafkaError, NotYet, OSError) as error:
            if not waited:
                log.warning("waiting for Kafka: %s", error)
            waited = True
            time.sleep(ASK_SECONDS)
