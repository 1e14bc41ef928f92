"""How Apprise's mail and robots connect: to addresses that were judged, by the one look-up that was judged.

Apprise looks names up itself, follows redirects, and takes a proxy from the environment: each would lead
past the judgement. So its modules get a `requests` and an `smtplib` that open their sockets here. TLS still
asks the server for the certificate of its name.
"""

from __future__ import annotations

import importlib
import smtplib
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from yumai import webhooks

CONNECT_SECONDS = 15.0
ROBOTS = (
    "apprise.plugins.dingtalk",
    "apprise.plugins.wecombot",
    "apprise.plugins.feishu",
    "apprise.plugins.lark",
)
MAIL = "apprise.plugins.email.smtp"


@dataclass
class Message:
    """One message under way: where it may go, what was answered, why a connection was refused."""

    allowed: Sequence[webhooks.Network]
    answers: list[bytes] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


_under_way: ContextVar[Message] = ContextVar("message")
"""Apprise takes the context with it into its own threads."""


@contextmanager
def of_message(allowed: Sequence[webhooks.Network]) -> Iterator[Message]:
    """Within it, Apprise's connections are this message's."""
    _install()
    message = Message(allowed)
    before = _under_way.set(message)
    try:
        yield message
    finally:
        _under_way.reset(before)


def _connected(host: str, port: int, seconds: object) -> socket.socket:
    """Raises OSError: what Apprise and its libraries expect of a connection that fails."""
    message = _under_way.get()
    limit = float(seconds) if isinstance(seconds, (int, float)) else CONNECT_SECONDS
    try:
        return webhooks.connected(host, port, min(limit, CONNECT_SECONDS), message.allowed)
    except (webhooks.Unsafe, webhooks.Unresolved) as error:
        message.refused.append(str(error))
        raise ConnectionRefusedError(str(error)) from error


# -- SMTP -------------------------------------------------------------------------------------------


class Smtp(smtplib.SMTP):
    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return _connected(host, port, timeout)


class SmtpTls(smtplib.SMTP_SSL, Smtp):
    """`SMTP_SSL` wraps the socket that `Smtp` opens."""


class _Smtplib:
    """`smtplib` as Apprise uses it."""

    SMTP, SMTP_SSL = Smtp, SmtpTls

    def __getattr__(self, name: str) -> Any:
        return getattr(smtplib, name)


# -- HTTP -------------------------------------------------------------------------------------------


class _Http(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        try:
            return _connected(self._dns_host, self.port or 80, self.timeout)
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error


class _Https(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        try:
            return _connected(self._dns_host, self.port or 443, self.timeout)
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *given: Any, **named: Any) -> None:
        super().init_poolmanager(*given, **named)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


class _Requests:
    """`requests` as Apprise uses it; what was answered is remembered."""

    def __getattr__(self, name: str) -> Any:
        return getattr(requests, name)

    def post(self, url: str, **named: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            session.mount("http://", _Adapter())
            session.mount("https://", _Adapter())
            answer = session.post(url, **named | {"allow_redirects": False})
        _under_way.get().answers.append(answer.content)
        return answer


def _install() -> None:
    for name in ROBOTS:
        module: Any = importlib.import_module(name)
        if not isinstance(module.requests, _Requests):
            module.requests = _Requests()
    mail: Any = importlib.import_module(MAIL)
    if not isinstance(mail.smtplib, _Smtplib):
        mail.smtplib = _Smtplib()
