"""Everything is killed with -9 at random while clients push; in the end not a fen is missing.

`YUMAI_E2E_KILLS` (default 20), `YUMAI_E2E_SEED`, `YUMAI_E2E_RECOVERY_SECONDS`: how long it may take until
everything works again after a kill (15 is the bar on a small ledger and a machine of one's own).
"""

from __future__ import annotations

import os
import random
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from simulation.city import City
from simulation.flow import Flow
from tests.e2e import comparison, senders
from tests.e2e.comparison import Books
from tests.e2e.harness import Together, Yumai
from tests.e2e.load import push, push_feed, watch
from tests.e2e.senders import Client, Feed
from tests.recount import Recount

KILLS = int(os.environ.get("YUMAI_E2E_KILLS", "20"))
SEED = int(os.environ.get("YUMAI_E2E_SEED", "7"))
RECOVERY_SECONDS = float(os.environ.get("YUMAI_E2E_RECOVERY_SECONDS", "60"))
BAR_SECONDS = 15.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.chaos,
    pytest.mark.timeout(300 + KILLS * 60),
]

VICTIMS = ("metrics", "ingest", "gateway", "alerts", "store", "broker")


def scale(yumai: Yumai, workers: int) -> None:
    yumai.command("scale", "metrics", str(workers), seconds=90)


def victims(rng: random.Random) -> Iterator[str]:
    """All in turn, in an order by chance."""
    while True:
        yield from rng.sample(VICTIMS, len(VICTIMS))


def process_of(yumai: Yumai, victim: str, rng: random.Random) -> str:
    names = [name for name in yumai.children() if name.split("-")[0] == victim]
    return rng.choice(names or [f"{victim}-1" if victim in ("metrics", "alerts") else victim])


def test_kills_at_random_lose_nothing_and_book_nothing_twice(yumai: Yumai) -> None:
    rng = random.Random(SEED)
    city = City(SEED, 1_000)
    flow = Flow(
        city, SEED, refunds=0.03, reversals=0.008, late=0.02, duplicates=0.012, conflicts=0.002
    )
    keys = {name: yumai.key(name) for name in ("unipay", "wandian", "lvyou", "daojia", "unipay-k")}
    clients = [Client(yumai, name, keys[name]) for name in ("unipay", "wandian", "lvyou", "daojia")]
    bureau = Client(yumai, None, yumai.token())
    feed = Feed(yumai, "unipay-k")
    of_feed = Client(yumai, None, yumai.token())
    of_feed.put_merchants(
        [{**row, "platform_id": "unipay-k"} for row in city.registry() if row["platform_id"] == "unipay"]
    )  # fmt: skip

    stop, together = threading.Event(), Together()
    seen: list[int] = []
    for number, client in enumerate(clients):
        mine = replace(flow, salt=f"c{number}-", platform=client.sender)
        together.go(push, client, mine, "", stop, SEED + number)
    together.go(push, bureau, replace(flow, salt="b-"), "-b", stop, SEED + 10)
    mine = replace(flow, salt="k-", platform="unipay")
    together.go(push_feed, feed, mine, "-k", stop, SEED + 11)
    together.go(watch, yumai, stop, seen)

    began = time.monotonic()
    took: dict[str, list[float]] = defaultdict(list)
    order = victims(rng)
    print()
    for number in range(KILLS):
        time.sleep(rng.uniform(0.5, 4.0))
        together.check()
        if number in (KILLS // 3, KILLS * 2 // 3):
            together.go(scale, yumai, 2 if number == KILLS // 3 else 1)
            time.sleep(rng.uniform(0.0, 3.0))
        victim = process_of(yumai, next(order), rng)
        yumai.kill(victim)
        name = victim
        if rng.random() < 0.2:
            time.sleep(rng.uniform(0.0, 1.5))
            second = process_of(yumai, rng.choice(VICTIMS), rng)
            yumai.kill(second)
            name = f"{victim} and {second}"
        seconds = yumai.works(RECOVERY_SECONDS)
        took[name].append(seconds)
        print(
            f"{time.monotonic() - began:6.1f} s  killed {name}: works again after {seconds:.1f} s"
        )

    stop.set()
    together.wait(240)
    yumai.settle(240)
    restarts = {p["name"]: p["restarts"] for p in yumai.processes().values()}

    books = Books(Recount([], int(time.time() * 1000)))
    for client in (*clients, bureau, of_feed):
        books.take(client.done)
    records = feed.records()
    assert len(records) >= feed.acknowledged
    books.take_feed(feed, records)
    sent = [one for c in (*clients, bureau) for one in c.done if isinstance(one, senders.Sent)]
    tried = sum(one.tries > 1 for one in sent)
    print(
        f"{len(sent)} requests, {tried} of them sent again, {len(records)} records of the feed; "
        f"{books.total('booked'):,} booked, {books.total('duplicates'):,} duplicates, "
        f"{books.total('conflicts'):,} conflicts, {books.total('rejected'):,} rejected; "
        f"restarts {restarts}"
    )
    _tell(took)
    comparison.compare(yumai, books, keys)
    _again(clients, rng)
    yumai.settle()
    comparison.compare_cells(yumai, books)
    comparison.audit(yumai)


def _again(clients: list[Client], rng: random.Random) -> None:
    for client in clients:
        sent: list[Any] = [one for one in client.done if isinstance(one, senders.Sent)]
        for one in rng.sample(sent, min(len(sent), 20)):
            assert client.again(one) == one.answer


def _tell(took: dict[str, list[float]]) -> None:
    print("seconds from kill -9 until everything works again (median, most):")
    for name, seconds in sorted(took.items()):
        late = "" if max(seconds) <= BAR_SECONDS else f"  over the bar of {BAR_SECONDS:.0f} s"
        print(f"  {name:<24} {statistics.median(seconds):5.1f} {max(seconds):5.1f}{late}")
