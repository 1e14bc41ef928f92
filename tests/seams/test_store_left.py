"""A query whose client has gone is ended in the store, wherever it is; what changes something goes on."""

import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.seams.test_store import Store

ENDLESS = "SELECT sum(cityHash64(number, number + 1)) FROM numbers(1000000000000)"
SORTED = "SELECT number % 1000 AS k, count() FROM numbers(1000000000000) GROUP BY k ORDER BY k"
STREAMED = "SELECT number, cityHash64(number) FROM numbers(100000000000)"
SILENT_LATER = (
    "SELECT number FROM numbers(1000000000000) WHERE number < 200000 OR cityHash64(number) = 1"
    " SETTINGS max_threads = 1, max_block_size = 65536"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[Store]:
    made = Store(tmp_path_factory.mktemp("left")).start()
    yield made
    made.stop()


def asked(store: Store, sql: str, **parameters: str) -> socket.socket:
    """A connection on which a query was sent and nothing is read."""
    connection = socket.create_connection(("127.0.0.1", store.port), timeout=10)
    head = (
        f"POST /?{urlencode(parameters)} HTTP/1.1\r\nHost: 127.0.0.1:{store.port}\r\n"
        f"X-ClickHouse-Key: {store.password}\r\nContent-Length: {len(sql)}\r\n\r\n"
    )
    connection.sendall(head.encode() + sql.encode())
    return connection


def running(store: Store, what: str = "numbers") -> int:
    sql = f"SELECT count() FROM system.processes WHERE query LIKE '%{what}%'"
    sql += " AND query NOT LIKE '%processes%'"
    return int(store.post(sql.encode())[2])


def until(store: Store, count: int, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while (found := running(store)) != count:
        assert time.monotonic() < deadline, f"{found} queries run, want {count}"
        time.sleep(0.05)


@pytest.mark.parametrize("format_", ["TSV", "Native", "JSON"])
@pytest.mark.parametrize("sql", [ENDLESS, SORTED], ids=["endless", "sorted"])
def test_a_query_ends_when_its_client_has_gone(store, sql, format_):
    connection = asked(store, sql, default_format=format_)
    until(store, 1)
    connection.close()
    until(store, 0)


@pytest.mark.parametrize("sql", [STREAMED, SILENT_LATER], ids=["streamed", "silent later"])
def test_a_streamed_answer_ends_when_its_client_has_gone(store, sql):
    connection = asked(store, sql, default_format="Native")
    assert connection.recv(1000)
    until(store, 1)
    connection.close()
    until(store, 0)


def test_more_queries_than_threads_are_all_ended_and_others_answered(store):
    many = [asked(store, ENDLESS + " SETTINGS max_threads = 1") for _ in range(60)]
    time.sleep(1.0)
    for connection in many:
        connection.close()
    assert store.post(b"SELECT 1")[2] == b"1\n"
    until(store, 0)


def test_what_changes_something_goes_on_without_its_client(store):
    assert store.post(b"CREATE DATABASE d")[0] == 200
    assert store.post(b"CREATE TABLE d.kept (n UInt64) ENGINE = MergeTree ORDER BY n")[0] == 200
    connection = asked(
        store, "INSERT INTO d.kept SELECT number + sleepEachRow(0.1) FROM numbers(10)"
    )
    time.sleep(0.3)
    connection.close()
    deadline = time.monotonic() + 10
    while store.post(b"SELECT count() FROM d.kept")[2] != b"10\n":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_query_whose_client_waits_is_left_alone(store):
    answers: list[bytes] = []
    slow = threading.Thread(target=lambda: answers.append(store.post(b"SELECT sleep(1)")[2]))
    slow.start()
    connection = asked(store, ENDLESS)
    until(store, 1)
    connection.close()
    slow.join(20)
    assert answers == [b"0\n"]
    until(store, 0)


def test_a_query_ends_at_its_own_time(store):
    begun = time.monotonic()
    status, _, said = store.post(ENDLESS.encode(), max_execution_time="1")
    assert status != 200
    assert b"TIMEOUT_EXCEEDED" in said
    assert time.monotonic() - begun < 20
