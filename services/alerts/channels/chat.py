"""E-mail, DingTalk, WeCom and Feishu through Apprise. Blocking: runs in a thread."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any

from services.alerts.channels import connections
from services.alerts.channels.webhook import Failed
from yumai import webhooks

SEND_SECONDS = 30.0
MAIL, WECOM = "email", "wecom"
BYTES_MOST = {WECOM: 2_000}
"""UTF-8 bytes of a robot's text, less than its own limit."""


async def send(
    channel: str, address: str, title: str, body: str, allowed: Sequence[webhooks.Network]
) -> None:
    """Raises Failed. A mail server of one's own network has to be allowed as a webhook has.

    A thread that hangs can't be ended: until it ends by itself its address is not tried again.
    """
    attempt = (id(asyncio.get_running_loop()), address)
    if attempt in _under_way:
        raise Failed("the attempt before still hangs")
    if channel == MAIL:
        await _judge_mail(address, allowed)
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await asyncio.to_thread(_attempted, attempt, channel, address, title, body, allowed)
    except TimeoutError as error:
        raise Failed("no answer in time") from error


_under_way: set[tuple[int, str]] = set()
"""Attempts by the loop they were made from (each office has its own) and their address."""


def _attempted(attempt: tuple[int, str], *given: Any) -> None:
    _under_way.add(attempt)
    try:
        _notify(*given)
    finally:
        _under_way.discard(attempt)


async def _judge_mail(address: str, allowed: Sequence[webhooks.Network]) -> None:
    """Judges every server that Apprise would connect to: the address may name another with `smtp=`."""
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


def _notify(
    channel: str, address: str, title: str, body: str, allowed: Sequence[webhooks.Network]
) -> None:
    """Sends through Apprise. Its log is the only place where it gives a reason, so the log becomes the error."""
    from apprise import Apprise, NotifyFormat

    sender = Apprise()
    sender.add(_plugin(address))
    if channel in BYTES_MOST:
        body = shortened(body, BYTES_MOST[channel] - len(f"{title}\r\n".encode()))
    reasons: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            reasons.append(record.getMessage())

    keep = Keep(logging.WARNING)
    logger = logging.getLogger("apprise")
    logger.addHandler(keep)
    try:
        with connections.of_message(allowed) as message:
            # As the plain text that it is: taken for HTML, a mail loses its lines.
            sent = sender.notify(body=body, title=title, body_format=NotifyFormat.TEXT)
        if not sent:
            raise Failed("; ".join(message.refused or reasons)[:300] or "refused")
        for answer in message.answers:
            if why := refusal(answer):
                raise Failed(why)
    finally:
        logger.removeHandler(keep)


# -- what robots answer -----------------------------------------------------------------------------


def refusal(answer: bytes) -> str | None:
    """Why a robot took nothing: DingTalk and WeCom say it in `errcode`, with HTTP 200."""
    try:
        said = json.loads(answer)
    except ValueError:
        return None
    if not isinstance(said, dict) or said.get("errcode") in (None, 0):
        return None
    return f"{said['errcode']}: {said.get('errmsg') or 'refused'}"[:300]


def shortened(body: str, most: int) -> str:
    """At most so many UTF-8 bytes; the last line (the link) stays whole."""
    if len(body.encode()) <= most:
        return body
    said, _, link = body.rpartition("\n")
    left = max(most - len(f"…\n{link}".encode()), 0)
    return f"{said.encode()[:left].decode(errors='ignore')}…\n{link}"
