"""An OTLP receiver over HTTP: what was sent, decoded by OpenTelemetry's own protocol."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Span:
    trace: str
    id: str
    parent: str
    name: str
    service: str
    links: list[tuple[str, str]]
    """(trace, span)"""
    attributes: dict[str, Any]
    kind: int
    begun: int
    ended: int


@dataclass
class Receiver:
    port: int = 0
    spans: list[Span] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    """(service, name) -> the last metric of that name"""
    headers: list[dict[str, str]] = field(default_factory=list)
    answer: int = 200

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def trace(self, id_: str) -> list[Span]:
        return [span for span in list(self.spans) if span.trace == id_]

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for of in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = _attributes(of.resource.attributes)["service.name"]
                self.spans += [_span(s, service) for scope in of.scope_spans for s in scope.spans]
        elif path == "/v1/metrics":
            for about in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                service = _attributes(about.resource.attributes)["service.name"]
                for scope in about.scope_metrics:
                    self.metrics |= {(service, m.name): m for m in scope.metrics}


def _attributes(pairs) -> dict[str, Any]:  # type: ignore[no-untyped-def]
    return {p.key: getattr(p.value, p.value.WhichOneof("value")) for p in pairs}


def _span(span, service: str) -> Span:  # type: ignore[no-untyped-def]
    return Span(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        service,
        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        _attributes(span.attributes),
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
    )


@contextmanager
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            made.headers.append(dict(self.headers))
            if made.answer == 200:
                made.take(self.path, body)
            self.send_response(made.answer)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """A test's output is its own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
