"""Starting, stopping and scaling the whole, with entries in the books."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from bench.system import alive
from tests.e2e.harness import Yumai, until
from tests.e2e.senders import Client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STOP_SECONDS, READY_SECONDS, GONE_SECONDS = 40.0, 60.0, 15.0


def push(yumai: Yumai, name: str, entries: int = 100) -> Client:
    client = Client(yumai, None, yumai.token())
    rows = [
        {
            "entry_id": f"{name}-{n}", "platform_id": "unipay", "merchant_id": "m",
            "occurred_at": int(time.time() * 1000) - n, "kind": "sale", "amount_fen": 100,
            "district_code": "500103", "mcc": "5812",
        }
        for n in range(entries)
    ]  # fmt: skip
    client.send("ndjson", b"\n".join(json.dumps(row).encode() for row in rows))
    return client


def booked(yumai: Yumai) -> int:
    return sum(cell.entries for cell in yumai.cells("day").values())


def test_up_stops_cleanly_and_goes_on_where_it_was(yumai: Yumai) -> None:
    push(yumai, "before")
    yumai.settle()
    children = yumai.children()
    took = yumai.stop(STOP_SECONDS)
    assert not [name for name, pid in children.items() if alive(pid)]
    ready = yumai.start(ready=True)
    print(f"\nSIGTERM to end: {took:.1f} s; start to ready: {ready:.1f} s")
    assert ready < READY_SECONDS
    assert booked(yumai) == 100
    push(yumai, "after")
    yumai.settle()
    assert booked(yumai) == 200


def test_the_children_of_a_killed_up_are_gone_and_nothing_acknowledged_is_lost(
    yumai: Yumai,
) -> None:
    push(yumai, "acknowledged")
    assert yumai.up is not None
    children = yumai.children()
    os.kill(yumai.up.pid, signal.SIGKILL)
    yumai.up.wait()
    began = time.monotonic()

    def left() -> list[str]:
        return [name for name, pid in children.items() if alive(pid)]

    until(lambda: not left(), GONE_SECONDS, lambda: f"gone: {left()}")
    print(f"\nSIGKILL to the last child's end: {time.monotonic() - began:.1f} s")
    assert yumai.start() < READY_SECONDS
    yumai.settle()
    assert booked(yumai) == 300
    assert yumai.json("audit")["difference_fen"] == 0


def test_without_a_metrics_worker_the_doors_and_the_figures_answer(yumai: Yumai) -> None:
    yumai.scale("metrics", 0)
    assert "metrics-1" not in yumai.processes()
    client = push(yumai, "waiting")
    assert client.done[0].answer["accepted"] == 100  # type: ignore[union-attr]
    receipt_id = client.done[0].answer["receipt_id"]  # type: ignore[union-attr]
    assert booked(yumai) == 300
    assert yumai.receipt(receipt_id)["state"] == "queued"
    lag = yumai.status()["lag"]["records"]
    assert lag
    assert lag > 0

    yumai.scale("metrics", 1)
    began = time.monotonic()
    yumai.settle(60)
    print(f"\nscale 1 to caught up: {time.monotonic() - began:.1f} s")
    assert booked(yumai) == 400
    receipt = yumai.receipt(receipt_id)
    assert (receipt["state"], receipt["booked"]) == ("booked", 100)


def test_a_worker_too_many_or_too_few_never_books_twice(yumai: Yumai) -> None:
    for number, workers in enumerate((2, 1)):
        push(yumai, f"early-{number}")
        yumai.scale("metrics", workers)
        push(yumai, f"late-{number}")
        yumai.settle(60)
        assert booked(yumai) == 400 + (number + 1) * 200
    assert yumai.json("audit")["difference_fen"] == 0
