"""Days: their zone, and as text YYYY-MM-DD in ASCII digits and nothing else. Pure."""

from __future__ import annotations

import re
from datetime import date, timedelta, timezone

SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")
"""Days are of this zone. It has had no daylight saving since 1991, and no entry is older: a fixed offset is exact."""
SHANGHAI_MS = 8 * 3_600_000
DAY_MS = 86_400_000
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2149, 6, 6)
"""What the books can hold: days since 1970 in 16 bits."""
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def looks_like_day(text: str) -> bool:
    return _DAY.fullmatch(text) is not None


def calendar_day(text: str) -> date:
    """Any day of the calendar. Raises ValueError, also for ISO 8601's other forms (2026-W45-1, 20261124)."""
    if not looks_like_day(text):
        raise ValueError("want YYYY-MM-DD")
    return date.fromisoformat(text)


def book_day(text: str) -> date:
    """A day that the books can hold. Raises ValueError."""
    found = calendar_day(text)
    if not FIRST_DAY <= found <= LAST_DAY:
        raise ValueError(f"want {FIRST_DAY} to {LAST_DAY}")
    return found
