"""Annual targets: what they come to, their versions, what a set of them must satisfy. Pure.

    amount  T = value                  growth  T = base × (1 + value), half up to the fen
    share   no T: a share of all retail (the city only), value in (0, 1)

A version is fixed when it is set: figures that change later change no target.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from contracts.targets.codec import CITY, Target, Version, key_of, of_versions
from yumai.districts import CHANGE_DATE, ENDED, districts_of
from yumai.sectors import SECTOR_NUMBERS

FORMS = ("amount", "growth", "share")
FIELDS = ("year", "district", "sector", "form", "value", "base_fen", "basis", "note")
SECTORS = tuple(code for code, n in SECTOR_NUMBERS.items() if 1 <= n <= 12 or n == 99)
FEN_MOST = 2**63 - 1
GROWTH_MOST = Decimal(100)
TEXT_MOST = 2_000
YEARS = (2000, 2100)
SYSTEM = "system"
_SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")
# Wide enough that a product of two numbers as long as JSON ever carries is exact.
_EXACT = Context(prec=400, traps=[Inexact])

Key = tuple[int, str, str | None]
"""Year, district, sector."""


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


# -- reading rows ---------------------------------------------------------------------------------


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


# -- resolving ------------------------------------------------------------------------------------


def target_fen(form: str, value: Decimal, base_fen: int | None) -> int | None:
    """What a target comes to, exactly, half up; None for a share, or where it is no amount of fen."""
    if form == "amount":
        found = int(value)
    elif form == "growth" and base_fen is not None:
        product = _EXACT.multiply(Decimal(base_fen), _EXACT.add(Decimal(1), value))
        found = int(product.to_integral_value(rounding=ROUND_HALF_UP, context=_EXACT_ROUNDING))
    else:
        return None
    return found if 0 < found <= FEN_MOST else None


_EXACT_ROUNDING = Context(prec=400)


def stored(value: Decimal) -> int | float:
    """As the record carries it; `target_fen` is what counts, and is exact."""
    return int(value) if value == value.to_integral_value() else float(value)


def next_version(
    asked: Asked,
    versions: Sequence[Version],
    base_fen: int | None,
    approximate: bool,
    by: str,
    at_ms: int,
) -> Version | None:
    """The version that a row makes, None where it already holds. `base_fen` for a growth without its own."""
    base = None
    if asked.form == "growth":
        base = asked.base_fen if asked.base_fen is not None else base_fen
    held = holding(versions, asked.form)
    fresh = Version(
        versions[-1].version + 1 if versions else 1,
        asked.form,
        stored(asked.value),
        target_fen(asked.form, asked.value, base),
        base,
        approximate and asked.needs_base,
        asked.basis,
        asked.note,
        by,
        # A clock set back must not put a version before the one it follows.
        max(at_ms, (versions[-1].at or 0) if versions else 0),
    )
    if held is not None and _content(held) == _content(fresh):
        return None
    return fresh


def holding(versions: Sequence[Version], form: str) -> Version | None:
    """The version that holds for a form: a share and an amount of fen (or growth) stand side by side."""
    share = form == "share"
    return next((v for v in reversed(versions) if (v.form == "share") == share), None)


def merged(known: Sequence[Version], record: Sequence[Version]) -> tuple[Version, ...]:
    """Versions of a key after one more record of it, oldest first.

    Of two writers that did not know of each other, each wrote a history without the other's version:
    the later in the log follows, under the next number. A version is who set what and when: read again, it
    is the same. (The oldest records do not say when: each of these is a version of its own.)
    """
    same = 0
    while same < min(len(known), len(record)) and known[same] == record[same]:
        same += 1
    if same == len(known):
        return tuple(record)
    found = list(known)
    for version in record[same:] or record[-1:]:
        held = holding(found, version.form)
        if held is not None and _content(held) == _content(version):
            continue
        named = (version.at, version.by, _content(version))
        if version.at is None or all((v.at, v.by, _content(v)) != named for v in found):
            found.append(msgspec.structs.replace(version, version=len(found) + 1))
    return tuple(found)


def _content(version: Version) -> tuple[Any, ...]:
    return (
        version.form,
        version.value,
        version.target_fen,
        version.base_fen,
        version.basis or None,
        version.note or None,
    )


# -- what is held ---------------------------------------------------------------------------------


class Held:
    """All targets as the log tells them: key -> versions, oldest first."""

    def __init__(self) -> None:
        self._versions: dict[Key, tuple[Version, ...]] = {}
        self.torn: set[Key] = set()
        """Whose last record does not say all its versions: two wrote at once (see `merged`)."""

    def take(self, record_key: str, target: Target | None) -> Key | None:
        """A record of the topic; None takes the key away. The key that changed, if one did."""
        if target is None:
            year, _, rest = record_key.partition("/")
            district, _, sector = rest.partition("/")
            key: Key | None = (int(year), district, sector or None) if year.isdigit() else None
            if key is None or key not in self._versions:
                return None
            del self._versions[key]
            self.torn.discard(key)
            return key
        held = (target.year, target.district, target.sector or None)
        versions = merged(self._versions.get(held, ()), target.versions)
        self._versions[held] = versions
        (self.torn.discard if versions == target.versions else self.torn.add)(held)
        return held

    def of(self, key: Key, as_of: date | None = None) -> tuple[Version, ...]:
        """Versions set by the end of a Shanghai day (None: all), oldest first."""
        versions = self._versions.get(key, ())
        if as_of is None:
            return versions
        end = end_of_day_ms(as_of)
        return tuple(v for v in versions if (v.at or 0) < end)

    def ordered(self) -> list[Key]:
        """By year, the city after the districts, all services before the sectors."""
        return sorted(self._versions, key=lambda k: (k[0], k[1], k[2] or ""))

    def years(self) -> list[int]:
        return sorted({key[0] for key in self._versions})

    def amounts(self, year: int, as_of: date | None = None) -> dict[tuple[str, str | None], int]:
        """(district, sector) -> target in fen, of one year."""
        found = {}
        for key in self._versions:
            if key[0] == year:
                version = holding(self.of(key, as_of), "amount")
                if version is not None and version.target_fen is not None:
                    found[key[1], key[2]] = version.target_fen
        return found

    def share(self, year: int, as_of: date | None = None) -> float | None:
        """The city's share of services in all retail that this year asks for."""
        version = holding(self.of((year, CITY, None), as_of), "share")
        # The plan is older than any record of it.
        return plan_shares().get(year) if version is None else float(version.value)

    def clear(self) -> None:
        self._versions.clear()
        self.torn.clear()


def end_of_day_ms(day: date) -> int:
    """First instant after a Shanghai day, epoch ms."""
    begin = datetime(day.year, day.month, day.day, tzinfo=_SHANGHAI)
    return int((begin + timedelta(days=1)).timestamp() * 1000)


def as_row(key: Key, versions: Sequence[Version], *, history: bool = True) -> dict[str, Any]:
    """A target as the API shows it: the version that holds, and its history."""
    year, district, sector = key
    row = {"year": year, "district": district, "sector": sector, **_shown(versions[-1])}
    if history:
        row["history"] = [_shown(version) for version in versions]
    return row


def _shown(version: Version) -> dict[str, Any]:
    return {
        "form": version.form,
        "value": version.value,
        "target_fen": version.target_fen,
        "base_fen": version.base_fen,
        "base_approximate": version.base_approximate,
        "basis": version.basis,
        "note": version.note,
        "version": version.version,
        "by": version.by,
        "at": None
        if version.at is None
        else datetime.fromtimestamp(version.at / 1000, UTC).isoformat(timespec="milliseconds"),
    }


# -- the base of a growth ---------------------------------------------------------------------------


def base_districts(district: str, year: int) -> tuple[tuple[str, ...] | None, bool]:
    """Last year's codes that make up a district of `year` (None: all), and whether that is approximate.

    Across the division change towns moved to and from 北碚 as well: what is known is which districts
    ended, not which part of them went where (docs/methods.md, Districts).
    """
    if district == CITY:
        return None, False
    if year != CHANGE_DATE.year:
        return (district,), False
    return (district, *predecessors(district)), district in changed_districts()


def predecessors(district: str) -> tuple[str, ...]:
    return tuple(old for old, new in ENDED.items() if new == district)


def changed_districts() -> tuple[str, ...]:
    """Districts of the new division whose history is that of another area."""
    return ("500157", "500109")


# -- the plan -----------------------------------------------------------------------------------------


@cache
def plan_shares() -> dict[int, float]:
    """The city's share a year: the plan's points, and the logit-linear path between and before them.

    The plan names no base year and no base is published, so the line is drawn back to the plan's own
    year as it runs between its two points.
    """
    points, issued = _plan()
    (first, low), *_, (last, high) = sorted(points.items())
    found = {}
    for year in range(issued, last + 1):
        if year in points:
            found[year] = points[year]
            continue
        slope = (_logit(high) - _logit(low)) / (last - first)
        found[year] = round(1.0 / (1.0 + math.exp(-(_logit(low) + slope * (year - first)))), 12)
    return found


def plan_targets(at_ms: int) -> list[Target]:
    """The records that are there from the start."""
    points, _ = _plan()
    return [
        of_versions(
            year,
            CITY,
            None,
            (
                Version(
                    1,
                    "share",
                    share,
                    basis="plan" if year in points else "path",
                    by=SYSTEM,
                    at=at_ms,
                ),
            ),
        )
        for year, share in plan_shares().items()
    ]


@cache
def _plan() -> tuple[dict[int, float], int]:
    """Year -> share, and the year in which the plan was issued."""
    text = (files("yumai") / "reference" / "plan.yaml").read_text(encoding="utf-8")
    points: dict[int, float] = {}
    issued, value, inside = 0, 0.0, False
    for line in text.splitlines():
        if not line.startswith((" ", "-")):
            inside = line.startswith("targets:")
        name, _, rest = line.strip().partition(": ")
        if name == "date" and not issued:
            issued = int(rest.strip("'\"")[:4])
        elif inside and name == "value":
            value = float(rest)
        elif inside and name == "by":
            points[int(rest)] = value
    return points, issued


def _logit(share: float) -> float:
    return math.log(share / (1.0 - share))


def missing(held: Mapping[str, Any] | Iterable[str], seeds: Iterable[Target]) -> list[Target]:
    """Seeds whose keys the topic does not hold yet."""
    known = set(held)
    return [seed for seed in seeds if key_of(seed.year, seed.district, seed.sector) not in known]
