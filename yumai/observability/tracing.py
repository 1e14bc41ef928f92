"""Traces through the whole pipeline, though batches merge: one piece of work, a span in each of its traces.

    POST ─▶ send entries.v1 ─▶ process entries.v1 ─▶ INSERT …, send commits.v1 ─┬▶ event cells
                                                                              └▶ judge ─▶ send alerts.v1 ─▶ event alert

A record carries many requests, a flush many records, a round of judging many commits. `Work` is such a
piece: for each trace (of the first TRACES_MOST) it has a span of its own, child of the first span of
that trace that led here, linked to the other ones. So every request's own trace reaches the stream.

Off until `begin`: then nothing of OpenTelemetry's SDK is imported, and each call here is one comparison.
Spans never touch what is stored.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from contextvars import ContextVar
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal

from contracts.traces import TRACES_MOST, trace_id

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

log = logging.getLogger("yumai.observability.tracing")

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int | float | bool]
LINKS_MOST = 32

_tracer: Tracer | None = None
current: ContextVar[tuple[str, str] | None] = ContextVar("current", default=None)
"""Ids of trace and span of what is being done, for the logs."""


def begin(tracer: Tracer | None) -> None:
    """From here on spans are made; None: no more."""
    global _tracer
    _tracer = tracer


def on() -> bool:
    return _tracer is not None


class Work:
    """One piece of work as one span in each trace it belongs to. May have none. Not thread-safe."""

    __slots__ = ("_spans", "_token")

    def __init__(self, spans: dict[str, Span]) -> None:
        self._spans = spans
        self._token: Any = None

    def __bool__(self) -> bool:
        return bool(self._spans)

    @property
    def parents(self) -> tuple[str, ...]:
        """The parents that the next piece of work names."""
        return tuple(_traceparent(span) for span in self._spans.values())

    def parents_of(self, traces: Collection[str]) -> tuple[str, ...]:
        return tuple(_traceparent(span) for id_, span in self._spans.items() if id_ in traces)

    def step(
        self,
        name: str,
        kind: Kind = "internal",
        attributes: Attributes | None = None,
        *,
        begun: int | None = None,
        only: Collection[str] | None = None,
    ) -> Work:
        """A part of it. `only`: in these traces. `begun`: ns since 1970, now if left out."""
        if _tracer is None or not self._spans:
            return NOTHING
        from opentelemetry.trace import set_span_in_context

        begun = begun or time.time_ns()
        return Work(
            {
                id_: _tracer.start_span(
                    name, set_span_in_context(span), _kind(kind), attributes, None, begun
                )
                for id_, span in self._spans.items()
                if only is None or id_ in only
            }
        )

    def rename(self, name: str) -> None:
        for span in self._spans.values():
            span.update_name(name)

    def note(self, name: str, value: str | int | float | bool) -> None:
        for span in self._spans.values():
            span.set_attribute(name, value)

    def end(self, error: BaseException | str | None = None, at: int | None = None) -> None:
        """`error`: why it failed; only its type is told of an exception, never what it holds."""
        if not self._spans:
            return
        if error is not None:
            self.fail(error if isinstance(error, str) else type(error).__name__)
        at = at or time.time_ns()
        for span in self._spans.values():
            span.end(at)

    def fail(self, why: str) -> None:
        if not self._spans:
            return
        from opentelemetry.trace import Status, StatusCode

        for span in self._spans.values():
            span.set_attribute("error.type", why)
            span.set_status(Status(StatusCode.ERROR, why))

    def __enter__(self) -> Work:
        if self._spans:
            context = next(iter(self._spans.values())).get_span_context()
            self._token = current.set((f"{context.trace_id:032x}", f"{context.span_id:016x}"))
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._token is not None:
            current.reset(self._token)
            self._token = None
        self.end(error)


NOTHING = Work({})


def work(
    name: str,
    parents: Iterable[str],
    kind: Kind = "internal",
    attributes: Attributes | None = None,
    *,
    root: bool = False,
    begun: int | None = None,
) -> Work:
    """Work that these parents led to. `root`: without any it begins a trace of its own."""
    if _tracer is None:
        return NOTHING
    by_trace: dict[str, list[str]] = {}
    for parent in parents:
        if int(parent[53:55], 16) & 1 or root:
            by_trace.setdefault(trace_id(parent), []).append(parent)
    if not by_trace and not root:
        return NOTHING
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, NonRecordingSpan, set_span_in_context

    begun = begun or time.time_ns()
    chosen = dict(list(by_trace.items())[:TRACES_MOST])
    # Of each trace the first, then the others: of many links all traces have their share.
    everybody = [p for row in zip_longest(*chosen.values()) for p in row if p is not None]
    spans = {}
    for id_, of_trace in chosen.items():
        mine = of_trace[0]
        links = [Link(_context(p)) for p in everybody[: LINKS_MOST + 1] if p != mine]
        within = set_span_in_context(NonRecordingSpan(_context(mine)), Context())
        span = _tracer.start_span(name, within, _kind(kind), attributes, links, begun)
        if span.is_recording():
            spans[id_] = span
    if root and not by_trace:
        span = _tracer.start_span(name, Context(), _kind(kind), attributes, None, begun)
        if span.is_recording():
            spans[f"{span.get_span_context().trace_id:032x}"] = span
    return Work(spans)


def _context(parent: str):  # type: ignore[no-untyped-def]
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(
        int(parent[3:35], 16), int(parent[36:52], 16), True, TraceFlags(int(parent[53:55], 16))
    )


def _kind(kind: Kind):  # type: ignore[no-untyped-def]
    from opentelemetry.trace import SpanKind

    return SpanKind[kind.upper()]


def _traceparent(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags) & 1:02x}"
