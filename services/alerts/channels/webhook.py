"""A signed webhook (standardwebhooks): one POST, to an address that was judged just now, no redirects."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime

import httpx
from standardwebhooks.webhooks import Webhook

from yumai import webhooks

ANSWER_SECONDS = 10.0


class Failed(Exception):
    """Not delivered; the text says why."""


class Sender:
    """One client for all; every connection goes to an address that `webhooks.checked` let through."""

    def __init__(self, allowed: Sequence[webhooks.Network]) -> None:
        self._allowed = allowed
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def send(self, url: str, id_: str, body: bytes, secret: str) -> None:
        """Raises Failed."""
        try:
            found = await webhooks.checked(url, self._allowed)
        except (webhooks.Unsafe, webhooks.Unresolved) as error:
            raise Failed(str(error)) from error
        if self._client is None:
            # No proxy of the environment, no redirects, no kept connection: each goes where it was judged.
            self._client = httpx.AsyncClient(
                timeout=ANSWER_SECONDS,
                trust_env=False,
                follow_redirects=False,
                limits=httpx.Limits(max_keepalive_connections=0),
            )
        last: Failed | None = None
        for address in found[:3]:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await self._post(url, address, id_, body, secret)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                last = Failed(f"{type(error).__name__}: {error}")
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
                raise Failed(f"{type(error).__name__}: {error}") from error
        raise last or Failed("no address")

    async def _post(
        self,
        url: str,
        address: ipaddress.IPv4Address | ipaddress.IPv6Address,
        id_: str,
        body: bytes,
        secret: str,
    ) -> None:
        assert self._client is not None
        _, host, _ = webhooks.parts(url)
        given = httpx.URL(url)
        now = datetime.now(UTC)
        headers = {
            "Host": given.netloc.decode(),
            "Content-Type": "application/json",
            "User-Agent": "yumai",
            "webhook-id": id_,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(id_, now, body.decode()),
        }
        request = self._client.build_request(
            "POST",
            given.copy_with(host=str(address), fragment=None),
            headers=headers,
            content=body,
            extensions={"sni_hostname": host},
        )
        answer = await self._client.send(request, stream=True)
        try:
            if not 200 <= answer.status_code < 300:
                raise Failed(f"HTTP {answer.status_code}")
        finally:
            await answer.aclose()
