"""What the processes tell at `/metrics`, put together for `yumai status`. Pure but for `read`.

Counters and histograms are since each process started; what nobody tells is None. The objectives are
those of `deploy/rules.yaml`.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from yumai.observability import telemetry
from yumai.observability.instruments import Histogram, Metric

Sample = tuple[str, Mapping[str, str], float]

FRESH_SECONDS, FRESH_SHARE = 10.0, 0.995
DOORS_SHARE = 0.999
LOSS_SHARE = 0.999
BYTES_MOST = 4 << 20


def read(url: str, timeout: float, token: str = "") -> list[Sample]:
    """The samples of one process; none where it does not answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError, IndexError):
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET", "/metrics", headers=bearer)
        answer = connection.getresponse()
        if answer.status == 200:
            return parse(answer.read(BYTES_MOST).decode())
    return []


def parse(text: str) -> list[Sample]:
    """Our own metrics only. Raises ValueError."""
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        if family.name.startswith("yumai_")
        for sample in family.samples
        if not math.isnan(sample.value)
    ]


def put_together(samples: Iterable[Sample], now: float) -> dict[str, Any]:
    told = _Told(list(samples))
    flush = telemetry.METRICS_FLUSH_SECONDS
    outbox_age = told.most(telemetry.ALERTS_OUTBOX_AGE)
    last = told.by(telemetry.CANARY_LAST_SUCCESS, "door", max)
    return {
        "flush": {
            "p50_seconds": told.quantile(flush, 0.5),
            "p99_seconds": told.quantile(flush, 0.99),
            "flushes": told.total(flush, "_count"),
        },
        "seen": {"bytes": told.total(telemetry.METRICS_SEEN_BYTES)},
        "outbox": {"waiting": told.most(telemetry.ALERTS_WAITING), "age_seconds": outbox_age},
        "alerts": {
            "rounds": told.by(telemetry.ALERTS_ROUNDS, "result"),
            "round_p99_seconds": told.quantile(telemetry.ALERTS_ROUND_SECONDS, 0.99),
        },
        "canary": {
            "sent": told.total(telemetry.CANARY_SENT),
            "failures": told.by(telemetry.CANARY_FAILURES, "fault"),
            "last_success_seconds_ago": {door: round(now - at, 1) for door, at in last.items()},
            "p99_seconds": told.quantile(telemetry.CANARY_SECONDS, 0.99),
        },
        "objectives": told.objectives(),
    }


class _Told:
    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    def of(self, metric: Metric, end: str = "") -> list[Sample]:
        return [s for s in self._samples if s[0] == metric.name + end]

    def total(
        self, metric: Metric, end: str = "", of: Callable[[Mapping[str, str]], bool] | None = None
    ) -> float | None:
        found = [v for _, labels, v in self.of(metric, end) if of is None or of(labels)]
        return sum(found) if self.of(metric, end) else None

    def most(self, metric: Metric) -> float | None:
        return max((value for *_, value in self.of(metric)), default=None)

    def by(
        self, metric: Metric, label: str, of: Callable[[list[float]], float] = sum
    ) -> dict[str, float]:
        """Without what never happened."""
        found: dict[str, list[float]] = {}
        for _, labels, value in self.of(metric):
            if value:
                found.setdefault(labels[label], []).append(value)
        return {key: of(values) for key, values in sorted(found.items())}

    def buckets(self, metric: Histogram) -> dict[float, float]:
        """Upper bound -> how many up to it, over all series."""
        found: dict[float, float] = {}
        for _, labels, value in self.of(metric, "_bucket"):
            bound = float(labels["le"])
            found[bound] = found.get(bound, 0.0) + value
        return dict(sorted(found.items()))

    def quantile(self, metric: Histogram, share: float) -> float | None:
        """The bound of the bucket that holds it: at most so long. Infinity has no bound."""
        buckets = self.buckets(metric)
        whole = buckets.get(math.inf, 0.0)
        if not whole:
            return None
        bound = next(b for b, count in buckets.items() if count >= share * whole)
        return None if math.isinf(bound) else bound

    def objectives(self) -> dict[str, Any]:
        fresh = self.buckets(telemetry.METRICS_FRESHNESS_SECONDS)
        in_time = fresh.get(FRESH_SECONDS)

        def faults(metric: Metric) -> tuple[float, float]:
            bad = self.total(metric, of=lambda labels: labels["status"][0] in "5o")
            return bad or 0.0, self.total(metric) or 0.0

        bad, asked = (
            sum(pair)
            for pair in zip(
                faults(telemetry.INGEST_REQUESTS), faults(telemetry.GATEWAY_REQUESTS), strict=True
            )
        )
        lost = self.total(
            telemetry.CANARY_FAILURES, of=lambda labels: labels["fault"] in ("late", "wrong")
        )
        sent = self.total(telemetry.CANARY_SENT)
        return {
            "freshness": _objective(in_time, fresh.get(math.inf), FRESH_SHARE),
            "doors": _objective(asked - bad, asked, DOORS_SHARE),
            "loss": _objective(None if sent is None else sent - (lost or 0.0), sent, LOSS_SHARE),
        }


def _objective(good: float | None, all_: float | None, wanted: float) -> dict[str, Any]:
    share = good / all_ if good is not None and all_ else None
    return {"share": share, "wanted": wanted, "kept": None if share is None else share >= wanted}


def read_all(
    urls: Iterable[str],
    until: float,
    background: Callable[[Callable[[], Any]], Callable[[float], Any]],
    token: str = "",
) -> dict[str, Any]:
    """Every process at once, none longer than until a moment (monotonic)."""
    left = max(until - time.monotonic(), 0.1)
    asking = [background(lambda url=url: read(url, left, token)) for url in urls]  # type: ignore[misc]
    samples: list[Sample] = []
    for wait in asking:
        found = wait(until)
        if isinstance(found, list):
            samples += found
    return put_together(samples, time.time())
