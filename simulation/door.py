"""One request to the HTTP door, sent until it is answered for good."""

from __future__ import annotations

import threading
from typing import Any

import httpx


class DoorRefused(Exception):
    """The door answered, and sending it again would not help."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text[:500]}")
        self.status = status


class Stopped(Exception):
    """Asked to stop while waiting; whether the last try was booked is unknown."""


def client() -> httpx.Client:
    return httpx.Client(timeout=httpx.Timeout(120.0, connect=5.0), trust_env=False)


def send(
    http: httpx.Client,
    method: str,
    url: str,
    body: bytes,
    headers: dict[str, str],
    stop: threading.Event,
    patience: float = float("inf"),
) -> dict[str, Any]:
    """The answer's JSON. Waits and tries again on 429, 502–504 and broken connections.

    Needs an Idempotency-Key to be harmless. `patience`: seconds of waiting at most, in all.
    Raises DoorRefused, Stopped, and the last error when patience is out.
    """
    waited = 0.0
    while not stop.is_set():
        try:
            answer = http.request(method, url, content=body, headers=headers)
            if answer.status_code < 300:
                return answer.json()
            if answer.status_code not in (429, 502, 503, 504):
                raise DoorRefused(answer.status_code, answer.text)
            pause = _seconds(answer.headers.get("Retry-After"))
            error: Exception = DoorRefused(answer.status_code, answer.text)
        except httpx.TransportError as broken:
            pause, error = 1.0, broken
        if waited >= patience:
            raise error
        waited += pause
        stop.wait(pause)
    raise Stopped


def _seconds(retry_after: str | None) -> float:
    try:
        return min(max(float(retry_after or 1), 0.1), 30.0)
    except ValueError:
        return 1.0
