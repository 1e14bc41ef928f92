"""Fills the log through the Arrow door with the bureau's token: rows of all platforms in large requests."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from bench.bodies import MEDIA_TYPES, arrow
from bench.expected import Expected
from bench.rows import Plan, rows
from bench.system import Failed, System

CHUNK_ROWS = 500_000
BODY_ROWS = 50_000
SENDERS = 3
TRIES = 20


def push(system: System, plan: Plan, first: int, count: int, expected: Expected) -> float:
    """Rows `first` … `first + count − 1`, and what they must add up to. Seconds it took; raises Failed."""
    begun = time.monotonic()
    here = threading.local()
    waiting: deque[Future[int]] = deque()
    accepted = 0
    with ThreadPoolExecutor(SENDERS, "push") as pool:
        for low in range(first, first + count, CHUNK_ROWS):
            size = min(CHUNK_ROWS, first + count - low)
            chunk = rows(plan, low, size)
            expected.add(chunk)
            for begin in range(0, size, BODY_ROWS):
                part = chunk.where(slice(begin, begin + BODY_ROWS))
                waiting.append(pool.submit(_send, here, system, arrow(part), f"push-{low + begin}"))
                while len(waiting) > 2 * SENDERS:
                    accepted += waiting.popleft().result()
        accepted += sum(future.result() for future in waiting)
    if accepted != count:
        raise Failed(f"the door accepted {accepted:,} of {count:,} pushed entries")
    return time.monotonic() - begun


def _send(here: threading.local, system: System, body: bytes, key: str) -> int:
    headers = {
        "Authorization": f"Bearer {system.token()}",
        "Content-Type": MEDIA_TYPES["arrow"],
        "Idempotency-Key": key,
    }
    said = ""
    for _ in range(TRIES):
        connection = getattr(here, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", system.ingest_port, timeout=60)
            here.connection = connection
        try:
            connection.request("POST", "/v1/entries", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == 200:
                return int(json.loads(text)["accepted"])
            said = f"HTTP {answer.status}: {text[:300]!r}"
            if answer.status not in (429, 503):
                break
        except (OSError, http.client.HTTPException) as error:
            here.connection = None
            said = str(error)
        time.sleep(0.5)
    raise Failed(f"the Arrow door: {said}")
