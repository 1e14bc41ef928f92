"""`tracing.*`: what traces cost, off and on, of the work that a request is to ingest and metrics.

In this process and without broker and store, whose work is not counted: so the shares are upper bounds.

    baseline   read, judge, encode; decode, sort, book: no call of tracing
    off        every call that the services make of tracing, nobody listening; timed alone, since it is less
               than two runs of the baseline differ by
    on         the baseline with these calls, every request sampled and sent to a receiver here
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from bench.bodies import ndjson
from bench.rows import rows
from bench.run import Run
from contracts import traces
from services.ingest import formats
from services.ingest.classify import MerchantIndex
from services.ingest.judging import Request, judge
from services.ingest.publish import Message, _sending
from services.ingest.rounds import messages
from services.metrics.decoding import EntriesRecord
from services.metrics.ledger import LedgerBuffer
from services.metrics.processor import BookedBefore, Processor
from services.metrics.pump import _work
from services.metrics.seen import Filter
from yumai.observability import tracing

ROWS = 1_000
"""Of a request: what platforms send. Larger ones make the shares smaller."""
REQUESTS, BLOCKS = 5, 100
CALLS = 2_000
WAYS = ("baseline", "on")
STEPS = ("book", "INSERT entries", "INSERT cells", "INSERT receipt_bookings", "INSERT blocks")


def cost(run: Run) -> None:
    path = Path(run, ndjson(rows(run.one_day(), run.take_rows(ROWS), ROWS)))
    ways: dict[str, Callable[[], None]] = {
        "baseline": path.plain,
        "on": path.traced,
    }
    took: dict[str, list[float]] = {way: [] for way in ways}
    with _receiver() as endpoint:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
        for block in range(BLOCKS + 1):
            # In another order each time: who comes after whom must not matter.
            for way in WAYS if block % 2 else reversed(WAYS):
                tracing.begin(provider.get_tracer("bench") if way == "on" else None)
                begun = time.process_time()
                for _ in range(REQUESTS):
                    ways[way]()
                if way == "on":
                    provider.force_flush()
                if block:  # the first one warms up
                    took[way].append((time.process_time() - begun) / REQUESTS)
        tracing.begin(None)
        provider.shutdown()
    # Whatever disturbs makes it slower, so the quick blocks say what it takes.
    usual = {way: statistics.quantiles(times, n=5)[0] for way, times in took.items()}
    begun = time.process_time()
    for _ in range(CALLS):
        path.calls()
    usual["off"] = (time.process_time() - begun) / CALLS
    shares = {
        "off": usual["off"] / usual["baseline"] * 100,
        "on": (usual["on"] / usual["baseline"] - 1) * 100,
    }
    run.say(
        f"a request of {ROWS} entries: {usual['baseline'] * 1e6:,.0f} cpu-µs; tracing off "
        f"{usual['off'] * 1e6:,.1f} ({shares['off']:.2f} %), on {shares['on']:+.0f} %"
    )
    for way, share in shares.items():
        run.add(f"tracing.{way}", share, "% of a request", sum(took["on"]), path.booked > 0)


class Path:
    """A request's way through ingest and metrics, without what is outside the processes."""

    def __init__(self, run: Run, body: bytes) -> None:
        self._body, self._now = body, run.now_ms
        self._index = MerchantIndex()
        self._processor = Processor(1, lambda *_: _KNOWN)
        self._ledger = LedgerBuffer(4 * ROWS)
        self._offset = 0
        self.booked = 0

    def plain(self) -> None:
        requests = [self._read(())]
        chunk = judge(requests, self._index, 1, self._now)
        sent = [(m.headers, m.value) for m in messages(chunk, 1, requests, tracing.NOTHING)]
        self._book(self._records(sent))

    def traced(self) -> None:
        """Takes one request through every traced step of the services: middleware, group commit, sending, round, steps, announcement, event."""
        with tracing.work("POST", (), "server", root=True) as post:
            requests = [self._read(post.parents)]
            parents = (parent for request in requests for parent in request.parents)
            with tracing.work("group commit", parents) as work:
                chunk = judge(requests, self._index, 1, self._now)
                sent = _send(messages(chunk, 1, requests, work))
        records = self._records(sent)
        round_, _ = _work({0: records}) if tracing.on() else (tracing.NOTHING, {})
        with round_:
            self._book(records)
            _tell(round_)

    def calls(self) -> None:
        """The same without the work itself."""
        with (
            tracing.work("POST", (), "server", root=True) as post,
            tracing.work("group commit", iter(post.parents)),
        ):
            _send([_MESSAGE])
        round_, _ = _work({0: []}) if tracing.on() else (tracing.NOTHING, {})
        with round_:
            _tell(round_)

    def _read(self, parents: tuple[str, ...]) -> Request:
        columns = formats.read("ndjson", self._body).columns
        assert columns is not None
        return Request(bytes(16), None, "ndjson", columns, parents=parents)

    def _records(self, sent) -> list[EntriesRecord]:  # type: ignore[no-untyped-def]
        return [
            EntriesRecord(0, n, self._now, dict(headers), value.to_pybytes())
            for n, (headers, value) in enumerate(sent)
        ]

    def _book(self, records: list[EntriesRecord]) -> None:
        # Other rows each time: a row is fresh only once.
        self._processor.assign(0, 0, Filter(8 * ROWS))
        round_ = self._processor.process({0: records}, self._ledger)
        self.booked = round_.parts[0].entries


def _send(records: list[Message]) -> list[tuple[list[tuple[str, bytes]], Any]]:
    sent = []
    with contextlib.ExitStack() as sending:
        for message in records:
            going = sending.enter_context(_sending(message))
            named = going.parents or message.parents
            sent.append(([*message.headers, *traces.to_kafka(named)], message.value))
    return sent


def _tell(round_: tracing.Work) -> None:
    for step in STEPS:
        with round_.step(step, "client"):
            pass
    with round_.step("send commits.v1", "producer") as told:
        parents = traces.of_kafka(traces.to_kafka(told.parents))
    with tracing.work("judge", parents), tracing.work("event cells", parents):
        pass


_MESSAGE = Message("entries.v1", b"", headers=[("v", b"1")])
_KNOWN = BookedBefore(
    np.empty((0, 2), np.uint64),
    [],
    *(np.empty(0, kind) for kind in (np.uint64, np.uint64, np.uint32)),
)


@contextlib.contextmanager
def _receiver():  # type: ignore[no-untyped-def]
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
