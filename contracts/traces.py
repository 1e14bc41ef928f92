"""How a trace travels in Kafka's headers: W3C Trace Context, and more than one trace a record.

`traceparent` is the first trace of a record; `tracelinks`, where there is one, holds the others, joined
by commas: a record carries many requests. Both are optional; what can't be read is left out, and no
record is ever refused for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

TRACEPARENT = "traceparent"
TRACELINKS = "tracelinks"
TRACES_MOST = 64
"""Traces that one record carries on; those beyond end at ingest."""
PARENTS_MOST = 16 * TRACES_MOST

Headers = Mapping[str, bytes] | Iterable[tuple[str, bytes]] | None

_PARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)


def parent(text: str | None) -> str | None:
    """The traceparent as version 00 knows it, None where it is not one."""
    match = _PARENT.fullmatch(text or "")
    if match is None or (match[1] and match[0].startswith("00")):
        return None
    return match[0][:55]


def to_kafka(parents: Sequence[str]) -> list[tuple[str, bytes]]:
    """`parents`: valid ones, the first goes first."""
    if not parents:
        return []
    headers = [(TRACEPARENT, parents[0].encode())]
    if len(parents) > 1:
        headers.append((TRACELINKS, ",".join(parents[1:TRACES_MOST]).encode()))
    return headers


def of_kafka(headers: Headers) -> tuple[str, ...]:
    """All parents of a record, the first first; empty where there is none."""
    found = dict(headers or ())
    texts = [
        (found.get(TRACEPARENT) or b"").decode("latin-1"),
        *(found.get(TRACELINKS) or b"").decode("latin-1").split(","),
    ]
    return tuple(p for text in texts[: TRACES_MOST + 1] if (p := parent(text)) is not None)


def bounded(parents: Iterable[str]) -> list[str]:
    """These parents without repetitions, for at most the first TRACES_MOST traces."""
    kept: list[str] = []
    known: set[str] = set()
    for one in dict.fromkeys(parents):
        if trace_id(one) in known or len(known) < TRACES_MOST:
            known.add(trace_id(one))
            kept.append(one)
        if len(kept) >= PARENTS_MOST:
            break
    return kept


def trace_id(parent: str) -> str:
    return parent[3:35]
