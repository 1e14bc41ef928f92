"""Health while the broker is awaited and Faust, which serves it afterwards, has not begun."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Health(BaseHTTPRequestHandler):
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
