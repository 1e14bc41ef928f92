"""The answer of every process to a question about its health, in one shape:

    {"service", "status": "live" | "ready" | "not_ready", "waiting_for": {what: why}, "about": {…}}

`/health/live` is 200 while the process works at all; `/health/ready` is 503 while it waits for something.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

STOPPING = {"stopping": "told to stop: no more requests, please"}


class Health(NamedTuple):
    status: int
    body: dict[str, Any]


def live(service: str) -> Health:
    return Health(200, _body(service, "live", {}, {}))


def ready(
    service: str,
    waiting_for: Mapping[str, str],
    about: Mapping[str, Any] | None = None,
    in_spite: bool = False,
) -> Health:
    """`waiting_for`: what it needs and lacks, and why; `in_spite`: it serves all the same."""
    able = in_spite or not waiting_for
    body = _body(service, "ready" if able else "not_ready", waiting_for, about or {})
    return Health(200 if able else 503, body)


def why_not(body: Any) -> str | None:
    """The reasons in an answer of `/health/ready`, as one line; None where it gives none."""
    waiting = body.get("waiting_for") if isinstance(body, dict) else None
    if not isinstance(waiting, dict) or not waiting:
        return None
    return "; ".join(f"{what}: {why}" for what, why in waiting.items())


def _body(
    service: str, status: str, waiting_for: Mapping[str, str], about: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "service": service,
        "status": status,
        "waiting_for": dict(waiting_for),
        "about": dict(about),
    }
