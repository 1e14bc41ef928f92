"""What is measured, in the order in which it is: a part fills the log, waits, and says what it saw."""

from __future__ import annotations

from collections.abc import Callable

from bench.parts import books, doors, fairness, freshness, per_event, tracing
from bench.run import Run

PARTS: dict[str, Callable[[Run], None]] = {
    "metrics.columnar": books.columnar,
    "faust.per_event": per_event.per_event,
    "metrics.on_20m": books.on_20m,
    "metrics.history": books.history,
    "ingest.ndjson": doors.ndjson,
    "ingest.arrow": doors.arrow,
    "ingest.kafka_json": doors.kafka_json,
    "freshness.p99_s": freshness.freshness,
    "tracing.off": tracing.cost,
    # The last: what it books is in no recount.
    "fairness": fairness.fairness,
}
