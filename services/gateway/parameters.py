"""Query parameters as typed values, with every problem named. Pure: the day is an argument."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from starlette.datastructures import QueryParams

from contracts.days import FIRST_DAY, LAST_DAY, calendar_day
from services.gateway.errors import Refused
from yumai.districts import UNKNOWN, districts
from yumai.platforms import is_platform_id
from yumai.sectors import SECTOR_NUMBERS
from yumai.store.figures import DIMENSIONS, GRAINS

"""Of ClickHouse's Date."""


@dataclass(frozen=True)
class CellsAsked:
    """What `/v1/cells` was asked for, before the scope is applied."""

    first: date
    last: date
    grain: str
    group_by: tuple[str, ...]
    districts: tuple[str, ...] | None
    sectors: tuple[str, ...] | None
    platforms: tuple[str, ...] | None
    as_of: date | None
    format: str


class Reader:
    """Reads parameters one by one and remembers what is wrong with them."""

    def __init__(self, query: QueryParams, known: Collection[str]) -> None:
        self._query = query
        self.problems: list[Refused] = []
        for name in dict.fromkeys(query.keys()):
            if name not in known:
                self.wrong(name, f"unknown parameter; known are {', '.join(known)}")

    def wrong(self, field: str, message: str) -> None:
        self.problems.append(Refused("invalid_parameter", field, message))

    def check(self) -> None:
        """Raises Refused with all problems."""
        if self.problems:
            raise Refused.all(self.problems)

    def text(self, name: str) -> str | None:
        """None when absent or empty."""
        return self._query.get(name) or None

    def day(self, name: str) -> date | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            return calendar_day(text)
        except ValueError:
            self.wrong(name, f"{text!r} is not a day; want YYYY-MM-DD")
            return None

    def as_of(self) -> date | None:
        """A day of recording, within those that the books can hold: before and after nothing is known otherwise."""
        day = self.day("as_of")
        return None if day is None else min(max(day, FIRST_DAY), LAST_DAY)

    def year(self, name: str) -> int | None:
        text = self.text(name)
        if text is None:
            return None
        if not re.fullmatch(r"[12]\d{3}", text, re.ASCII):
            self.wrong(name, f"{text!r} is not a year")
            return None
        return int(text)

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        text = self.text(name) or default
        if text not in allowed:
            self.wrong(name, f"{text!r} is none of {', '.join(allowed)}")
        return text

    def listed(self, name: str) -> tuple[str, ...] | None:
        """Comma-separated, also repeated; None when absent or empty."""
        parts = [part.strip() for text in self._query.getlist(name) for part in text.split(",")]
        return tuple(dict.fromkeys(part for part in parts if part)) or None

    def codes(self, name: str, known: Collection[str], what: str) -> tuple[str, ...] | None:
        codes = self.listed(name)
        for code in codes or ():
            if code not in known:
                self.wrong(name, f"{code!r} is no {what}")
        return codes

    def districts(self) -> tuple[str, ...] | None:
        return self.codes("district", {*districts(), UNKNOWN}, "district code")

    def platforms(self) -> tuple[str, ...] | None:
        platforms = self.listed("platform")
        for platform in platforms or ():
            if not is_platform_id(platform):
                self.wrong("platform", f"{platform!r} is no platform id")
        return platforms


CELLS = (
    "from",
    "to",
    "grain",
    "group_by",
    "district",
    "sector",
    "platform",
    "as_of",
    "format",
)


def cells(query: QueryParams, today: date) -> CellsAsked:
    """The parameters of `/v1/cells`; default is this year, by day, not grouped by any dimension."""
    reader = Reader(query, CELLS)
    first, last = reader.day("from"), reader.day("to")
    if first is None:
        first = date((last or today).year, 1, 1)
    if last is None:
        last = date(max(today.year, first.year), 12, 31)
    if first > last and not reader.problems:
        reader.wrong("from", f"from {first} is after to {last}")
    grain = reader.choice("grain", GRAINS, "day")
    group_by = reader.codes("group_by", DIMENSIONS, "dimension (district, sector, platform)")
    asked = CellsAsked(
        first,
        last,
        grain,
        tuple(d for d in DIMENSIONS if d in (group_by or ())),
        reader.districts(),
        reader.codes("sector", SECTOR_NUMBERS, "sector code"),
        reader.platforms(),
        reader.day("as_of"),
        reader.choice("format", ("json", "csv"), "json"),
    )
    reader.check()
    return asked
