"""What becomes of a request to set targets: new versions, or all that is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from contracts.targets.codec import CITY, Version
from yumai.districts import CHANGE_DATE, changed_districts, predecessors
from yumai.targets.asked import Asked, Wrong
from yumai.targets.held import Held
from yumai.targets.versions import Key, holding, same_content, stored, target_fen

Booked = Mapping[tuple[str, str], int]
"""(district, sector) -> net fen of one year."""


class Base(NamedTuple):
    """What a growth is applied to. `approximate`: it came through the crosswalk of the division change."""

    fen: int
    approximate: bool = False


class Setter(NamedTuple):
    """Who sets targets, and when (epoch ms)."""

    by: str
    at_ms: int


@dataclass(frozen=True)
class Decision:
    """All or nothing: with anything `wrong` nothing is set. `versions`: of each key that changes, the whole history."""

    versions: dict[Key, tuple[Version, ...]] = field(default_factory=dict)
    wrong: list[Wrong] = field(default_factory=list)


def decide(
    asked: Sequence[Asked], held: Held, booked: Mapping[int, Booked], setter: Setter
) -> Decision:
    """`held`: all that was set before. `booked`: of each year before one in which a growth needs its base."""
    decision = Decision()
    for index, row in enumerate(asked):
        base = Base(row.base_fen) if row.base_fen is not None else None
        if row.needs_base:
            base = base_of(row, booked.get(row.year - 1, {}))
            if base is None:
                said = f"nothing is booked for {row.year - 1}"
                decision.wrong.append(Wrong(index, "base_fen", "missing_field", said))
                continue
        known = held.of(row.key)
        version = next_version(row, known, base, setter)
        if version is None:
            continue
        if version.target_fen is None and row.form != "share":
            decision.wrong.append(Wrong(index, "value", "out_of_range", "no target comes of it"))
            continue
        decision.versions[row.key] = (*known, version)
    return decision


def years_needed(asked: Sequence[Asked]) -> list[int]:
    """Years of which `decide` must know what was booked."""
    return sorted({row.year - 1 for row in asked if row.needs_base})


def next_version(
    asked: Asked, versions: Sequence[Version], base: Base | None, setter: Setter
) -> Version | None:
    """The version that a row makes; None where it already holds."""
    if asked.form != "growth":
        base = None
    fen = base.fen if base is not None else None
    held = holding(versions, asked.form)
    fresh = Version(
        versions[-1].version + 1 if versions else 1,
        asked.form,
        stored(asked.value),
        target_fen(asked.form, asked.value, fen),
        fen,
        base is not None and base.approximate,
        asked.basis,
        asked.note,
        setter.by,
        # A clock set back must not put a version before the one it follows.
        max(setter.at_ms, (versions[-1].at or 0) if versions else 0),
    )
    if held is not None and same_content(held, fresh):
        return None
    return fresh


def base_of(asked: Asked, booked: Booked) -> Base | None:
    """The base of a growth: the sum booked the year before; None: nothing was booked."""
    codes, approximate = base_districts(asked.district, asked.year)
    fen = sum(
        fen
        for (code, sector), fen in booked.items()
        if (codes is None or code in codes) and asked.sector in (None, sector)
    )
    return Base(fen, approximate) if fen > 0 else None


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
