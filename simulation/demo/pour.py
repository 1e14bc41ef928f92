"""Pours the registry, targets and history into a running set-up."""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import threading
import time
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from contracts.targets.codec import Target, encode
from simulation import door
from simulation.city import city
from simulation.demo.bar import Bar, Print
from simulation.demo.progress import (
    SEED,
    Progress,
    Segment,
    day_at,
    live_until_ms,
    present_ms,
)
from simulation.demo.stopping import stopped_by_signals
from simulation.flow import Flow, scale_for
from simulation.formats import MEDIA_TYPES, render
from simulation.targets import targets
from yumai.broker.security import Bootstrap, client_options
from yumai.process import settings
from yumai.topics import TARGETS

ENTRIES = 5_000_000
COVERAGE = 0.35
"""Of the city's spend, what the demo's platforms see (an assumption)."""
IN_FLIGHT = 4
REGISTRY_ROWS = 5_000


def demo_flow(seed: int, per_day: float) -> Flow:
    """The history's stream, with amounts that make COVERAGE of the city."""
    flow = Flow(city(seed), seed, late=0.01)
    return dataclasses.replace(flow, scale=scale_for(flow, per_day, COVERAGE))


def _begin(state_dir: Path, entries: int, seed: int, now_ms: int) -> Progress:
    today = day_at(now_ms)
    first = date(today.year - 2, 1, 1)
    flow = Flow(city(seed), seed)
    days = (today - first).days + 1
    per_day = entries / sum(flow.intensity(first + timedelta(days=n)) for n in range(days))
    return Progress(state_dir / "run" / "demo.json", seed, first.isoformat(), per_day)


# -- pour ---------------------------------------------------------------------------------------------


def pour(
    ingest_url: str,
    bureau_token: str,
    state_dir: Path,
    *,
    out: Print = print,
    bootstrap: str | None = None,
    entries: int = ENTRIES,
    seed: int = SEED,
    stop: threading.Event | None = None,
) -> bool:
    """Registry, targets and history into a running set-up; goes on where an earlier call stopped.

    True when all of it is acknowledged, False when stopped or refused (said by `out`). `bootstrap`:
    Kafka's address for the targets (default: KAFKA_BOOTSTRAP; without one there are no targets).
    Without `stop`, SIGTERM and SIGINT end it. Waits for as long as ingest is away.
    """
    ingest_url = ingest_url.rstrip("/")
    now_ms = present_ms()
    progress = Progress.load(Path(state_dir)) or _begin(Path(state_dir), entries, seed, now_ms)
    progress.plan(now_ms, live_until_ms(Path(state_dir)))
    progress.save()
    flow = demo_flow(progress.seed, progress.per_day)
    with stopped_by_signals(stop) as stopping, door.client() as http:
        try:
            if not progress.registry:
                _put_registry(http, ingest_url, bureau_token, flow, stopping, out)
                progress.registry = True
                progress.save()
            _put_targets(bootstrap or _kafka(), flow, progress, out)
            return _pour_history(http, ingest_url, bureau_token, flow, progress, stopping, out)
        except door.Stopped:
            return False
        except door.DoorRefused as refused:
            out(f"the demo was refused: {refused}")
            return False


def _put_registry(
    http: Any, ingest_url: str, token: str, flow: Flow, stop: threading.Event, out: Print
) -> None:
    rows = flow.city.registry()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for low in range(0, len(rows), REGISTRY_ROWS):
        body = json.dumps(rows[low : low + REGISTRY_ROWS]).encode()
        door.send(http, "PUT", f"{ingest_url}/v1/merchants", body, headers, stop)
    out(f"registry: {len(rows):,} rows")


def demo_targets(flow: Flow, per_day: float, first: date, today: date) -> list[dict[str, Any]]:
    """Targets of all services for each district and each year from the second on, made from the year before."""
    years = tuple(range(first.year + 1, today.year + 1))
    counts = {}
    day = first
    while day.year <= today.year:
        counts[day] = round(per_day * flow.intensity(day))
        day += timedelta(days=1)
    return targets(flow, counts, years)


def _kafka() -> Bootstrap | None:
    return settings.read().kafka if os.environ.get("KAFKA_BOOTSTRAP") else None


def _put_targets(bootstrap: Bootstrap | None, flow: Flow, progress: Progress, out: Print) -> None:
    today = day_at(present_ms())
    if today.year in progress.targets:
        return
    if bootstrap is None:
        out("targets: left out, KAFKA_BOOTSTRAP is not set")
        return
    from kafka import KafkaProducer

    from yumai.broker.target_log import keys

    # Where demo.json was lost: what somebody has set since then stays.
    known = keys(bootstrap)
    targets = demo_targets(flow, progress.per_day, date.fromisoformat(progress.first), today)
    producer = KafkaProducer(
        **client_options(bootstrap), acks="all", retries=10, client_id="yumai-demo"
    )
    try:
        sent = []
        for target in targets:
            if target["year"] in progress.targets:
                continue
            fen = target["target_fen"]
            event = Target(
                target["year"],
                target["district"],
                value=fen,
                target_fen=fen,
                basis="demo",
                by="demo",
                at=present_ms(),
            )
            if event.key in known:
                continue
            sent.append(producer.send(TARGETS.name, encode(event), event.key.encode()))
        for future in sent:
            future.get(timeout=60)
    finally:
        producer.close(timeout=10)
    progress.targets = sorted({*progress.targets, *(target["year"] for target in targets)})
    progress.save()
    out(f"targets: {len(sent)}, for {', '.join(map(str, progress.targets))}")


def _pour_history(
    http: Any,
    ingest_url: str,
    token: str,
    flow: Flow,
    progress: Progress,
    stop: threading.Event,
    out: Print,
) -> bool:
    """One request a day, IN_FLIGHT at a time, made while the earlier ones are under way."""
    todo = list(progress.pending)
    work: queue.Queue[tuple[Segment, bytes, int] | None] = queue.Queue(IN_FLIGHT)
    done: queue.Queue[tuple[Segment, int] | Exception] = queue.Queue()

    def send() -> None:
        while (item := work.get()) is not None:
            segment, body, size = item
            try:
                if size and not stop.is_set():
                    door.send(
                        http,
                        "POST",
                        f"{ingest_url}/v1/entries",
                        body,
                        _headers(token, progress, segment),
                        stop,
                    )
                done.put(door.Stopped() if stop.is_set() and size else (segment, size))
            except Exception as error:  # handed to the caller, who raises it
                done.put(error)

    workers = [
        threading.Thread(target=send, name=f"pour-{n}", daemon=True) for n in range(IN_FLIGHT)
    ]
    for worker in workers:
        worker.start()
    bar = Bar(len(todo), progress.done_entries, out)
    saved = time.monotonic()
    under_way = 0

    def note(answer: tuple[Segment, int] | Exception) -> None:
        nonlocal under_way, saved
        under_way -= 1
        if isinstance(answer, Exception):
            raise answer
        progress.pending.remove(answer[0])
        progress.done_entries += answer[1]
        bar.advance(answer[1], answer[0][0])
        if time.monotonic() - saved > 1:
            progress.save()
            saved = time.monotonic()

    def settle(most: int) -> None:
        """Waits until no more than `most` requests are under way, or it is to stop."""
        while under_way > most and not stop.is_set():
            with suppress(queue.Empty):
                note(done.get(timeout=0.2))

    try:
        for segment in todo:
            settle(2 * IN_FLIGHT - 1)  # as many wait in the queue as are being sent
            if stop.is_set():
                break
            work.put((segment, *_body(flow, progress.per_day, segment)))
            under_way += 1
        settle(0)
        return not stop.is_set() and not progress.pending
    finally:
        if stop.is_set():  # what is under way may still be acknowledged: a moment for it
            deadline = time.monotonic() + 2
            while under_way and time.monotonic() < deadline:
                with suppress(queue.Empty, door.Stopped):
                    note(done.get(timeout=0.1))
        for _ in workers:
            with suppress(queue.Full):
                work.put(None, timeout=0.1)
        progress.save()
        bar.close()


def _body(flow: Flow, per_day: float, segment: Segment) -> tuple[bytes, int]:
    """The segment's entries as an Arrow stream, and how many."""
    day = date.fromisoformat(segment[0])
    batch = flow.day(
        day, round(per_day * flow.intensity(day)), after_ms=segment[1], until_ms=segment[2]
    )
    return render(batch, "arrow"), len(batch)


def _headers(token: str, progress: Progress, segment: Segment) -> dict[str, str]:
    day, after, until = segment
    key = f"demo-{progress.seed}-{day}"
    if after is not None or until is not None:
        key += f"-{after or 0}-{until or 0}"
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": MEDIA_TYPES["arrow"],
        "Idempotency-Key": key,
    }
    if date.fromisoformat(day) < day_at(present_ms()):
        headers["Recorded-On"] = day
    return headers
