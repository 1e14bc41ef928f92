"""While one sender does its worst by every door, another is answered: bodies, pages, messages."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from bench.attacked import attack, measured, quantile
from tests.e2e.conftest import port_base
from tests.e2e.harness import Yumai, running, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SECONDS = 40.0
BODY_SECONDS, PAGE_SECONDS = 2.0, 4.0
TIMES = 20
"""Generous: the bars are the bench's, on a quiet machine. On a busy one: so many times what it takes in peace."""
HELD_MOST = 3 << 30
"""Of ingest, whatever is sent."""


@pytest.fixture(scope="module")
def yumai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yumai]:
    """One whose alerts may reach a mail server on loopback."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEBHOOK_ALLOW_NETWORKS", "127.0.0.0/8")
        with running(tmp_path_factory.mktemp("yumai"), port_base()) as system:
            yield system


def resident(pid: int) -> int:
    """Bytes of a process and what it has started."""
    whole = psutil.Process(pid)
    return sum(process.memory_info().rss for process in [whole, *whole.children(recursive=True)])


class Tarpit:
    """Takes mail, and never says a word."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self._kept: list[Any] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            self._kept.append(self._listener.accept())


def test_one_sender_at_its_worst_by_every_door_stops_nobody(yumai: Yumai):
    worst, other = yumai.key("worst"), yumai.key("other")
    ports = (yumai.base + 1, yumai.base)
    bureau = yumai.token("bureau")
    district = yumai.token("district:500103")
    quiet = measured(*ports, "other", other, district, 8.0, 0)
    tarpit = Tarpit()
    with attack(*ports, worst, bureau, tarpit.port, SECONDS + 15) as process:
        waits = measured(*ports, "other", other, district, SECONDS, 10_000_000)
        held = resident(yumai.children()["ingest"])
        said = json.loads(process.communicate(timeout=60)[0])
    for name, before, now in (
        ("body", quiet.bodies, waits.bodies),
        ("page", quiet.pages, waits.pages),
    ):
        print(
            f"{name}: p50 {quantile(before, 0.5):.3f} -> {quantile(now, 0.5):.3f} s,"
            f" p99 {quantile(before, 0.99):.3f} -> {quantile(now, 0.99):.3f} s of {len(now)}"
        )
    print(
        f"ingest holds {held >> 20} MB; the worst was told {said['said']}; load {os.getloadavg()}"
    )
    assert waits.wrong == []
    assert quantile(waits.bodies, 0.99) < max(BODY_SECONDS, TIMES * quantile(quiet.bodies, 0.5))
    assert quantile(waits.pages, 0.99) < max(PAGE_SECONDS, TIMES * quantile(quiet.pages, 0.5))
    assert held < HELD_MOST
    until(yumai.is_ready, 60, yumai.why)
