"""Senders nobody knows yet, at their worst, against a real server: heads, bodies, and readers that stop."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.conftest import free_port
from yumai.sharing import connections
from yumai.sharing.asking import Awaited
from yumai.sharing.bodies import Bodies, NeverCame, Pace, TooLarge, TooMuch
from yumai.sharing.connections import Bounded, Connections
from yumai.sharing.turns import Budget

MOST = 50
ENDED: dict[str, int] = {}


class _Counted:
    def inc(self, reason: str) -> None:
        ENDED[reason] = ENDED.get(reason, 0) + 1


@pytest.fixture
def server(monkeypatch) -> Iterator[str]:
    """`host:port` of a server with short patience, in a thread."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(connections, "WRITE_SECONDS", 1.0)
    monkeypatch.setattr(connections, "REST_SECONDS", 1.0)
    ENDED.clear()
    bodies = Bodies(
        Budget(1_000, 8), Budget(1 << 30, 4 << 20), pace=Pace(2.0, 2.0, least_bytes=1 << 20)
    )

    async def take(request: Request) -> Response:
        try:
            with bodies.work(request.headers["sender"]) as work:
                return PlainTextResponse(str(len(await bodies.read(request, work, 1 << 20))))
        except TooMuch as spent:
            return PlainTextResponse(spent.budget, 429 if spent.own else 503)
        except TooLarge:
            return PlainTextResponse("too large", 413)
        except NeverCame as error:
            return PlainTextResponse(str(error), 400)

    async def endless(request: Request) -> Response:
        async def pieces():
            while True:
                yield b"x" * 100_000

        return StreamingResponse(pieces())

    left = app_state = []

    async def patient(request: Request) -> Response:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            left.append("cancelled")
            raise
        return PlainTextResponse("late")

    async def refuse(request: Request) -> Response:
        return PlainTextResponse("nobody", 401)

    async def who_left(request: Request) -> Response:
        return PlainTextResponse(",".join(app_state))

    routes = [
        Route("/take", take, methods=["POST"]),
        Route("/refuse", refuse, methods=["POST"]),
        Route("/endless", endless),
        Route("/patient", patient),
        Route("/left", who_left),
    ]
    port = free_port()
    config = uvicorn.Config(
        Awaited(Starlette(routes=routes)),
        port=port,
        http=lambda **given: Bounded(shared, **given),
        log_level="critical",
        lifespan="off",
    )
    shared = Connections(MOST, _Counted())  # type: ignore[arg-type]
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield f"127.0.0.1:{port}"
    running.should_exit = True
    running.force_exit = True
    thread.join(10)


def connected(server: str) -> socket.socket:
    host, _, port = server.partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def is_ended(connection: socket.socket, seconds: float = 5.0) -> bool:
    """Whether the server ends it in time, whatever it says before."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < deadline:
            connection.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                if not connection.recv(65_536):
                    return True
            except TimeoutError:
                return False
        return False
    return True


def is_ended_while_sending(connection: socket.socket, piece: bytes, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            connection.sendall(piece)
            time.sleep(0.05)
    except ConnectionError:
        return True
    return False


def posted(server: str, size: int = 190_000, sender: str = "other", **named) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=10) as client:
        return client.post(
            f"http://{server}/take", content=b"x" * size, headers={"sender": sender}, **named
        )


def test_a_thousand_heads_that_never_end_leave_room_for_others(server):
    slow = []
    for _ in range(1_000):
        one = connected(server)
        one.sendall(b"POST /take HTTP/1.1\r\nsender: slow\r\nx-")
        slow.append(one)
    begun = time.monotonic()
    assert posted(server).text == "190000"
    assert time.monotonic() - begun < 5
    assert ENDED["crowd"] >= 1_000 - MOST
    assert all(is_ended(one) for one in slow)
    assert ENDED["slow_head"] > 0


@pytest.mark.parametrize(
    "begin", [b"", b"POST /take HTTP/1.1\r\n", b"GET /left HTTP/1.1\r\nHost: x\r\n\r\nGET /l"]
)
def test_a_head_that_comes_byte_by_byte_ends_in_time(server, begin):
    one = connected(server)
    one.sendall(begin)
    assert is_ended_while_sending(one, b"x", 5)


LINE = b"POST /take HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (LINE, b"a" * 65_536),
        (LINE, b"a: b\r\n" * 10_000),
        (LINE, b"a: " + b"b" * 9_000 + b"\r\n"),
        (b"", b"\r\n" * 30_000),
    ],
    ids=["one name", "many", "large", "blank lines"],
)
def test_a_head_of_100_mb_is_refused_at_its_first_part(server, begin, piece):
    one = connected(server)
    one.sendall(begin)
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 100 << 20:
            one.sendall(piece)
            sent += len(piece)
    assert sent < 20 << 20
    assert ENDED.get("head", 0) == 1


def test_a_path_of_many_megabytes_is_refused(server):
    one = connected(server)
    with contextlib.suppress(ConnectionError):
        one.sendall(b"GET /" + b"a" * (20 << 20))
    assert is_ended(one)
    assert ENDED["head"] == 1


def test_a_whole_head_that_is_too_large_is_told_so(server):
    one = connected(server)
    one.sendall(b"GET /left HTTP/1.1\r\nhost: x\r\na: " + b"b" * 70_000 + b"\r\n\r\n")
    assert one.recv(100).startswith(b"HTTP/1.1 431 ")


def test_a_trailer_without_end_is_refused(server):
    one = connected(server)
    one.sendall(
        b"POST /take HTTP/1.1\r\nsender: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    )
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 100 << 20:
            one.sendall(b"a: " + b"b" * 9_000 + b"\r\n")
            sent += 9_000
    assert sent < 20 << 20


def test_unfinished_bodies_of_one_sender_hold_its_own_places_only(server):
    slow = []
    for _ in range(16):
        one = connected(server)
        one.sendall(
            b"POST /take HTTP/1.1\r\nsender: slow\r\ncontent-length: 1000000\r\n\r\n"
            + b"x" * 400_000
        )
        slow.append(one)
    time.sleep(0.2)
    assert posted(server, sender="slow").status_code == 429
    assert posted(server, sender="other").status_code == 200
    assert all(is_ended(one) for one in slow)


def test_a_body_slower_than_the_least_pace_is_given_up(server):
    one = connected(server)
    one.sendall(b"POST /take HTTP/1.1\r\nsender: slow\r\ncontent-length: 1000000\r\n\r\n")
    for _ in range(80):
        one.sendall(b"x")
        time.sleep(0.1)
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            assert one.recv(100).startswith(b"HTTP/1.1 400 ")
            return
        one.setblocking(True)
    pytest.fail("it was waited for")


def test_a_body_beyond_the_limit_is_refused_unread_and_its_sender_reads_the_answer(server):
    begun = time.monotonic()
    assert posted(server, size=30 << 20, sender="large").status_code == 413
    assert time.monotonic() - begun < 10

    def chunks():
        for _ in range(300):
            yield b"x" * 100_000

    with httpx.Client(trust_env=False, timeout=10) as client:
        said = client.post(f"http://{server}/take", content=chunks(), headers={"sender": "large"})
    assert said.status_code == 413
    assert posted(server, sender="large").status_code == 200


def test_a_body_whose_sender_was_refused_is_not_read_for_ever(server):
    one = connected(server)
    one.sendall(b"POST /refuse HTTP/1.1\r\ncontent-length: 100000000000\r\n\r\n")
    assert is_ended_while_sending(one, b"x" * 1_000, 5)


def test_a_reader_that_stops_reading_is_dropped(server):
    one = connected(server)
    one.sendall(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
    assert one.recv(1_000)
    deadline = time.monotonic() + 10
    while not ENDED.get("slow_reader") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ENDED["slow_reader"] == 1


def test_the_work_on_a_get_ends_when_its_asker_has_gone(server):
    one = connected(server)
    one.sendall(b"GET /patient HTTP/1.1\r\nhost: x\r\n\r\n")
    time.sleep(0.2)
    one.close()
    time.sleep(0.3)
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"http://{server}/left").text == "cancelled"


def test_requests_sent_one_after_the_other_on_one_connection_are_all_answered(server):
    with httpx.Client(trust_env=False) as client:
        for _ in range(20):
            said = client.post(
                f"http://{server}/take", content=b"x" * 100_000, headers={"sender": "a"}
            )
            assert said.text == "100000"
    one = connected(server)
    one.sendall(b"GET /left HTTP/1.1\r\nhost: x\r\n\r\n" * 5)
    time.sleep(0.5)
    assert one.recv(100_000).count(b"HTTP/1.1 200 OK") == 5
