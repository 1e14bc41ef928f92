"""What `status` makes of the pages at /metrics."""

import math

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Counter as C
from prometheus_client import Gauge as G
from prometheus_client import Histogram as H

from console.running import signals
from yumai.observability import telemetry


def page(*make) -> str:  # type: ignore[no-untyped-def]
    registry = CollectorRegistry()
    for one in make:
        one(registry)
    return generate_latest(registry).decode()


def flushes(registry: CollectorRegistry) -> None:
    metric = telemetry.METRICS_FLUSH_SECONDS
    made = H(metric.name, metric.says, buckets=metric.buckets, registry=registry)
    for _ in range(98):
        made.observe(0.04)
    made.observe(3)
    made.observe(4)


def seen(number: float):  # type: ignore[no-untyped-def]
    def make(registry: CollectorRegistry) -> None:
        G(telemetry.METRICS_SEEN_BYTES.name, "x", registry=registry).set(number)

    return make


def canary(registry: CollectorRegistry) -> None:
    sent = C(telemetry.CANARY_SENT.name, "x", ["door"], registry=registry)
    failed = C(telemetry.CANARY_FAILURES.name, "x", ["door", "fault"], registry=registry)
    last = G(telemetry.CANARY_LAST_SUCCESS.name, "x", ["door"], registry=registry)
    sent.labels("json").inc(99)
    sent.labels("kafka").inc(1)
    failed.labels("kafka", "late").inc()
    failed.labels("kafka", "refused").inc(0)
    last.labels("json").set(1_000.0)


def requests(registry: CollectorRegistry) -> None:
    metric = telemetry.INGEST_REQUESTS
    made = C(metric.name, "x", list(metric.labels), registry=registry)
    made.labels("POST", "/v1/entries", "200").inc(997)
    made.labels("POST", "/v1/entries", "422").inc(2)
    made.labels("POST", "/v1/entries", "503").inc(1)


def test_pages_of_several_workers_are_put_together() -> None:
    texts = page(flushes, seen(1e6)), page(seen(2e6), canary), page(requests)
    told = signals.put_together([s for text in texts for s in signals.parse(text)], 1_030.0)
    assert told["flush"] == {"p50_seconds": 0.05, "p99_seconds": 5.0, "flushes": 100}
    assert told["seen"]["bytes"] == 3e6
    assert told["canary"]["sent"] == 100
    assert told["canary"]["failures"] == {"late": 1}
    assert told["canary"]["last_success_seconds_ago"] == {"json": 30.0}
    assert told["objectives"]["loss"] == {"share": 0.99, "wanted": 0.999, "kept": False}
    assert told["objectives"]["doors"] == {"share": 0.999, "wanted": 0.999, "kept": True}


def test_what_nobody_tells_is_not_known() -> None:
    told = signals.put_together(signals.parse(page(seen(math.nan))), 0.0)
    assert told["seen"]["bytes"] is None
    assert told["flush"]["p99_seconds"] is None
    assert told["objectives"]["freshness"]["kept"] is None


def test_a_dead_process_tells_nothing() -> None:
    assert signals.read("http://127.0.0.1:1", 0.5) == []


@pytest.mark.parametrize("text", ["yumai_x{", 'yumai_x{a="b} 1'])
def test_a_page_that_is_cut_off_is_an_error(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        signals.parse(text)


def test_the_table_shows_what_is_known_and_leaves_out_what_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from console import status_table
    from console.commands.status import EMPTY

    quiet = {"processes": [], "problems": [], **EMPTY}
    status_table.show(quiet | signals.put_together([], 0.0))
    assert "canary" not in capsys.readouterr().out
    told = signals.parse(page(flushes, canary, requests, seen(2e6)))
    status_table.show(
        quiet
        | signals.put_together(told, 1_030.0)
        | {"rejects": {"unknown_field": 3}, "audit": {"ok": False, "difference_fen": 1, "at": "x"}}
        | {"parts": {"entries": {"parts": 12, "bytes": 3_000_000}}}
    )
    out = capsys.readouterr().out
    for line in (
        "unknown_field 3", "p99 ≤ 5 s, 100 flushes", "2 MB over all workers", "entries 12 (3.0 MB)",
        "100 sent", "30 s ago, failed: late 1", "1 fen differ", "loss 99.000% below 99.9%",
    ):  # fmt: skip
        assert line in out
