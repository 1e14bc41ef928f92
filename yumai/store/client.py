"""Connections to ClickHouse (the server or the embedded engine: one HTTP interface)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit, urlunsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    # It brings aiohttp with it, which most commands never need.
    from clickhouse_connect.driver.asyncclient import AsyncClient

STORE_ERRORS: tuple[type[Exception], ...] = (ClickHouseError, HTTPError, OSError)
"""What a call raises when the store is away, restarting or refuses: retry with backoff."""

__all__ = ["STORE_ERRORS", "Dsn", "connect", "connect_async"]


@dataclass(frozen=True)
class Dsn:
    """`http[s]://[user[:password]@]host:port/database[?ca_cert=FILE]`; user and password percent-encoded."""

    host: str
    port: int
    database: str
    username: str | None
    password: str = field(repr=False)
    secure: bool
    ca_cert: str | None = None
    """PEM of whom to trust; None: whom the client trusts by itself."""

    @classmethod
    def parse(cls, text: str) -> Dsn:
        """Raises ValueError, which never shows the password."""
        parts = urlsplit(text)
        try:
            port = parts.port
        except ValueError:  # its own text may show a piece of the password
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise ValueError("want http[s]://[user[:password]@]host:port/database")
        options = parse_qs(parts.query, keep_blank_values=True)
        if set(options) - {"ca_cert"}:
            raise ValueError(f"unknown {', '.join(sorted(options))}; want ca_cert")
        return cls(
            parts.hostname,
            port or (8443 if parts.scheme == "https" else 8123),
            parts.path.strip("/") or "default",
            None if parts.username is None else unquote(parts.username),
            unquote(parts.password or ""),
            parts.scheme == "https",
            options["ca_cert"][0] if "ca_cert" in options else None,
        )

    def masked(self) -> str:
        """As it was written, the password hidden."""
        user = "" if self.username is None else quote(self.username, safe="")
        secret = ":***" if self.password else ""
        at = f"{user}{secret}@" if user or secret else ""
        ca = f"?{urlencode({'ca_cert': self.ca_cert})}" if self.ca_cert else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.secure else ''}://{at}{host}:{self.port}/{self.database}{ca}"


def with_secrets(dsn: str, password: str | None, cafile: str | None) -> str:
    """The DSN with a password and a CA that were given apart. Raises ValueError."""
    if not password and not cafile:
        return dsn
    to, parts = Dsn.parse(dsn), urlsplit(dsn)
    place, query = parts.netloc, parts.query
    if password:
        user = quote(to.username or "default", safe="")
        place = f"{user}:{quote(password, safe='')}@{parts.netloc.rpartition('@')[2]}"
    if cafile:
        query = urlencode({"ca_cert": cafile})
    return urlunsplit((parts.scheme, place, parts.path, query, ""))


def connect(dsn: str, *, timeout: float = 60.0, database: str | None = None) -> Client:
    """A blocking client. Each thread needs its own. Raises one of STORE_ERRORS."""
    to = Dsn.parse(dsn)
    return clickhouse_connect.get_client(
        host=to.host,
        port=to.port,
        database=database or to.database,
        username=to.username,
        password=to.password,
        secure=to.secure,
        ca_cert=to.ca_cert,
        connect_timeout=5,
        send_receive_timeout=timeout,
        autogenerate_session_id=False,
        query_retries=0,
        # On loopback and in one data centre the cpu is dearer than the network (ENGINES.md).
        compress=False,
    )


async def connect_async(dsn: str, *, timeout: float = 60.0) -> AsyncClient:
    """An asyncio client, safe for concurrent queries. Raises one of STORE_ERRORS."""
    to = Dsn.parse(dsn)
    return await clickhouse_connect.get_async_client(
        host=to.host,
        port=to.port,
        database=to.database,
        username=to.username,
        password=to.password,
        secure=to.secure,
        ca_cert=to.ca_cert,
        connect_timeout=5,
        send_receive_timeout=timeout,
        autogenerate_session_id=False,
        query_retries=0,
        # On loopback and in one data centre the cpu is dearer than the network (ENGINES.md).
        compress=False,
    )
