"""SIGTERM under load: what was accepted is answered and booked, and every service ends with 0."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from kafka import KafkaProducer

from contracts.targets import codec as targets
from tests.conftest import ROOT, free_port
from tests.seams.ingest_place import Place, entry, ndjson, wait
from yumai import topics
from yumai.broker import epochs, provision
from yumai.store.client import connect
from yumai.store.migrate import migrate

ROWS = 20
GRACE_SECONDS = 29.0
"""Less than Kubernetes' 30."""


class Service:
    """A process as a container runs it: told to stop by a signal, judged by its exit code."""

    def __init__(self, place: Place, name: str, **environment: str) -> None:
        self.port = free_port()
        self.log = place.folder / f"{name}.log"
        settings = {
            "KAFKA_BOOTSTRAP": place.bootstrap,
            "CLICKHOUSE_DSN": place.dsn,
            "YUMAI_IDENTITY_DIR": str(place.folder / "identity"),
            "YUMAI_WORK_DIR": str(place.folder / name),
            "YUMAI_WORKER": f"{name}-1",
            "YUMAI_PORT": str(self.port),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}"],
                env={**os.environ, **settings, **environment},
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def get(self, path: str) -> int:
        try:
            return httpx.get(
                f"http://127.0.0.1:{self.port}{path}", timeout=5, trust_env=False
            ).status_code
        except httpx.HTTPError:
            return 0

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(GRACE_SECONDS)


@pytest.fixture
def place(tmp_path: Path, store: str, unique: str) -> Iterator[Place]:
    place = Place(tmp_path, f"{store}/{unique}")
    place.start_broker()
    provision.ensure(place.bootstrap)
    migrate(place.dsn)
    epochs.ensure(place.bootstrap, place.dsn)
    yield place
    for process in place.processes.values():
        process.kill()
        process.wait()


@pytest.fixture
def services(place: Place) -> Iterator[dict[str, Service]]:
    found = {
        "ingest": Service(place, "ingest", YUMAI_DRAIN_SECONDS="5"),
        "metrics": Service(place, "metrics"),
        "gateway": Service(place, "gateway", YUMAI_DRAIN_SECONDS="3"),
        "alerts": Service(place, "alerts"),
    }
    yield found
    for service in found.values():
        service.process.kill()
        service.process.wait()


def _send(url: str, key: str, name: str, answers: list[int], broken: list[str]) -> None:
    """One request after the other, until nobody takes any."""
    with httpx.Client(
        timeout=20, trust_env=False, headers={"Authorization": f"Bearer {key}"}
    ) as http:
        for number in range(100_000):
            body = ndjson(*(entry(f"{name}-{number}-{row}") for row in range(ROWS)))
            try:
                answer = http.post(
                    f"{url}/v1/entries",
                    content=body,
                    headers={
                        "Content-Type": "application/x-ndjson",
                        "Idempotency-Key": f"{name}-{number}",
                    },
                )
            except httpx.ConnectError:
                return
            except httpx.HTTPError as error:
                broken.append(type(error).__name__)
                continue
            answers.append(answer.status_code)


def test_what_was_accepted_is_answered_and_booked(
    place: Place, services: dict[str, Service]
) -> None:
    ingest, metrics = services["ingest"], services["metrics"]
    wait(lambda: ingest.get("/health/ready") == 200, 90)
    wait(lambda: metrics.get("/health/ready") == 200, 90)
    answers: list[int] = []
    broken: list[str] = []
    url = f"http://127.0.0.1:{ingest.port}"
    senders = [
        threading.Thread(target=_send, args=(url, place.key, f"s{n}", answers, broken))
        for n in range(4)
    ]
    for sender in senders:
        sender.start()
    wait(lambda: len(answers) >= 40, 90)

    ingest.process.send_signal(signal.SIGTERM)
    wait(lambda: ingest.get("/health/ready") == 503, 4.9)
    assert ingest.get("/health/live") == 200
    told = len(answers)
    assert ingest.process.wait(GRACE_SECONDS) == 0, ingest.log.read_text()[-2000:]
    for sender in senders:
        sender.join(30)
    assert set(answers) == {200}
    assert len(answers) > told, "nothing was taken while it was draining"

    assert metrics.stop() == 0, metrics.log.read_text()[-2000:]
    assert "all is written" in metrics.log.read_text()
    client = connect(place.dsn)
    left = client.query("SELECT sum(entries) FROM blocks FINAL").result_rows[0][0]
    again = Service(place, "metrics")
    try:
        acknowledged = len(answers) * ROWS

        def booked() -> int:
            rows = client.query(
                "SELECT sum(entries), uniqExact(part) FROM blocks FINAL"
            ).result_rows
            return int(rows[0][0])

        wait(lambda: again.get("/health/ready") == 200, 90)
        try:
            wait(lambda: booked() >= acknowledged, 90)
        except AssertionError:
            pytest.fail(f"{booked()} of {acknowledged} booked\n{again.log.read_text()[-8000:]}")
        time.sleep(1)
        assert left <= booked() <= acknowledged + len(broken) * ROWS
        assert again.stop() == 0
    finally:
        again.process.kill()
        again.process.wait()
        client.close()


def test_gateway_and_alerts_end_with_0(services: dict[str, Service]) -> None:
    gateway, alerts = services["gateway"], services["alerts"]
    wait(lambda: gateway.get("/health/live") == 200, 90)
    wait(lambda: alerts.get("/health/ready") == 200, 90)
    gateway.process.send_signal(signal.SIGTERM)
    wait(lambda: gateway.get("/health/ready") == 503, 2.9)
    assert gateway.get("/health/live") == 200
    assert gateway.process.wait(GRACE_SECONDS) == 0, gateway.log.read_text()[-2000:]
    assert alerts.stop() == 0, alerts.log.read_text()[-2000:]


def test_alerts_end_with_0_while_a_store_that_never_answers_is_asked(place: Place) -> None:
    year = datetime.now(UTC).year
    version = targets.Version(1, "amount", 1, 1, at=1, by="bureau")
    target = targets.of_versions(year, "500103", None, (version,))
    producer = KafkaProducer(bootstrap_servers=place.bootstrap, acks="all")
    producer.send(topics.TARGETS.name, targets.encode(target), target.key.encode()).get(30)
    producer.close()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(90)
        dsn = f"http://127.0.0.1:{silent.getsockname()[1]}/yumai"
        alerts = Service(place, "alerts", CLICKHOUSE_DSN=dsn)
        try:
            asked, _ = silent.accept()
            with asked:
                wait(lambda: alerts.get("/health/ready") == 200, 90)
                assert alerts.stop() == 0, alerts.log.read_text()[-2000:]
        finally:
            alerts.process.kill()
            alerts.process.wait()


def test_a_store_without_the_newest_migration_is_named_and_nothing_is_written(
    place: Place, services: dict[str, Service]
) -> None:
    """Of a rollout whose migration has not run; ready by itself once it has."""
    client = connect(place.dsn)
    try:
        metrics, gateway = services["metrics"], services["gateway"]
        client.command("ALTER TABLE migrations DELETE WHERE number = 6 SETTINGS mutations_sync = 2")
        metrics.stop()
        metrics = services["metrics"] = Service(place, "metrics")

        def why() -> str:
            try:
                return httpx.get(
                    f"http://127.0.0.1:{metrics.port}/health/ready", trust_env=False
                ).text
            except httpx.HTTPError:
                return ""

        wait(lambda: "0006_maintenance.sql" in why(), 90)
        assert "services.maintenance migrate" in why()
        assert gateway.get("/health/ready") in (0, 503)
        migrate(place.dsn)
        wait(lambda: metrics.get("/health/ready") == 200, 90)
    finally:
        client.close()
