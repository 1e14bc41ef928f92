"""Bodies of requests: read up to a limit, and as typed values, with every problem named."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import Any

import orjson
from starlette.requests import Request

from contracts.days import FIRST_DAY, LAST_DAY, book_day, looks_like_day
from services.gateway.errors import Refused
from yumai.sharing.bodies import Bodies, NeverCame, TooLarge
from yumai.store.figures import SHANGHAI

TEXT_MOST = 2_000
BODY_MOST = 1 << 20
MISSING = object()


async def taken(request: Request, most: int = BODY_MOST) -> bytes:
    """The body, never more of it than `most`. Raises Refused, TooMuch."""
    if request.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise Refused("unsupported_media_type", "content-encoding", "want the body unpacked")
    bodies: Bodies = request.app.state.bodies
    try:
        return await bodies.read(request, request.state.in_work, most)
    except TooLarge as error:
        raise Refused("too_large", None, f"more than {most >> 20} MiB") from error
    except NeverCame as error:
        raise Refused(
            "invalid_field", None, f"the body did not come to its end: {error}"
        ) from error


def parsed(raw: bytes, empty: Any = MISSING) -> Any:
    """JSON of a body. Raises Refused."""
    if not raw.strip() and empty is not MISSING:
        return empty
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused("invalid_field", None, f"the body is not JSON: {error}") from error


class Fields:
    """Reads one JSON object field by field and remembers what is wrong with it."""

    def __init__(self, body: Any, known: Collection[str], index: int | None = None) -> None:
        self.problems: list[Refused] = []
        self._index = index
        self._body: dict[str, Any] = body if isinstance(body, dict) else {}
        if not isinstance(body, dict):
            self.wrong(None, "want a JSON object")
        for name in self._body:
            if name not in known:
                self.wrong(name, f"unknown field; known are {', '.join(known)}")

    def wrong(self, field: str | None, message: str) -> None:
        refused = Refused("invalid_field", field, message)
        refused.errors = [error | {"index": self._index} for error in refused.errors]  # type: ignore[dict-item]
        self.problems.append(refused)

    def check(self) -> None:
        """Raises Refused with all problems."""
        if self.problems:
            raise Refused.all(self.problems)

    def has(self, name: str) -> bool:
        return name in self._body

    def get(self, name: str) -> Any:
        return self._body.get(name)

    def text(self, name: str, required: bool = False, most: int = TEXT_MOST) -> str | None:
        value = self._body.get(name)
        if value is None:
            if required:
                self.wrong(name, "a text is needed")
            return None
        if not isinstance(value, str):
            self.wrong(name, "want a text")
            return None
        value = value.strip()
        if not value and required:
            self.wrong(name, "a text is needed")
        if len(value) > most:
            self.wrong(name, f"more than {most} characters")
        return value or None

    def day(self, name: str, required: bool = False) -> date | None:
        text = self.text(name, required, 40)
        return None if text is None else self._day(name, text)

    def _day(self, name: str, text: str) -> date | None:
        try:
            return book_day(text)
        except ValueError:
            self.wrong(
                name, f"{text!r} is not a day from {FIRST_DAY} to {LAST_DAY}; want YYYY-MM-DD"
            )
            return None

    def until(self, name: str) -> tuple[str, datetime] | None:
        """An instant with its offset, or a day that counts to its end; both as text and instant."""
        text = self.text(name, True, 40)
        if text is None:
            return None
        if looks_like_day(text):
            day = self._day(name, text)
            if day is None:
                return None
            try:
                return text, datetime(day.year, day.month, day.day, tzinfo=SHANGHAI) + timedelta(1)
            except OverflowError:
                self.wrong(name, "too far away")
                return None
        try:
            instant = datetime.fromisoformat(text) if looks_like_day(text[:10]) else None
        except ValueError:
            instant = None
        if instant is None or instant.tzinfo is None:
            self.wrong(name, f"{text!r} is neither a day nor an RFC 3339 instant with an offset")
            return None
        return text, instant
