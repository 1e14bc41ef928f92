"""Disks fill up under load and are freed, the store's and the broker's, apart and together: 0 fen.

Each has a small file system of its own (tmpfs; mounting one needs root), and so has the rest of the state directory.
`YUMAI_E2E_FILLS` (default 4): how often a disk fills; `YUMAI_E2E_FULL_SECONDS` (default 8): how long it stays so.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import pytest

from simulation.city import City
from simulation.flow import Flow
from tests.disks import disk, full
from tests.e2e import comparison, harness
from tests.e2e.comparison import Books
from tests.e2e.conftest import port_base
from tests.e2e.harness import Together, Yumai
from tests.e2e.load import push, push_feed, watch
from tests.e2e.senders import Client, Feed, Sent
from tests.recount import Recount

FILLS = int(os.environ.get("YUMAI_E2E_FILLS", "4"))
FULL_SECONDS = float(os.environ.get("YUMAI_E2E_FULL_SECONDS", "8"))
RECOVERY_SECONDS = float(os.environ.get("YUMAI_E2E_RECOVERY_SECONDS", "90"))
MEGABYTES = {"": 64, "store": 320, "kafka": 320}
"""Folder of the state directory -> size of its disk."""
WHICH = (("store",), ("kafka",), ("store", "kafka"), ("", "store", "kafka"))
SEED = 5
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400 + FILLS * 120)]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Yumai]:
    with ExitStack() as stack:
        for folder, megabytes in MEGABYTES.items():
            stack.enter_context(disk(tmp_path / folder, megabytes))
        yield stack.enter_context(harness.running(tmp_path, port_base()))


def test_full_disks_lose_nothing_and_everything_goes_on_when_they_are_freed(small: Yumai) -> None:
    city = City(SEED, 600)
    flow = Flow(
        city, SEED, refunds=0.03, reversals=0.008, late=0.02, duplicates=0.012, conflicts=0.002
    )
    keys = {name: small.key(name) for name in ("unipay", "wandian", "lvyou", "unipay-k")}
    clients = [Client(small, name, keys[name]) for name in ("unipay", "wandian", "lvyou")]
    of_feed = Client(small, None, small.token())
    of_feed.put_merchants(
        [{**row, "platform_id": "unipay-k"} for row in city.registry() if row["platform_id"] == "unipay"]
    )  # fmt: skip
    feed = Feed(small, "unipay-k")

    stop, together, seen = threading.Event(), Together(), list[int]()
    for number, client in enumerate(clients):
        mine = replace(flow, salt=f"d{number}-", platform=client.sender)
        together.go(push, client, mine, "", stop, SEED + number)
    together.go(push_feed, feed, replace(flow, salt="k-", platform="unipay"), "-k", stop, SEED + 11)
    together.go(watch, small, stop, seen)

    print()
    refused: set[str] = set()
    for which in islice(cycle(WHICH), FILLS):
        time.sleep(3)
        together.check()
        with full([small.state.directory / folder for folder in which]):
            time.sleep(FULL_SECONDS)
            refused |= {name for name in which if _refuses(small, name)}
        seconds = small.works(RECOVERY_SECONDS)
        names = ", ".join(name or "the rest" for name in which)
        print(f"disk of {names} full for {FULL_SECONDS:.0f} s: works {seconds:.1f} s after")
    assert {"store", "kafka"} <= refused, "the disks were not really full"

    stop.set()
    together.wait(240)
    small.settle(240)
    books = Books(Recount([], int(time.time() * 1000)))
    for client in (*clients, of_feed):
        books.take(client.done)
    records = feed.records()
    assert len(records) >= feed.acknowledged
    books.take_feed(feed, records)
    sent = [one for client in clients for one in client.done if isinstance(one, Sent)]
    print(
        f"{len(sent)} requests, {sum(one.tries > 1 for one in sent)} of them sent again, "
        f"{len(records)} records of the feed; {books.total('booked'):,} booked; "
        f"restarts { ({p['name']: p['restarts'] for p in small.processes().values()}) }"
    )
    comparison.compare(small, books, keys)


def _refuses(yumai: Yumai, folder: str) -> bool:
    """Whether it could not write lately: a store that says so, a broker that is gone."""
    if folder == "store":
        return "NOT_ENOUGH_SPACE" in yumai.log("metrics-1") or "No space" in yumai.log("metrics-1")
    return "No space left" in yumai.log("broker", 200_000)
