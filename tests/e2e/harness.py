"""A whole Yumai to kill, and the wait for what it should do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from kafka import KafkaConsumer, TopicPartition

from bench.system import System
from console.commands.status import processes as listed_processes
from embedded import secret_files
from tests.recount import Cell
from yumai.broker.security import Cluster, client_options

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = float(os.environ.get("YUMAI_E2E_READY_SECONDS", "120"))
SECURE = bool(os.environ.get("YUMAI_E2E_SECURE"))
"""Every suite also with Kafka's clients by TLS."""
CANARY = "canary"
"""The platform of the entries that only show that it works again."""


def until(
    question: Callable[[], Any], seconds: float, what: str | Callable[[], str], pause: float = 0.1
) -> Any:
    """The first true answer. Raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {seconds:.0f} s: {what() if callable(what) else what}"
            )
        time.sleep(pause)


# -- the system ------------------------------------------------------------------------------------


class Yumai(System):
    """One to kill, and to ask what is in its books."""

    def __init__(self, state: Path, base: int, **options: Any) -> None:
        super().__init__(state, base, **{"secure": SECURE, **options})
        self._feed_users: dict[str, dict[str, Any]] = {}
        self.http = httpx.Client(timeout=httpx.Timeout(60.0, connect=2.0), trust_env=False)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.base + 2}"

    @property
    def metrics_token(self) -> dict[str, str]:
        """The header that opens `/metrics`."""
        return {"Authorization": f"Bearer {secret_files.read(self.state.metrics_token)}"}

    def feed_options(self, platform: str) -> dict[str, Any]:
        """Options of this platform's client at the Kafka door."""
        if platform not in self._feed_users:
            self._feed_users[platform] = self.json("keys", "kafka", "--platform", platform)
        user = self._feed_users[platform]
        return client_options(
            Cluster(
                user["bootstrap"],
                user["security_protocol"],
                user["sasl_mechanism"],
                user["username"],
                user["password"],
                Path(user["ca_file"]) if user["ca_file"] else None,
            )
        )

    def destroy(self) -> None:
        super().destroy()
        self.http.close()

    # -- its processes -------------------------------------------------------------------------

    def processes(self) -> dict[str, dict[str, Any]]:
        return {process["name"]: process for process in self.status()["processes"]}

    def listed(self) -> list[dict[str, Any]]:
        """As `status` has them, without the time that a command takes to start."""
        return listed_processes(self.state.read_up() or {})

    def kill(self, name: str) -> int:
        """`kill -9` of the process that `status` names. Returns its pid."""
        pid = until(lambda: self.children().get(name), 30, f"{name} runs")
        os.kill(pid, signal.SIGKILL)
        return pid

    # -- asking --------------------------------------------------------------------------------

    def get(self, url: str, token: str | None = None, **query: Any) -> Any:
        headers = {"Authorization": f"Bearer {token or self.token()}"}
        answer = self.http.get(url, params=query, headers=headers)
        assert answer.status_code == 200, f"{url} {query}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def cells(self, grain: str = "day", **query: Any) -> dict[tuple[str, str, str, str], Cell]:
        """As `Recount.cells`, without the canary's."""
        found = self.get(
            f"{self.gateway}/v1/cells",
            **{"from": "2020-01-01", "to": "2030-12-31", "grain": grain},
            group_by="district,sector,platform",
            **query,
        )
        cells = {}
        for row in found["data"]:
            if row["platform"] == CANARY:
                continue
            at = (row["period"], row["district"], row["sector"], row["platform"])
            assert at not in cells, f"a cell twice: {at}"
            cells[at] = Cell(*(row[n] for n in ("net_fen", "sales_fen", "refunds_fen", "entries")))
        return cells

    def receipt(self, receipt_id: str, token: str | None = None) -> dict[str, Any]:
        return self.get(f"{self.ingest}/v1/receipts/{receipt_id}", token)

    def settle(self, seconds: float = 120.0) -> None:
        """Until all that is in the log, and in the small topics, is queryable."""

        def settled() -> bool:
            status = self.status()
            lag = status["lag"]["records"]
            stuck = [p for p in status["problems"] if "stands still" in p]
            assert not stuck, stuck
            return lag == 0 and self.projected()

        until(settled, seconds, lambda: f"lag 0\n{self.why()}", 0.5)

    def projected(self) -> bool:
        """Receipts and dead letters have no lag of their own in `status`: asked of the store."""
        from yumai.store.client import STORE_ERRORS, connect

        consumer = None
        try:
            client = connect(self.dsn, timeout=10)
            rows = client.query("SELECT topic, next_offset FROM projections FINAL").result_rows
            client.close()
            stands = {str(topic): int(offset) for topic, offset in rows}
            consumer = KafkaConsumer(**self.kafka())
            parts = [TopicPartition(t, 0) for t in ("receipts.v1", "dead-letters.v1")]
            return all(
                stands.get(part.topic, 0) >= end
                for part, end in consumer.end_offsets(parts).items()
            )
        except STORE_ERRORS:
            return False
        finally:
            if consumer is not None:
                consumer.close()

    def forget_store(self) -> None:
        assert self.up is not None
        assert self.up.poll() is not None
        shutil.rmtree(self.state.store)

    def log_ends(self, topic: str = "entries.v1") -> dict[int, int]:
        consumer = KafkaConsumer(**self.kafka())
        try:
            parts = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic) or ()]
            return {tp.partition: end for tp, end in consumer.end_offsets(parts).items()}
        finally:
            consumer.close()

    def works(self, seconds: float) -> float:
        """Seconds until an entry sent now is acknowledged and in the books, and everything healthy."""
        began = time.monotonic()
        deadline = began + seconds
        row = {
            "entry_id": os.urandom(12).hex(), "platform_id": CANARY, "merchant_id": "m",
            "occurred_at": int(time.time() * 1000), "kind": "sale", "amount_fen": 1,
        }  # fmt: skip
        from tests.e2e.senders import Client

        client = Client(self, None, self.token())
        sent = client.send("json", json.dumps(row).encode(), deadline=deadline, remember=False)

        def booked() -> bool:
            try:
                return self.receipt(sent.answer["receipt_id"])["state"] == "booked"
            except (httpx.TransportError, AssertionError):
                return False

        until(booked, deadline - time.monotonic(), lambda: f"canary booked\n{self.why()}", 0.05)

        def healthy() -> bool:
            return all(p["healthy"] for p in self.listed()) and self.answers()

        until(healthy, deadline - time.monotonic(), lambda: f"all healthy\n{self.why()}", 0.1)
        return time.monotonic() - began

    def answers(self) -> bool:
        headers = {"Authorization": f"Bearer {self.token()}"}
        try:
            answer = self.http.get(
                f"{self.gateway}/v1/cells", params={"grain": "year"}, headers=headers
            )
            return answer.status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def running(state: Path, base: int, **options: Any) -> Iterator[Yumai]:
    yumai = Yumai(state, base, **options)
    try:
        yumai.start()
        yield yumai
    finally:
        yumai.destroy()


class Together:
    """Threads of which a failure is not lost."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self.failures: list[BaseException] = []

    def go(self, work: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            try:
                work(*arguments)
            except BaseException as failure:
                self.failures.append(failure)

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        self.check()
        assert not any(t.is_alive() for t in self._threads), f"still at work after {seconds} s"

    def check(self) -> None:
        if self.failures:
            raise self.failures[0]
