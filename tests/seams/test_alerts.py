"""Alerts workers in their own processes: who judges, what is told, and that it is told once."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from contracts.alerts import codec as alerts
from contracts.commits import codec as commits
from contracts.targets import codec as targets
from tests.conftest import free_port, running
from tests.seams.alerts_place import fresh_topics
from yumai.broker import topics
from yumai.methods.festival import each_day
from yumai.methods.pace import is_warming_up
from yumai.store.client import connect
from yumai.store.migrate import migrate

SHANGHAI = ZoneInfo("Asia/Shanghai")
TODAY = datetime.now(SHANGHAI).date()
DAILY_FEN = 1_000_000
CELLS = ["period", "recorded_date", "district", "sector", "platform", "epoch", "part", "block"]
CELLS += [
    "last_offset",
    "entries",
    "sales_fen",
    "refunds_fen",
    "sale_reversals_fen",
    "refund_reversals_fen",
]

pytestmark = pytest.mark.skipif(
    is_warming_up(TODAY),
    reason="nobody is judged before March, and the workers read the real clock",
)


def cell(day: date, district: int, fen: int, block: int = 0) -> list:
    at = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)
    return [at, day, district, "S01", "p1", 1, 0, block, 1, 1, fen, 0, 0, 0]


@contextmanager
def worker(name: str, environment: dict[str, str], folder: Path) -> Iterator[tuple[str, object]]:
    """(address, process) of one alerts worker."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    before = dict(os.environ)
    os.environ.update(environment)
    os.environ.update(
        {"YUMAI_PORT": str(port), "YUMAI_WORKER": name, "YUMAI_WORK_DIR": str(folder / name)}
    )
    try:
        with running(
            ["services.alerts"], folder / f"{name}.log", lambda: ready(url), 60
        ) as process:
            yield url, process
    finally:
        os.environ.clear()
        os.environ.update(before)


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def wait_for_judge(urls: list[str]) -> list[str]:
    """Those that judge, as soon as it is one that says so twice running (a rebalance may be under way)."""
    deadline, before = time.monotonic() + 30, None
    while time.monotonic() < deadline:
        judging = [url for url in urls if httpx.get(f"{url}/health/ready").json()["judges"]]
        if len(judging) == 1 and judging == before:
            return judging
        before = judging
        time.sleep(0.5)
    raise AssertionError(f"who judges: {before}")


def told(kafka: str, district: str) -> list[alerts.Step]:
    """Every step of one district that stands on alerts.v1."""
    consumer = KafkaConsumer(bootstrap_servers=kafka)
    partition = TopicPartition(topics.ALERTS.name, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end = consumer.end_offsets([partition])[partition]
    found = []
    while consumer.position(partition) < end:
        for records in consumer.poll(200).values():
            found += [alerts.decode(record.value) for record in records]
    consumer.close()
    return [step for step in found if step.district == district and step.year == TODAY.year]


def wait(kafka: str, district: str, many: int, seconds: float = 20.0) -> list[alerts.Step]:
    deadline = time.monotonic() + seconds
    while len(steps := told(kafka, district)) < many and time.monotonic() < deadline:
        time.sleep(0.3)
    return steps


def send(kafka: str, topic: str, key: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka)
    producer.send(topic, value, key.encode()).get(30)
    producer.close()


def set_target(kafka: str, district: str, fen: int) -> None:
    at = int(time.time() * 1000)
    target = targets.Target(TODAY.year, district, target_fen=fen, value=fen, at=at)
    send(kafka, topics.TARGETS.name, target.key, targets.encode(target))


def announce(kafka: str, offset: int, district: str) -> None:
    now = int(time.time() * 1000)
    change = [commits.Change(district, "S01", 1, 1)]
    commit = commits.Commit(1, 0, 0, offset, 1, 0, 0, 1, now, now, now, False, "m", change)
    send(kafka, topics.COMMITS.name, "1/0", commits.encode(commit))


def progress(dsn: str) -> None:
    now = datetime.now(UTC)
    client = connect(dsn)
    names = ["epoch", "part", "through", "next_offset", "worker", "stopped", "written_at"]
    client.insert("progress", [[1, 0, now, 1, "m", "", now]], names)
    client.close()


@pytest.fixture
def books(kafka: str, store: str, tmp_path: Path) -> dict[str, str]:
    """A city of two districts with the same sales every day of last year and this."""
    dsn = f"{store}/t{uuid4().hex[:12]}"
    migrate(dsn)
    fresh_topics(kafka)
    days = [d for year in (TODAY.year - 1, TODAY.year) for d in each_day(year) if d < TODAY]
    client = connect(dsn)
    client.insert(
        "cells", [cell(d, code, DAILY_FEN) for d in days for code in (500101, 500102)], CELLS
    )
    client.insert(
        "epochs", [[1, "x", 1, "m"]], ["epoch", "topic_id", "partitions", "slot_function"]
    )
    client.close()
    progress(dsn)
    return {
        "KAFKA_BOOTSTRAP": kafka,
        "CLICKHOUSE_DSN": dsn,
        "YUMAI_IDENTITY_DIR": str(tmp_path / "identity"),
        "YUMAI_SESSION_TIMEOUT": "6",
    }


def test_a_life_from_lagging_to_recovered_is_told_once_by_two_workers_and_over_kills(
    books: dict[str, str], kafka: str, tmp_path: Path
) -> None:
    dsn = books["CLICKHOUSE_DSN"]
    year_fen = DAILY_FEN * 365
    set_target(kafka, "500101", int(year_fen / 0.955))
    set_target(kafka, "500102", year_fen)
    with ExitStack() as stack:
        first, process = stack.enter_context(worker("alerts-1", books, tmp_path))
        (opened,) = wait(kafka, "500101", 1)
        assert (opened.id, opened.seq) == (f"{TODAY.year}-500101", 1)
        assert (opened.kind, opened.state, opened.level) == ("opened", "open", "yellow")
        figures = opened.figures
        assert figures["target_fen"] == int(year_fen / 0.955)
        assert figures["attained_fen"] == DAILY_FEN * (TODAY - date(TODAY.year, 1, 1)).days
        assert figures["pace"] == figures["attained_fen"] / figures["expected_fen"]
        assert 0.94 < figures["pace"] < 0.97
        assert told(kafka, "500102") == []
        assert httpx.get(f"{first}/health/live").status_code == 200
        assert "yumai_alerts_steps" in httpx.get(f"{first}/metrics").text

        # One of two judges; it dies, and the other goes on from the log.
        both = [(first, process), stack.enter_context(worker("alerts-2", books, tmp_path))]
        (judging,) = wait_for_judge([url for url, _ in both])
        for url, of in both:
            if url == judging:
                of.kill()  # type: ignore[attr-defined]
        (other,) = [url for url, _ in both if url != judging]
        assert wait_for_judge([other]) == [other]
        time.sleep(2.5)
        assert len(told(kafka, "500101")) == 1

        # What was missing is booked: the commit makes it look again.
        client = connect(dsn)
        client.insert(
            "cells",
            [
                cell(
                    TODAY - timedelta(days=1),
                    500101,
                    figures["expected_fen"] - figures["attained_fen"],
                    block=7,
                )
            ],
            CELLS,
        )
        client.close()
        progress(dsn)
        announce(kafka, 1, "500101")
        steps = wait(kafka, "500101", 2)
        assert [(s.kind, s.state, s.level) for s in steps[1:]] == [
            ("withdrawn", "withdrawn", "green")
        ]
        announce(kafka, 2, "500101")
        # A target set anew judges at once, without a commit.
        set_target(kafka, "500102", int(year_fen / 0.9))
        assert [s.level for s in wait(kafka, "500102", 1)] == ["red"]
        time.sleep(2.5)
        assert len(told(kafka, "500101")) == 2
    with worker("alerts-3", books, tmp_path):
        time.sleep(2.5)
        assert [s.seq for s in told(kafka, "500101")] == [1, 2]
        assert [s.seq for s in told(kafka, "500102")] == [1]
        assert json.loads(alerts.encode(told(kafka, "500102")[0]))["figures"]["pace"] < 0.94
