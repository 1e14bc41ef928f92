"""Connections to ClickHouse (a server, a cluster, or the embedded engine: one HTTP interface)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from yumai import canary, proxies
from yumai.store import guarantees
from yumai.store.address import Dsn, with_secrets

if TYPE_CHECKING:
    # It brings aiohttp with it, which most commands never need.
    from clickhouse_connect.driver.asyncclient import AsyncClient

STORE_ERRORS: tuple[type[Exception], ...] = (ClickHouseError, HTTPError, OSError)
"""What a call raises when the store is away, restarting or refuses: retry with backoff."""

__all__ = ["STORE_ERRORS", "Dsn", "connect", "connect_async", "with_secrets"]


def _options(
    to: Dsn, database: str | None, timeout: float, sequential: bool, with_canary: bool
) -> dict[str, Any]:
    proxies.bypass([to.host])
    return {
        "host": to.host,
        "port": to.port,
        "database": database or to.database,
        "username": to.username,
        "password": to.password,
        "secure": to.secure,
        "ca_cert": to.ca_cert,
        "connect_timeout": 5,
        "send_receive_timeout": timeout,
        "autogenerate_session_id": False,
        "query_retries": 0,
        # On loopback and in one data centre the cpu is dearer than the network (docs/engines.md).
        "compress": False,
        "settings": guarantees.of_session(to.cluster, sequential=sequential)
        | (canary.SHOWING if with_canary else canary.HIDING),
    }


def connect(
    dsn: str,
    *,
    timeout: float = 60.0,
    database: str | None = None,
    sequential: bool = False,
    with_canary: bool = False,
) -> Client:
    """A blocking client. Each thread needs its own. Raises one of STORE_ERRORS.

    `sequential`: reads see everything that was acknowledged, on whichever replica of a cluster.
    `with_canary`: reads see all rows. Who writes the books needs it; who reads figures must not have it.
    """
    client = clickhouse_connect.get_client(
        **_options(Dsn.parse(dsn), database, timeout, sequential, with_canary)
    )
    _set_inserts(client)
    return client


async def connect_async(
    dsn: str, *, timeout: float = 60.0, sequential: bool = False, with_canary: bool = False
) -> AsyncClient:
    """An asyncio client, safe for concurrent queries; else like `connect`."""
    client = await clickhouse_connect.get_async_client(
        **_options(Dsn.parse(dsn), None, timeout, sequential, with_canary)
    )
    _set_inserts(client)
    return client


def _set_inserts(client: Client | AsyncClient) -> None:
    for name, value in guarantees.of_inserts(client.server_settings).items():
        client.set_client_setting(name, value)


def is_busy(error: BaseException) -> bool:
    """Whether another insert was on its way to the quorum: the store is there, try again soon."""
    code = f"code: {guarantees.UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE}"
    return isinstance(error, ClickHouseError) and code in str(error).lower()
