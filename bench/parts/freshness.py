"""`freshness.*`: live entries in small requests; acknowledged → visible in `/v1/cells`.

Every request has some rows in a cell that nobody else uses (hour × district × platform of one day of
the past), so one cheap query tells of all requests which are visible. A request is visible when all
its marked rows are; the time is the end of the first answer that shows them, so never too short.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from bench.bodies import MEDIA_TYPES, ndjson
from bench.clients import Answer, Job
from bench.clients import run as run_clients
from bench.parts.doors import of_platform, prepare, receipts_ok
from bench.rows import DISTRICTS, PLATFORMS, Rows
from bench.run import Run
from contracts.days import DAY_MS, SHANGHAI_MS

REQUEST_ROWS = 200
MARKED = 20
"""Rows of a request in its own cell: enough to be in every partition."""
CLIENTS = 4
WARM_ENTRIES = 20_000
POLL_SECONDS = 0.1
MARKER_DAYS = 40
"""So long ago: a day on which the bench books nothing else but history."""
_PLACES = [
    n for n, code in enumerate(DISTRICTS) if code not in ("000000", "500105", "500112", "500157")
]
Cell = tuple[str, str, str]
"""Period, district, platform as `/v1/cells` writes them."""


@dataclass(frozen=True)
class Marker:
    cell: Cell
    wanted: int
    """Entries in the cell when the request is visible."""


def freshness(run: Run) -> None:
    prepare(run)
    warm_up(run)
    ledger = run.expected.entries
    day = (run.now_ms + SHANGHAI_MS) // DAY_MS - MARKER_DAYS
    there = _entries(run, day)
    markers: dict[tuple[int, int], Marker] = {}
    jobs, bad = [], 0
    each = run.sizes.live_rate * run.sizes.live_seconds // REQUEST_ROWS // CLIENTS
    every = CLIENTS * REQUEST_ROWS / run.sizes.live_rate
    for n in range(CLIENTS):
        paths = []
        for k, (hour, place) in enumerate(itertools.islice(_cells(), each)):
            part = _marked(run, n, day, hour, place)
            cell = _name(day, hour, place, n)
            markers[n, k] = Marker(cell, there.get(cell, 0) + MARKED)
            run.expected.add(part)
            bad += int(part.bad.sum())
            path = run.bodies / f"live-{n}-{k}"
            path.write_bytes(ndjson(part))
            paths.append(path)
        headers = {
            "Authorization": f"Bearer {run.keys[PLATFORMS[n]]}",
            "Content-Type": MEDIA_TYPES["ndjson"],
        }
        jobs.append(Job(run.system.ingest_port, headers, tuple(paths), every, every * n / CLIENTS))
    run.say(
        f"{run.sizes.live_rate:,} entries/s for {run.sizes.live_seconds} s in requests of {REQUEST_ROWS};"
        f" onto a ledger of {ledger:,}"
    )
    watcher = Watcher(run, day, set(markers.values()))
    watcher.start()
    try:
        answers = run_clients(jobs, run.sampler.watch, 60 + 3 * run.sizes.live_seconds)
        watcher.finish(30)
    finally:
        watcher.stop()
    _judge(run, answers, markers, watcher, bad)


def warm_up(run: Run) -> None:
    """A worker that has its partitions, and a first flush behind it."""
    run.system.scale("metrics", 1)
    run.push(run.one_day(registered=True), WARM_ENTRIES)
    run.catch_up()


def _judge(
    run: Run,
    answers: list[list[Answer]],
    markers: dict[tuple[int, int], Marker],
    watcher: Watcher,
    bad: int,
) -> None:
    seen = watcher.seen
    delays = np.array(
        [
            max(seen[marker] - answers[n][k].acked_at, 0.0)
            for (n, k), marker in markers.items()
            if marker in seen
        ]
    )
    flat = [a for one in answers for a in one]
    ok = receipts_ok(run, flat, REQUEST_ROWS, bad)
    missing = len(markers) - len(delays)
    if missing:
        run.say(f"{missing} of {len(markers)} requests never became visible")
    ok = run.settle() and ok and not missing
    since, until = min(a.sent_at for a in flat), max(a.acked_at for a in flat)
    whole = ("metrics", "store", "broker", "ingest", "gateway", "alerts")
    cpu = run.sampler.used(whole, since, until)
    p50, p99, worst = np.percentile(delays, [50, 99, 100]) if len(delays) else [float("inf")] * 3
    ack = np.percentile([a.acked_at - a.sent_at for a in flat], 99)
    rate = sum(a.accepted + a.rejected for a in flat) / (until - since)
    run.say(
        f"visible after {p50:.2f} s (p50), {p99:.2f} s (p99), {worst:.2f} s (worst);"
        f" acknowledged within {ack * 1000:.0f} ms (p99); {watcher.polls} polls"
    )
    run.add("freshness.p99_s", p99, "s", cpu, ok)
    run.add("freshness.p50_s", p50, "s", cpu, ok)
    run.add("freshness.ack_p99_s", ack, "s", cpu, ok)
    run.add_window(
        "freshness.rate", rate, len(flat) * REQUEST_ROWS, since, until, whole, ok, "entries/s"
    )


def _cells() -> Iterator[tuple[int, int]]:
    """A client's own cells: every hour × district once."""
    return itertools.product(range(24), _PLACES)


def _marked(run: Run, client: int, day: int, hour: int, place: int) -> Rows:
    """Live rows, the first of them in the request's own cell; their merchants are in no registry."""
    part = of_platform(run.one_day(bad=True), client, run, REQUEST_ROWS)
    marked = np.flatnonzero(~part.bad)[:MARKED]
    part.merchant[:] += 50_000_000
    part.occurred_ms[:] = run.now_ms - part.number % 60_000
    part.occurred_ms[marked] = day * DAY_MS - SHANGHAI_MS + hour * 3_600_000 + 1_000
    part.district[marked] = place
    return part


def _name(day: int, hour: int, place: int, client: int) -> Cell:
    on = date(1970, 1, 1) + timedelta(days=day)
    return f"{on}T{hour:02d}:00+08:00", DISTRICTS[place], PLATFORMS[client]


def _entries(run: Run, day: int) -> dict[Cell, int]:
    """The marker day's cells now."""
    on = date(1970, 1, 1) + timedelta(days=day)
    query = f"from={on}&to={on}&grain=hour&group_by=district,platform"
    connection = http.client.HTTPConnection("127.0.0.1", run.system.gateway_port, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {run.system.token()}"}
        connection.request("GET", f"/v1/cells?{query}", headers=headers)
        rows = json.loads(connection.getresponse().read())["data"]
    finally:
        connection.close()
    return {(r["period"], r["district"], r["platform"]): int(r["entries"]) for r in rows}


class Watcher(threading.Thread):
    """Asks for the marker day again and again, and notes when each marker was first there."""

    def __init__(self, run: Run, day: int, markers: set[Marker]) -> None:
        super().__init__(name="watcher", daemon=True)
        self._run, self._day, self._waiting = run, day, set(markers)
        self._ending = threading.Event()
        self.seen: dict[Marker, float] = {}
        self.polls = 0

    def run(self) -> None:
        while self._waiting and not self._ending.wait(POLL_SECONDS):
            try:
                cells = _entries(self._run, self._day)
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                continue
            now = time.monotonic()
            self.polls += 1
            shown = {m for m in self._waiting if cells.get(m.cell, 0) >= m.wanted}
            self._waiting -= shown
            self.seen |= dict.fromkeys(shown, now)

    def finish(self, seconds: float) -> None:
        self.join(seconds)

    def stop(self) -> None:
        self._ending.set()
        self.join(35)
