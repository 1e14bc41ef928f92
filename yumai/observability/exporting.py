"""Traces and metrics by OTLP, over HTTP with protobuf, where OTEL_EXPORTER_OTLP_ENDPOINT says.

The SDK reads the standard OTEL_* variables itself: headers, timeout, compression, certificates, sampler,
queue and interval. A receiver that is away costs nothing but a bounded queue: one line in the log when it
goes and one when it is back; what was lost is counted (`yumai_telemetry_dropped_total`).
"""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import REGISTRY

from yumai.observability import telemetry, tracing
from yumai.observability.otel_variables import wanted

log = logging.getLogger("yumai.observability.telemetry")

STOP_SECONDS = 3.0
"""What is left is sent for so long at most when a service ends."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_stops: list[Callable[[], None]] = []


def begin(service: str, instance: str, environment: Mapping[str, str] | None = None) -> None:
    """Makes this process's instruments, and sends out what is wanted. `stop` before the process ends."""
    environment = os.environ if environment is None else environment
    telemetry.begin(service)
    if wanted("TRACES", environment):
        _send_traces(_resource(service, instance))
    if wanted("METRICS", environment):
        _send_metrics(_resource(service, instance), environment)


def stop() -> None:
    """Sends what is left, for STOP_SECONDS at most."""
    tracing.begin(None)
    stops, _stops[:] = list(_stops), []
    threads = [threading.Thread(target=one, daemon=True) for one in stops]
    for thread in threads:
        thread.start()
    until = time.monotonic() + STOP_SECONDS
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0))


def _resource(service: str, instance: str) -> Any:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before ours."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    ours = {
        "service.name": f"yumai-{service}",
        "service.namespace": "yumai",
        "service.instance.id": f"{instance}@{socket.gethostname()}",
    }
    # For the SDK arguments come before the environment, so the environment's values are passed as arguments.
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


class _Watch:
    """Tells once that the receiver is away, and once that it is back."""

    def __init__(self, signal: str) -> None:
        self._signal = signal
        self._away = False

    def note(self, delivered: bool, items: int) -> None:
        if not delivered:
            telemetry.TELEMETRY_DROPPED.inc(items, signal=self._signal)
        if delivered == self._away:
            self._away = not delivered
            if self._away:
                log.warning("the OTLP receiver does not take %s; going on without", self._signal)
            else:
                log.info("the OTLP receiver takes %s again", self._signal)


def _quiet() -> None:
    """The SDK tells of every attempt; `_Watch` tells of the first."""
    for name in ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _session(signal: str) -> Any:
    """A proxy set for the outside must not see calls on loopback."""
    import requests

    endpoint = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or os.environ.get(
        "OTEL_EXPORTER_OTLP_ENDPOINT", ""
    )
    session = requests.Session()
    session.trust_env = urlsplit(endpoint).hostname not in LOOPBACK
    return session


def _send_traces(resource: Any) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

    watch = _Watch("traces")

    class Watched(OTLPSpanExporter):
        def export(self, spans):  # type: ignore[no-untyped-def]
            result = super().export(spans)
            watch.note(result is SpanExportResult.SUCCESS, len(spans))
            return result

    _quiet()
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Watched(session=_session("TRACES"))))
    tracing.begin(provider.get_tracer("yumai"))
    _stops.append(provider.shutdown)
    log.info("traces go out by OTLP")


def _send_metrics(resource: Any, environment: Mapping[str, str]) -> None:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import MetricExportResult

    _quiet()
    exporter = OTLPMetricExporter(session=_session("METRICS"))
    watch, ending = _Watch("metrics"), threading.Event()
    try:
        interval = float(environment.get("OTEL_METRIC_EXPORT_INTERVAL") or 60_000) / 1000
    except ValueError:
        interval = 60.0
    begun = time.time_ns()

    def send() -> None:
        data, points = collected(resource, begun)
        watch.note(exporter.export(data) is MetricExportResult.SUCCESS, points)

    def run() -> None:
        while not ending.wait(interval):
            try:
                send()
            except Exception:
                log.exception("metrics could not be sent")

    thread = threading.Thread(target=run, name="otlp-metrics", daemon=True)
    thread.start()

    def end() -> None:
        ending.set()
        thread.join(STOP_SECONDS)
        send()
        exporter.shutdown()

    _stops.append(end)


def collected(resource: Any, begun: int) -> tuple[Any, int]:
    """The catalogue's metrics as OTLP has them, and how many points; names as at `/metrics`."""
    from opentelemetry.sdk.metrics import export as otlp
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    now = time.time_ns()
    metrics, points = [], 0
    for family in REGISTRY.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        known = telemetry.CATALOGUE.get(name)
        if known is None:
            continue
        cumulative = otlp.AggregationTemporality.CUMULATIVE
        data: otlp.Sum | otlp.Gauge | otlp.Histogram
        if family.type == "histogram":
            of = list(_histograms(family.samples, begun, now))
            data = otlp.Histogram(of, cumulative)
        else:
            numbers = [
                otlp.NumberDataPoint(dict(s.labels), begun, now, s.value)
                for s in family.samples
                if not math.isnan(s.value)
            ]
            of = numbers  # type: ignore[assignment]
            data = (
                otlp.Sum(numbers, cumulative, True)
                if family.type == "counter"
                else otlp.Gauge(numbers)
            )
        if of:
            points += len(of)
            metrics.append(otlp.Metric(name, known.says, known.unit, data))
    scope = otlp.ScopeMetrics(InstrumentationScope("yumai"), metrics, "")
    return otlp.MetricsData([otlp.ResourceMetrics(resource, [scope], "")]), points


def _histograms(samples: Iterable[Any], begun: int, now: int) -> Iterable[Any]:
    """Prometheus' cumulative buckets as counts of each."""
    from opentelemetry.sdk.metrics import export as otlp

    series: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    for sample in samples:
        labels = {k: v for k, v in sample.labels.items() if k != "le"}
        of = series.setdefault(tuple(labels.items()), {"bounds": [], "below": [], "sum": 0.0})
        if sample.name.endswith("_bucket"):
            if sample.labels["le"] != "+Inf":
                of["bounds"].append(float(sample.labels["le"]))
            of["below"].append(int(sample.value))
        elif sample.name.endswith("_sum"):
            of["sum"] = sample.value
    for key, of in series.items():
        below = of["below"]
        counts = [n - before for n, before in zip(below, [0, *below[:-1]], strict=True)]
        yield otlp.HistogramDataPoint(
            dict(key),
            begun,
            now,
            below[-1],
            of["sum"],
            counts,
            of["bounds"],
            None,  # type: ignore[arg-type]  # smallest and largest are not known
            None,  # type: ignore[arg-type]
        )
