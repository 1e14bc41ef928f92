"""What both HTTP services do with each request: count it, time it, begin its trace. ASGI middleware."""

from __future__ import annotations

import time

from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts import traces
from yumai.observability import tracing
from yumai.observability.instruments import Counter, Histogram
from yumai.observability.telemetry import METHODS, OUTSIDE, PROBES


class Observed:
    """The outermost: a request that is turned away is one too. Paths are those of routes, never addresses.

    The request's trace is in `scope["state"]["work"]`; the answer names it (`traceresponse`).
    """

    def __init__(self, app: ASGIApp, requests: Counter, seconds: Histogram) -> None:
        self._app, self._requests, self._seconds = app, requests, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun = time.perf_counter()
        work = _work(scope) if tracing.on() else tracing.NOTHING
        scope.setdefault("state", {})["work"] = work
        # Now: a mounted application changes what the scope says of the path.
        template = _template(scope)
        status, took = 499, 0.0

        async def answered(message: Message) -> None:
            nonlocal status, took
            if message["type"] == "http.response.start":
                status, took = message["status"], time.perf_counter() - begun
                if work:
                    value = work.parents[0].encode()
                    message = {
                        **message,
                        "headers": [*message["headers"], (b"traceresponse", value)],
                    }
            await send(message)

        try:
            with work:
                try:
                    await self._app(scope, receive, answered)
                except Exception:
                    status = status if took else 500
                    raise
                finally:
                    path = template if "endpoint" in scope else OUTSIDE
                    _describe(work, scope["method"], path, status)
        finally:
            labels = {"method": scope["method"], "path": path}
            self._requests.inc(status=status, **labels)
            self._seconds.observe(took or time.perf_counter() - begun, **labels)


def _template(scope: Scope) -> str:
    """The path of the route that this request would reach. A route itself notes it in no scope."""
    for route in scope["app"].routes:
        if route.matches(scope)[0] is not Match.NONE:
            return str(route.path)
    return OUTSIDE


def _describe(work: tracing.Work, method: str, path: str, status: int) -> None:
    if not work:
        return
    work.rename(f"{method} {path}")
    work.note("http.route", path)
    work.note("http.response.status_code", status)
    if status >= 500:
        work.fail(str(status))


def _work(scope: Scope) -> tracing.Work:
    """The span of a request; it holds no address, since that may carry a token."""
    if scope["path"] in PROBES:
        return tracing.NOTHING
    given = next((v for k, v in scope["headers"] if k == b"traceparent"), b"").decode("latin-1")
    parent = traces.parent(given)
    method = scope["method"] if scope["method"] in METHODS else "_OTHER"
    return tracing.work(
        method,
        [parent] if parent else [],
        "server",
        {"http.request.method": method, "url.scheme": scope.get("scheme", "http")},
        root=True,
    )
