"""E-mail and robots through Apprise, against local servers that stand in for theirs."""

import asyncio
import email
import email.policy
import importlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from embedded import certificates
from services.alerts.channels import chat
from services.alerts.channels.webhook import Failed
from yumai.process.settings import networks

LOOPBACK = networks("127.0.0.0/8")
TITLE = "渝脉:万州区 2026 年进度滞后"
BODY = "累计 1 亿元 <应完成 2 亿元>\n自 2026-07-01 起滞后\nhttps://y.example/?alert=2026-500101"
ROBOTS = {
    "dingtalk": ("dingtalk", "NotifyDingTalk", "dingtalk://abcdefgh1234/"),
    "wecom": (
        "wecombot",
        "NotifyWeComBot",
        "wecombot://a1b2c3d4-aaaa-bbbb-cccc-0123456789ab/",
    ),
    "feishu": ("feishu", "NotifyFeishu", "feishu://a1b2c3d4-aaaa-bbbb-cccc-0123456789ab/"),
}


class Robot:
    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        self.answer: dict[str, Any] = {"errcode": 0, "code": 0}
        robot = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                robot.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                body = json.dumps(robot.answer).encode()
                self.send_response(robot.status)
                self.send_header("Location", "/again")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def robot() -> Iterator[Robot]:
    made = Robot()
    yield made
    made.server.shutdown()
    made.server.server_close()


def stand_in(monkeypatch: pytest.MonkeyPatch, channel: str, url: str) -> str:
    module, name, address = ROBOTS[channel]
    plugin = getattr(importlib.import_module(f"apprise.plugins.{module}"), name)
    monkeypatch.setattr(plugin, "notify_url", url)
    return address


def text_of(message: dict[str, Any]) -> str:
    return message["content"]["text"] if "content" in message else message["text"]["content"]


@pytest.mark.parametrize("channel", ROBOTS)
async def test_a_robot_gets_title_lines_and_link(
    monkeypatch: pytest.MonkeyPatch, robot: Robot, channel: str
) -> None:
    address = stand_in(monkeypatch, channel, robot.url)
    await chat.send(channel, address, TITLE, BODY, LOOPBACK)
    (message,) = robot.got
    assert [line.strip() for line in text_of(message).splitlines()] == [TITLE, *BODY.splitlines()]


@pytest.mark.parametrize("channel", ROBOTS)
async def test_a_robot_that_refuses_with_http_200_got_nothing(
    monkeypatch: pytest.MonkeyPatch, robot: Robot, channel: str
) -> None:
    address = stand_in(monkeypatch, channel, robot.url)
    robot.answer = {"errcode": 310000, "errmsg": "no such token", "code": 19001, "msg": "x"}
    with pytest.raises(Failed, match=r"310000: no such token|19001"):
        await chat.send(channel, address, TITLE, BODY, LOOPBACK)


async def test_a_long_message_fits_wecom_and_keeps_its_link(
    monkeypatch: pytest.MonkeyPatch, robot: Robot
) -> None:
    address = stand_in(monkeypatch, "wecom", robot.url)
    await chat.send("wecom", address, TITLE, f"{'停' * 2_000}\n{BODY}", LOOPBACK)
    text = text_of(robot.got[0])
    assert len(text.encode()) <= 2_048
    assert text.endswith("…\nhttps://y.example/?alert=2026-500101")


async def mail_server(got: list[bytes]) -> asyncio.Server:
    """As much of SMTP as a client needs."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            if line[:4].upper() == b"DATA":
                writer.write(b"354 go\r\n")
                got.append((await reader.readuntil(b"\r\n.\r\n"))[:-3])
            writer.write(b"221 bye\r\n" if line[:4].upper() == b"QUIT" else b"250 ok\r\n")
            await writer.drain()
            if line[:4].upper() == b"QUIT":
                break
        writer.close()

    return await asyncio.start_server(talk, "127.0.0.1", 0)


async def test_a_mail_has_a_subject_and_its_lines() -> None:
    got: list[bytes] = []
    server = await mail_server(got)
    port = server.sockets[0].getsockname()[1]
    address = f"mailto://127.0.0.1:{port}?from=yumai@y.example&to=li@y.example"
    with pytest.raises(Failed, match="not a public address"):
        await chat.send("email", address, TITLE, BODY, [])
    await chat.send("email", address, TITLE, BODY, LOOPBACK)
    server.close()
    (raw,) = got
    mail = email.message_from_bytes(raw.replace(b"\r\n", b"\n"), policy=email.policy.default)
    assert (mail["subject"], mail["to"]) == (TITLE, "li@y.example")
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().strip().splitlines() == BODY.splitlines()


@pytest.fixture
def turning(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A name server that says a public address first, and loopback whoever asks again."""
    answers = ["8.8.8.8", *["127.0.0.1"] * 9]
    asked: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *given: Any, **named: Any) -> Any:
        if host != "turns.example":
            return real(host, port, *given, **named)
        asked.append(host)
        return real(answers[len(asked) - 1], port, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


async def test_a_name_that_changes_its_mind_leads_no_mail_inside(turning: list[str]) -> None:
    got: list[bytes] = []
    server = await mail_server(got)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(Failed, match="is not a public address"):
        await chat.send(
            "email",
            f"mailto://turns.example:{port}?from=a@b.example&to=c@d.example",
            TITLE,
            BODY,
            [],
        )
    server.close()
    assert got == []
    assert len(turning) == 2


@pytest.mark.parametrize("channel", ROBOTS)
async def test_a_name_that_changes_its_mind_leads_no_robot_inside(
    monkeypatch: pytest.MonkeyPatch, robot: Robot, turning: list[str], channel: str
) -> None:
    turning.append("the look-up that was judged")
    port = robot.server.server_address[1]
    address = stand_in(monkeypatch, channel, f"http://turns.example:{port}")
    with pytest.raises(Failed, match="is not a public address"):
        await chat.send(channel, address, TITLE, BODY, [])
    assert robot.got == []


@pytest.mark.parametrize("channel", ROBOTS)
async def test_a_robot_that_sends_elsewhere_is_not_followed_and_no_proxy_is_used(
    monkeypatch: pytest.MonkeyPatch, robot: Robot, channel: str
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    address = stand_in(monkeypatch, channel, robot.url)
    await chat.send(channel, address, TITLE, BODY, LOOPBACK)
    robot.status = 307
    with pytest.raises(Failed):
        await chat.send(channel, address, TITLE, BODY, LOOPBACK)
    assert len(robot.got) == 2


async def test_mail_with_tls_asks_for_the_certificate_of_the_name(tmp_path: Path) -> None:
    """Connected to by number, known by name: a certificate of another name is refused."""
    certificates.ensure(tmp_path / "tls")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "tls" / certificates.BROKER)
    server = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    named: list[str | None] = []
    context.sni_callback = lambda _, name, __: named.append(name)
    address = f"mailtos://localhost:{port}?mode=ssl&from=a@b.example&to=c@d.example"
    with pytest.raises(Failed, match=r"\w"):
        await chat.send("email", address, TITLE, BODY, LOOPBACK)
    server.close()
    assert named == ["localhost"]
