"""One reader of the gateway at its worst: bodies, queries, streams, test messages; the others' answers come."""

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from tests.seams.test_gateway import World, world
from yumai.store.client import connect

WIDE = {"from": "2024-01-01", "to": "2026-12-31", "grain": "hour"}
WIDE |= {"group_by": "district,sector,platform"}
ROWS = 4_000_000
CELLS = f"""INSERT INTO cells SELECT toDateTime('2024-01-01 00:00:00', 'Asia/Shanghai') + (number % 20000) * 3600,
    toDate('2026-01-01'), 500101 + number % 38, 'S01', toString(number % 10), 1, 0, intDiv(number, 20000),
    1, 1, 100, 0, 0, 0 FROM numbers({ROWS})"""
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def gateway(kafka, store, tmp_path_factory) -> Iterator[World]:
    """With as many cells as make a wide query slow."""
    with world(kafka, store, tmp_path_factory.mktemp("fair")) as made:
        client = connect(made.dsn, timeout=120)
        client.command(CELLS)
        client.close()
        made.get("/v1/overview")
        yield made


def headers(made: World, role: str = "bureau") -> dict[str, str]:
    return {"Authorization": f"Bearer {made.identity.issue_token(role)}"}


def running_queries(made: World) -> int:
    client = connect(made.dsn)
    try:
        sql = "SELECT count() FROM system.processes WHERE query LIKE '%FROM cells FINAL%'"
        return int(client.query(f"{sql} AND query NOT LIKE '%processes%'").result_rows[0][0])
    finally:
        client.close()


def gateway_bytes(made: World) -> int:
    """Resident, of the process that listens on the gateway's port."""
    port = made.url.rpartition(":")[2]
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes()
            if f"YUMAI_PORT={port}".encode() in environment and b"leash" not in command:
                pages = int((folder / "statm").read_text().split()[1])
                return pages * os.sysconf("SC_PAGE_SIZE")
    raise AssertionError("no such process")


WRITES = [
    ("PUT", "/v1/subscriptions", 1),
    ("POST", "/v1/work-items", 1),
    ("PUT", "/v1/targets", 16),
]


@pytest.mark.parametrize(("method", "path", "limit_mb"), WRITES)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused_before_it_is_held(gateway, method, path, limit_mb, chunked):
    def pieces():
        for _ in range(200):
            yield b" " * 1_000_000

    before = gateway_bytes(gateway)
    content = pieces() if chunked else b" " * 200_000_000
    said = httpx.request(
        method, f"{gateway.url}{path}", content=content, headers=headers(gateway), timeout=60
    )
    assert (said.status_code, said.json()["errors"][0]["code"]) == (413, "too_large")
    assert gateway_bytes(gateway) - before < (2 * limit_mb + 100) << 20


@pytest.mark.parametrize(("method", "path", "_"), WRITES)
def test_a_packed_body_is_refused(gateway, method, path, _):
    said = httpx.request(
        *(method, f"{gateway.url}{path}"),
        content=b"\x1f\x8b",
        headers=headers(gateway) | {"Content-Encoding": "gzip"},
    )
    assert said.status_code == 415


def test_fifty_wide_queries_of_one_reader_leave_places_to_others_and_end_with_their_askers(gateway):
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    token = gateway.identity.issue_token("bureau")
    asking = []
    for number in range(50):
        query = urlencode(WIDE | {"as_of": f"2026-02-{number % 28 + 1:02d}"})
        head = f"GET /v1/cells?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        one = socket.create_connection((host, int(port)), timeout=60)
        one.sendall(head.encode())
        asking.append(one)
    time.sleep(1.0)
    assert running_queries(gateway) <= 4
    waits = []
    for _ in range(5):
        begun = time.monotonic()
        few = {"from": "2026-01-01", "to": "2026-01-02"}
        assert gateway.get("/v1/cells", "district:500102", **few).status_code == 200
        waits.append(time.monotonic() - begun)
    print(f"another's small query: {sorted(waits)}")
    told = b""
    for one in select.select(asking, [], [], 5)[0]:
        told += one.recv(200)
    assert told.count(b"HTTP/1.1 429 ") >= 10
    for one in asking:
        one.close()
    deadline = time.monotonic() + 10
    while running_queries(gateway):
        assert time.monotonic() < deadline, "queries outlive their askers"
        time.sleep(0.1)


def test_an_export_that_nobody_reads_ends(gateway):
    query = WIDE | {"format": "csv"}
    with httpx.stream(
        "GET", f"{gateway.url}/v1/cells", params=query, headers=headers(gateway), timeout=60
    ) as answer:
        assert answer.status_code == 200
        next(answer.iter_raw(10))
    deadline = time.monotonic() + 10
    while running_queries(gateway):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_one_reader_has_so_many_streams_and_another_its_own(gateway):
    def stream(stack: contextlib.ExitStack, role: str) -> int:
        context = httpx.stream("GET", f"{gateway.url}/v1/stream", headers=headers(gateway, role))
        return stack.enter_context(context).status_code

    with contextlib.ExitStack() as stack:
        assert [stream(stack, "bureau") for _ in range(20)] == [200] * 20
        assert stream(stack, "bureau") == 429
        assert stream(stack, "district:500101") == 200
    time.sleep(0.5)
    with contextlib.ExitStack() as stack:
        assert stream(stack, "bureau") == 200


def test_test_messages_have_a_rate_and_each_office_its_own(gateway):
    def sent(role: str) -> httpx.Response:
        url = f"{gateway.url}/v1/subscriptions/a/test"
        return httpx.post(url, json={}, headers=headers(gateway, role), timeout=30)

    for role in ("bureau", "district:500101"):
        rows = [{"id": "a", "channel": "inbox"}]
        url = f"{gateway.url}/v1/subscriptions"
        assert (
            httpx.put(url, json=rows, headers=headers(gateway, role), timeout=30).status_code == 200
        )
    assert [sent("bureau").status_code for _ in range(10)] == [202] * 10
    said = sent("bureau")
    assert (said.status_code, said.json()["errors"][0]["code"]) == (429, "too_many")
    assert 0 < int(said.headers["Retry-After"]) <= 60
    assert sent("district:500101").status_code == 202


@pytest.mark.parametrize("more", ["rto=3600", "cto=3600", "verify=no", "retry=9", "pgp=yes"])
def test_an_addresss_own_time_outs_and_trust_are_refused_when_it_is_put(gateway, more):
    address = f"mailto://mail.example?from=a@y.example&to=b@y.example&{more}"
    rows = [{"id": "m", "channel": "email", "address": address}]
    said = httpx.put(
        f"{gateway.url}/v1/subscriptions", json=rows, headers=headers(gateway), timeout=30
    )
    assert said.status_code == 422
    assert more.partition("=")[0] in said.json()["errors"][0]["message"]
