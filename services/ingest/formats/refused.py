"""A body that is wrong as a whole: nothing of it is booked."""

from __future__ import annotations


class BodyRefused(Exception):
    """`code` of contracts/reasons.py (400 or 413), the column it is about, and what was found."""

    def __init__(self, code: str, field: str | None, detail: str) -> None:
        super().__init__(detail)
        self.code, self.field, self.detail = code, field, detail
