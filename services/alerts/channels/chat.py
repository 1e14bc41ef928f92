"""E-mail, DingTalk, WeCom and Feishu through Apprise. Blocking: runs in a thread."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from services.alerts.channels.webhook import Failed
from yumai import webhooks

SEND_SECONDS = 30.0
MAIL, DINGTALK, WECOM = "email", "dingtalk", "wecom"
MODULES = {DINGTALK: "apprise.plugins.dingtalk", WECOM: "apprise.plugins.wecombot"}
"""Of robots whose refusals Apprise takes for success."""
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
            await asyncio.to_thread(_attempted, attempt, channel, address, title, body)
    except TimeoutError as error:
        raise Failed("no answer in time") from error


_under_way: set[tuple[int, str]] = set()
"""Attempts by the loop they were made from (each office has its own) and their address."""


def _attempted(attempt: tuple[int, str], *given: str) -> None:
    _under_way.add(attempt)
    try:
        _notify(*given)
    finally:
        _under_way.discard(attempt)


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


def _notify(channel: str, address: str, title: str, body: str) -> None:
    """What Apprise logs is the only reason it gives."""
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
    answers: list[bytes] = []
    _heard.set(answers)
    _listen(channel)
    try:
        # As the plain text that it is: taken for HTML, a mail loses its lines.
        if not sender.notify(body=body, title=title, body_format=NotifyFormat.TEXT):
            raise Failed("; ".join(reasons)[:300] or "refused")
        for answer in answers:
            if why := refusal(answer):
                raise Failed(why)
    finally:
        logger.removeHandler(keep)


# -- what robots answer -----------------------------------------------------------------------------

_heard: ContextVar[list[bytes] | None] = ContextVar("heard", default=None)
"""What was answered to the message under way; Apprise takes the context with it into its own thread."""


class _Listening:
    """`requests` as Apprise uses it, which remembers what was answered."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def post(self, *given: Any, **named: Any) -> Any:
        answer = self._real.post(*given, **named)
        heard = _heard.get()
        if heard is not None:
            heard.append(answer.content)
        return answer


def _listen(channel: str) -> None:
    if channel in MODULES:
        module: Any = importlib.import_module(MODULES[channel])
        if not isinstance(module.requests, _Listening):
            module.requests = _Listening(module.requests)


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
