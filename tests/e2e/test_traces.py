"""One trace from a door to the events on the stream, seen by a receiver of OTLP; and what metrics go out."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka import KafkaProducer

from contracts.days import SHANGHAI
from services.alerts.looking import years_judged
from tests import otlp
from tests.e2e.conftest import port_base
from tests.e2e.harness import Yumai, running, until
from yumai.observability import telemetry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DISTRICT = "500103"
LAGGING = "500106"
"""The district of the alert, and of no other test."""
DAILY_FEN = 1_000_000


@dataclass
class Place:
    yumai: Yumai
    receiver: otlp.Receiver
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    sent: int = 0

    def row(self, fen: int, **fields: Any) -> bytes:
        self.sent += 1
        row = {
            "entry_id": f"t{self.sent}",
            "platform_id": "p1",
            "merchant_id": "m",
            "occurred_at": int((time.time() - 60) * 1000),
            "kind": "sale",
            "amount_fen": fen,
            "district_code": DISTRICT,
            "mcc": "5812",
        }
        return json.dumps(row | fields).encode()

    def rows(self, amounts: list[int]) -> bytes:
        return b"\n".join(self.row(fen) for fen in amounts)

    def days(self, fen: int, kind: str, *days: date) -> bytes:
        """An entry at each day's midnight in the district that will lag."""
        about = {"kind": kind, "district_code": LAGGING, "platform_id": "p3"}
        midnights = (datetime(d.year, d.month, d.day, tzinfo=SHANGHAI) for d in days)
        return b"\n".join(
            self.row(fen, occurred_at=int(at.timestamp() * 1000), **about) for at in midnights
        )

    def post(self, body: bytes, parent: str = "", **more: str) -> httpx.Response:
        headers = {
            "Authorization": f"Bearer {self.yumai.token()}",
            "Content-Type": "application/x-ndjson",
            **({"traceparent": parent} if parent else {}),
            **more,
        }
        answer = self.yumai.http.post(
            f"{self.yumai.ingest}/v1/entries", content=body, headers=headers
        )
        assert answer.status_code == 200, answer.text
        return answer

    def judged(self) -> int:
        """Rounds of alerts that judged somebody."""
        text = self.yumai.http.get(
            f"http://127.0.0.1:{self.yumai.base + 41}/metrics", headers=self.yumai.metrics_token
        ).text
        found = re.search(r'^yumai_alerts_rounds_total{result="judged"} (\S+)', text, re.M)
        return int(float(found[1])) if found else 0

    def listen(self) -> None:
        headers = {"Authorization": f"Bearer {self.yumai.token()}"}
        url = f"{self.yumai.gateway}/v1/stream"
        with (
            httpx.Client(timeout=None, trust_env=False) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            kind = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    self.events.append((kind, json.loads(line[6:])))

    def event(self, trace: str, kind: str = "cells", seconds: float = 30) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            for of, body in list(self.events):
                parents = body.get("traceparents") or [body.get("traceparent", "")]
                if of == kind and any(p[3:35] == trace for p in parents):
                    return body
            return None

        return until(found, seconds, f"an event {kind} of trace {trace}")

    def named(self, trace: str, *names: str) -> dict[str, otlp.Span]:
        """The spans of a trace by name, once all of these are there."""

        def found() -> dict[str, otlp.Span] | None:
            spans = {span.name: span for span in self.receiver.trace(trace)}
            return spans if set(names) <= spans.keys() else None

        return until(
            found, 30, lambda: f"{names} in {[s.name for s in self.receiver.trace(trace)]}"
        )


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    state: Path = tmp_path_factory.mktemp("traced")
    with otlp.receiver() as receiver, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        patch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=yumai")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        patch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "2000")
        with running(state, port_base()) as yumai:
            place = Place(yumai, receiver)
            threading.Thread(target=place.listen, daemon=True).start()
            yield place


CHAIN = (
    ("POST /v1/entries", "yumai-ingest"),
    ("group commit", "yumai-ingest"),
    ("send entries.v1", "yumai-ingest"),
    ("process entries.v1", "yumai-metrics"),
    ("send commits.v1", "yumai-metrics"),
    ("event cells", "yumai-gateway"),
)


def test_one_post_is_one_trace_to_the_stream(at: Place) -> None:
    answer = at.post(at.rows([100]))
    trace = answer.headers["traceresponse"][3:35]
    event = at.event(trace)
    spans = at.named(trace, *(name for name, _ in CHAIN), "judge", "INSERT entries")
    before = ""
    for name, service in CHAIN:
        assert spans[name].service == service
        assert spans[name].parent == before, name
        before = spans[name].id
    assert event["traceparent"] == f"00-{trace}-{before}-01"
    assert spans["judge"].parent == spans["send commits.v1"].id
    assert spans["judge"].service == "yumai-alerts"
    for name in ("INSERT entries", "INSERT cells", "INSERT blocks", "book"):
        assert spans[name].parent == spans["process entries.v1"].id
    root = spans["POST /v1/entries"]
    assert root.attributes["http.response.status_code"] == 200
    assert all(root.begun <= s.begun <= s.ended for s in spans.values())
    assert all(header["x-tenant"] == "yumai" for header in at.receiver.headers)


def test_the_senders_own_trace_goes_on_and_an_unsampled_one_is_not_recorded(at: Place) -> None:
    trace, unsampled = "ab" * 16, "cd" * 16
    at.post(at.rows([1]), f"00-{trace}-{'12' * 8}-01")
    at.post(at.rows([1]), f"00-{unsampled}-{'12' * 8}-00")
    at.event(trace)
    assert at.named(trace, "POST /v1/entries")["POST /v1/entries"].parent == "12" * 8
    assert not at.receiver.trace(unsampled)


def test_each_of_many_requests_reaches_the_stream_in_its_own_trace(at: Place) -> None:
    with ThreadPoolExecutor(12) as pool:
        bodies = [at.rows([n + 1] * 8) for n in range(24)]
        answers = list(pool.map(at.post, bodies))
    traces = [answer.headers["traceresponse"][3:35] for answer in answers]
    assert len(set(traces)) == len(traces)
    links = 0
    for trace in traces:
        at.event(trace)
        spans = at.named(trace, *(name for name, _ in CHAIN), "judge")
        # 8 rows are in several partitions: one flush of several records of this trace.
        links += len(spans["process entries.v1"].links)
    assert links


def test_a_record_of_a_feed_goes_on_in_its_senders_trace(at: Place) -> None:
    at.yumai.key("p2")
    trace = "ef" * 16
    headers = [("traceparent", f"00-{trace}-{'34' * 8}-01".encode())]
    producer = KafkaProducer(**at.yumai.feed_options("p2"), acks="all")
    try:
        producer.send("feed.p2.v1", at.row(100, platform_id="p2"), headers=headers).get(30)
    finally:
        producer.close(timeout=5)
    event = at.event(trace)
    chain = ("process feeds", *(name for name, _ in CHAIN[2:]))
    spans = at.named(trace, *chain)
    before = "34" * 8
    for name in chain:
        assert spans[name].parent == before, name
        before = spans[name].id
    assert event["traceparent"] == f"00-{trace}-{before}-01"


def test_the_post_that_makes_a_district_lag_is_one_trace_to_the_alert(at: Place) -> None:
    today = datetime.now(SHANGHAI).date()
    year = years_judged(today)[0]
    begin = date(year - 1, 1, 1)
    past = [begin + timedelta(n) for n in range((today - begin).days + 1)]
    yesterday = (today - timedelta(days=1)).isoformat()
    at.post(at.days(DAILY_FEN, "sale", *past[:-1]), **{"Recorded-On": yesterday})
    at.post(at.days(DAILY_FEN, "sale", today))
    at.yumai.settle()
    headers = {"Authorization": f"Bearer {at.yumai.token()}"}
    target = {"year": year, "district": LAGGING, "form": "amount", "value": DAILY_FEN * 360}
    before = at.judged()
    answer = at.yumai.http.put(f"{at.yumai.gateway}/v1/targets", json=[target], headers=headers)
    assert answer.status_code == 200, answer.text

    def level() -> str | None:
        found = at.yumai.get(f"{at.yumai.gateway}/v1/progress", district=LAGGING, year=year)
        return next((row["level"] for row in found["data"] if row["sector"] is None), None)

    until(lambda: level() == "green", 60, lambda: f"green, not {level()}")
    until(lambda: at.judged() > before, 60, "a round of judging with the target")
    assert not [body for kind, body in at.events if kind == "alert"]
    # Levels are of every day since March, so hysteresis is over as soon as the refund is booked.
    refund = at.post(at.days(DAILY_FEN * 40, "refund", date(year, 1, 31)))
    trace = refund.headers["traceresponse"][3:35]
    event = at.event(trace, "alert", 90)
    assert (event["district"], event["kind"], event["seq"]) == (LAGGING, "opened", 1)
    names = ("send commits.v1", "judge", "send alerts.v1", "event alert")
    spans = at.named(trace, *names)
    commit, judge, sent, told = (spans[name] for name in names)
    assert (judge.service, judge.parent) == ("yumai-alerts", commit.id)
    # A round may read the refund from the store before it hears of it: then the step is the commit's.
    assert (sent.service, sent.parent in (judge.id, commit.id)) == ("yumai-alerts", True)
    assert (told.service, told.parent) == ("yumai-gateway", sent.id)
    assert event["traceparent"] == f"00-{trace}-{told.id}-01"


def test_metrics_go_out_under_their_own_names(at: Place) -> None:
    wanted = {
        ("yumai-ingest", "yumai_ingest_entries_total"),
        ("yumai-metrics", "yumai_metrics_freshness_seconds"),
        ("yumai-alerts", "yumai_alerts_rounds_total"),
        ("yumai-gateway", "yumai_gateway_requests_total"),
    }
    until(lambda: wanted <= at.receiver.metrics.keys(), 30, lambda: sorted(at.receiver.metrics))
    assert {name for _, name in at.receiver.metrics} <= telemetry.CATALOGUE.keys()
    for (service, name), metric in at.receiver.metrics.items():
        known = telemetry.CATALOGUE[name]
        assert (metric.unit, metric.description) == (known.unit, known.says)
        assert service.removeprefix("yumai-") in known.by
    fresh = at.receiver.metrics["yumai-metrics", "yumai_metrics_freshness_seconds"]
    point = fresh.histogram.data_points[0]
    assert sum(point.bucket_counts) == point.count > 0


def test_every_service_exports_what_the_catalogue_says(at: Place) -> None:
    ports = {"gateway": 0, "ingest": 1, "metrics": 11, "alerts": 41}
    for service, offset in ports.items():
        text = at.yumai.http.get(
            f"http://127.0.0.1:{at.yumai.base + offset}/metrics", headers=at.yumai.metrics_token
        ).text
        exported = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
        named = {metric.name for metric in telemetry.of_service(service)}
        assert {name for name in exported if name.startswith("yumai_")} == named


def test_a_receiver_that_is_away_does_no_harm_and_is_named_once(at: Place) -> None:
    at.receiver.answer = 503
    try:
        for _ in range(3):
            at.post(at.rows([1]))
            time.sleep(1)
        until(lambda: "does not take traces" in at.yumai.log("ingest", 100_000), 60, "named")
        assert at.yumai.log("ingest", 100_000).count("does not take traces") == 1
    finally:
        at.receiver.answer = 200
    trace = at.post(at.rows([1])).headers["traceresponse"][3:35]
    at.named(trace, "POST /v1/entries")
    assert at.yumai.stop() < 20
