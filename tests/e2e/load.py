"""Clients that go on pushing, whatever happens to the system, and one that watches what is shown."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta

import httpx
import pyarrow as pa

from contracts.days import SHANGHAI
from simulation.flow import Flow
from simulation.formats import render
from tests.e2e import senders
from tests.e2e.harness import Yumai
from tests.e2e.senders import Client, Feed

TODAY = datetime.now(SHANGHAI).date()
SPANS = (
    (date(2025, 12, 20), date(2026, 1, 12)),
    (TODAY - timedelta(days=40), TODAY - timedelta(days=1)),
)
FORMS = {
    "unipay": ("ndjson", "json"),
    "wandian": ("csv", "ndjson"),
    "lvyou": ("arrow", "parquet"),
    "daojia": ("json", "csv"),
    None: ("ndjson", "arrow", "csv", "parquet", "json"),
}


def batches(flow: Flow, rng: random.Random) -> Iterator[pa.RecordBatch]:
    """Without end; each of some hundred rows."""
    number = 0
    while True:
        first, last = SPANS[number % 2]
        stream = replace(flow, salt=f"{flow.salt}{number}", since=first)
        for day in senders.days(first, last):
            yield from senders.pieces(stream.day(day, 1_000), rng.choice((20, 150, 400, 1_100)))
        number += 1


def push(client: Client, flow: Flow, suffix: str, stop: threading.Event, seed: int) -> None:
    rng = random.Random(seed)
    forms = FORMS[client.sender]
    registry = [
        {**row, "platform_id": row["platform_id"] + suffix} for row in flow.city.registry()
        if suffix or row["platform_id"] == client.sender
    ]  # fmt: skip
    client.put_merchants(registry[: len(registry) * 4 // 5])
    for number, batch in enumerate(batches(flow, rng)):
        if stop.is_set():
            return
        if number % 40 == 20:
            client.put_merchants(rng.sample(registry, min(50, len(registry))))
        form = forms[number % len(forms)]
        body = render(
            senders.renamed(batch, suffix), form, malformed=0.005, seed=seed * 7_919 + number
        )
        client.send(form, body, encoding=rng.choice((None, None, "gzip", "zstd")))
        stop.wait(rng.uniform(0.05, 0.3))


def push_feed(feed: Feed, flow: Flow, suffix: str, stop: threading.Event, seed: int) -> None:
    for number, batch in enumerate(batches(flow, random.Random(seed))):
        if stop.is_set():
            return
        body = render(senders.renamed(batch, suffix), "ndjson", malformed=0.005, seed=number)
        feed.send([line for line in body.split(b"\n") if line])
        stop.wait(0.3)


def watch(yumai: Yumai, stop: threading.Event, seen: list[int]) -> None:
    """What was once queryable stays so: the number of entries never falls."""
    headers = {"Authorization": f"Bearer {yumai.token()}"}
    query = {"from": "2020-01-01", "to": "2030-12-31", "grain": "year", "group_by": "platform"}
    while not stop.wait(0.5):
        try:
            answer = httpx.get(
                f"{yumai.gateway}/v1/cells", params=query, headers=headers, timeout=20, trust_env=False
            )  # fmt: skip
        except httpx.TransportError:
            continue
        if answer.status_code == 200:
            seen.append(sum(row["entries"] for row in answer.json()["data"]))
            assert len(seen) < 2 or seen[-1] >= seen[-2], f"entries fell: {seen[-5:]}"
