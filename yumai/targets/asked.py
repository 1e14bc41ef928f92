"""A row of `PUT /v1/targets`: what it may say, and all that is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from contracts.targets.codec import CITY
from yumai.districts import districts_of
from yumai.sectors import SECTOR_NUMBERS
from yumai.targets.versions import FEN_MOST, FORMS, Key, target_fen

FIELDS = ("year", "district", "sector", "form", "value", "base_fen", "basis", "note")
SECTORS = tuple(code for code, n in SECTOR_NUMBERS.items() if 1 <= n <= 12 or n == 99)
GROWTH_MOST = Decimal(100)
TEXT_MOST = 2_000
YEARS = (2000, 2100)


@dataclass(frozen=True)
class Wrong:
    """What is wrong with one row: `code` of contracts/reasons."""

    index: int
    field: str | None
    code: str
    message: str


@dataclass(frozen=True)
class Asked:
    """A row of `PUT /v1/targets` that says what it may say. `value` exactly as it was written."""

    year: int
    district: str
    sector: str | None
    form: str
    value: Decimal
    base_fen: int | None = None
    basis: str | None = None
    note: str | None = None

    @property
    def key(self) -> Key:
        return self.year, self.district, self.sector

    @property
    def needs_base(self) -> bool:
        return self.form == "growth" and self.base_fen is None


def read(rows: Sequence[Any]) -> tuple[list[Asked], list[Wrong]]:
    """Rows as JSON has them (numbers int or Decimal): those that are right, and all that is wrong."""
    asked: list[Asked] = []
    wrong: list[Wrong] = []
    seen: dict[Key, int] = {}
    for index, row in enumerate(rows):
        problems: list[Wrong] = []
        one = _read(index, row, problems)
        if one is not None and one.key in seen:
            problems.append(Wrong(index, None, "duplicate", f"the same key as row {seen[one.key]}"))
        if problems or one is None:
            wrong += problems
            continue
        seen[one.key] = index
        asked.append(one)
    return asked, wrong


def _read(index: int, row: Any, problems: list[Wrong]) -> Asked | None:
    def bad(field: str | None, code: str, message: str) -> None:
        problems.append(Wrong(index, field, code, message))

    if not isinstance(row, dict):
        bad(None, "not_object", "want an object")
        return None
    for name in row:
        if name not in FIELDS:
            bad(str(name)[:100], "unknown_field", f"known are {', '.join(FIELDS)}")
    year = row.get("year")
    if year is None:
        bad("year", "missing_field", "want a year")
    elif type(year) is not int:
        bad("year", "wrong_type", f"{year!r} is not a year")
    elif not YEARS[0] <= year <= YEARS[1]:
        bad("year", "out_of_range", f"want {YEARS[0]} to {YEARS[1]}")
    year = year if type(year) is int and YEARS[0] <= year <= YEARS[1] else None
    district = row.get("district")
    if district is None:
        bad("district", "missing_field", "want a district's code or city")
    elif not isinstance(district, str):
        bad("district", "wrong_type", "want a district's code as text, or city")
    elif district != CITY and year is not None and district not in districts_of(year):
        bad("district", "unknown_district", f"{district!r} is no district of {year}")
    sector = row.get("sector")
    if sector is not None and sector not in SECTORS:
        bad("sector", "invalid_value", f"{sector!r}: want S01 to S12, S99, or null (all services)")
    form = row.get("form")
    if form is None:
        bad("form", "missing_field", f"want one of {', '.join(FORMS)}")
    elif form not in FORMS:
        bad("form", "invalid_value", f"{form!r}: want one of {', '.join(FORMS)}")
    elif form == "share" and (district != CITY or sector is not None):
        bad("form", "invalid_value", "a share is the city's, of all services")
    value = _value(form, row.get("value"), bad)
    base = row.get("base_fen")
    if base is not None:
        if type(base) is not int:
            bad("base_fen", "wrong_type", "want an integer of fen")
        elif not 0 < base <= FEN_MOST:
            bad("base_fen", "out_of_range", f"want 1 to {FEN_MOST}")
        elif form in FORMS and form != "growth":
            bad("base_fen", "invalid_value", "only a growth has a base")
    for name in ("basis", "note"):
        text = row.get(name)
        if text is not None and not isinstance(text, str):
            bad(name, "wrong_type", "want text")
        elif text is not None and len(text) > TEXT_MOST:
            bad(name, "too_long", f"more than {TEXT_MOST} characters")
    if problems or value is None:
        return None
    assert isinstance(form, str)
    assert year is not None
    assert isinstance(district, str)
    asked = Asked(year, district, sector, form, value, base, row.get("basis"), row.get("note"))
    if form == "growth" and base is not None and target_fen(form, value, base) is None:
        bad("value", "out_of_range", "the target is beyond what can be booked")
        return None
    return asked


def _value(form: Any, value: Any, bad: Any) -> Decimal | None:
    if value is None:
        bad("value", "missing_field", "want a number")
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        bad("value", "wrong_type", "want a number")
        return None
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    if (
        not number.is_finite()
        or len(number.as_tuple().digits) > 100
        or abs(number.adjusted()) > 100
    ):
        bad("value", "out_of_range", "want a finite number")
        return None
    if form == "amount":
        if number != number.to_integral_value():
            bad("value", "invalid_value", "want whole fen")
        elif not 0 < number <= FEN_MOST:
            bad("value", "out_of_range", f"want 1 to {FEN_MOST} fen")
        else:
            return number
    elif form == "growth":
        if not -1 < number <= GROWTH_MOST:
            bad("value", "out_of_range", "a fraction above -1: 0.06 is 6 %")
        else:
            return number
    elif form == "share":
        if not 0 < number < 1:
            bad("value", "out_of_range", "a fraction between 0 and 1: 0.4 is 40 %")
        else:
            return number
    return None
