"""Connections to ClickHouse (the server or the embedded engine: one HTTP interface)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

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
    """`http://[user[:password]@]host:port/database`."""

    host: str
    port: int
    database: str
    username: str | None
    password: str
    secure: bool

    @classmethod
    def parse(cls, text: str) -> Dsn:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"CLICKHOUSE_DSN {text!r}: want http://host:port/database")
        return cls(
            parts.hostname,
            parts.port or (8443 if parts.scheme == "https" else 8123),
            parts.path.strip("/") or "default",
            parts.username,
            parts.password or "",
            parts.scheme == "https",
        )


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
        connect_timeout=5,
        send_receive_timeout=timeout,
        autogenerate_session_id=False,
        query_retries=0,
        # On loopback and in one data centre the cpu is dearer than the network (ENGINES.md).
        compress=False,
    )
