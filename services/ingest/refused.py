"""A body that is wrong as a whole: nothing of it is booked."""

from __future__ import annotations

ROWS_MAX = 2_500_000
"""Of one request. No body of 64 MiB in a text format has so many true entries (28 bytes of CSV each)."""
ROWS_FREE = 131_072
"""Beyond these, a row for each byte that came at most: a row costs us what it costs its sender."""


class BodyRefused(Exception):
    """`code` of contracts/reasons.py (400 or 413), the column it is about, and what was found."""

    def __init__(self, code: str, field: str | None, detail: str) -> None:
        super().__init__(detail)
        self.code, self.field, self.detail = code, field, detail


def check_rows(rows: int, came: int) -> None:
    """`came`: the body's bytes as they came, packed. Raises BodyRefused (413)."""
    if rows > ROWS_MAX:
        raise BodyRefused("too_large", None, f"more than {ROWS_MAX:,} rows")
    if rows > ROWS_FREE + came:
        raise BodyRefused(
            "too_large", None, f"more than {ROWS_FREE:,} rows of less than a byte each"
        )
