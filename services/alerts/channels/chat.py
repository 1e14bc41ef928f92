"""E-mail, DingTalk, WeCom and Feishu through Apprise. Blocking: runs in a thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from services.alerts.channels.webhook import Failed
from yumai import webhooks

SEND_SECONDS = 30.0
MAIL = "email"


async def send(
    channel: str, address: str, title: str, body: str, allowed: Sequence[webhooks.Network]
) -> None:
    """Raises Failed. A mail server of one's own network has to be allowed as a webhook has."""
    if channel == MAIL:
        await _judge_mail(address, allowed)
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await asyncio.to_thread(_notify, address, title, body)
    except TimeoutError as error:
        raise Failed("no answer in time") from error


async def _judge_mail(address: str, allowed: Sequence[webhooks.Network]) -> None:
    """Of every server that Apprise would connect to: the address may name another with `smtp=`."""
    server = getattr(_plugin(address), "smtp_host", None)
    if not server:
        raise Failed("the address names no mail server")
    try:
        for found in await webhooks.addresses(server, 25):
            webhooks.judge(found, "https", allowed)
    except (webhooks.Unsafe, webhooks.Unresolved) as error:
        raise Failed(str(error)) from error


def _plugin(address: str):  # type: ignore[no-untyped-def]
    from apprise import Apprise

    found = Apprise.instantiate(address, suppress_exceptions=True)
    if found is None:
        raise Failed("Apprise can't read the address")
    return found


def _notify(address: str, title: str, body: str) -> None:
    """What Apprise logs is the only reason it gives."""
    plugin = _plugin(address)
    reasons: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            reasons.append(record.getMessage())

    keep = Keep(logging.WARNING)
    logger = logging.getLogger("apprise")
    logger.addHandler(keep)
    try:
        if not plugin.notify(body=body, title=title):
            raise Failed("; ".join(reasons)[:300] or "refused")
    finally:
        logger.removeHandler(keep)
