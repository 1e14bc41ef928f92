"""Districts: an effective-dated dimension keyed by GB/T 2260 code, never a hard-coded 38. Pure.

The division change of late 2025 is booked from 2026-01-01 00:00 Asia/Shanghai: 江北 500105 and
渝北 500112 become 两江新区 500157. The legal day is not published (docs/methods.md, Districts).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files

UNKNOWN = "000000"
CHANGE_DATE = date(2026, 1, 1)
CHANGE_MS = 1_767_196_800_000
"""2026-01-01T00:00+08:00 in epoch milliseconds."""
ENDED = {"500105": "500157", "500112": "500157"}
BEGUN = {"500157"}


@dataclass(frozen=True)
class District:
    code: str
    zh: str
    short_zh: str
    en: str
    kind: str
    group: str
    population: int | None

    def exists_on(self, day: date) -> bool:
        if self.code in ENDED:
            return day < CHANGE_DATE
        return day >= CHANGE_DATE if self.code in BEGUN else True


@cache
def districts() -> dict[str, District]:
    """Every district that exists or existed, by code."""
    text = (files("yumai") / "reference" / "districts.csv").read_text(encoding="utf-8-sig")
    return {
        row["code"]: District(
            row["code"],
            row["name_zh"],
            row["short_zh"],
            row["name_en"],
            row["kind"],
            row["group_2024plan"],
            int(row["resident_pop_2020_census"] or 0) or None,
        )
        for row in csv.DictReader(text.splitlines())
    }


def districts_of(year: int) -> list[str]:
    """Codes in force during a calendar year (38 until 2025, 37 from 2026)."""
    return [d.code for d in districts().values() if d.exists_on(date(year, 7, 1))]


def booked_code(code: str, occurred_at_ms: int) -> str:
    """The code under which an entry that names `code` is booked at that instant."""
    if code in ENDED:
        return code if occurred_at_ms < CHANGE_MS else ENDED[code]
    if code in BEGUN and occurred_at_ms < CHANGE_MS:
        return UNKNOWN
    return code


def predecessors(district: str) -> tuple[str, ...]:
    """Districts that ended, and whose area is this one's now."""
    return tuple(old for old, new in ENDED.items() if new == district)


def changed_districts() -> tuple[str, ...]:
    """Districts of the new division whose history is that of another area."""
    return ("500157", "500109")
