"""Progress rows: what is said of one cell on one day, to the gateway's readers and in alerts. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from contracts.targets.codec import CITY
from yumai.evaluation.judge import Judged
from yumai.methods import guards, levels


@dataclass(frozen=True, slots=True)
class ProgressRow:
    """One row of `GET /v1/progress`: fields in the order of its JSON. Money is fen; None: not known, or not shown.

    `attained_fen`: all that is booked; `comparable_fen`: of the platforms that are compared with last
    year; pace = comparable/expected; `raw_level`: the day's own, `level`: after hysteresis and guards.
    """

    district: str
    sector: str | None
    year: int
    at: str
    target_fen: int | None
    attained_fen: int | None
    comparable_fen: int | None
    expected_fen: int | None
    pace: float | None
    nowcast_fen: int | None
    nowcast_low_fen: int | None
    nowcast_high_fen: int | None
    p_meet: float | None
    required_growth: float | None
    raw_level: str | None
    level: str | None
    guards: list[str]
    approximate: bool


@dataclass(frozen=True, slots=True)
class CityRow(ProgressRow):
    """The city's row of all services: its share of services in all retail, and where the plan wants it."""

    share: float | None
    share_path: float | None
    share_gap: float | None


FROM_ENTRIES = (
    "attained_fen",
    "comparable_fen",
    "pace",
    "nowcast_fen",
    "nowcast_low_fen",
    "nowcast_high_fen",
    "p_meet",
    "required_growth",
    "raw_level",
    "level",
)
"""What of a row follows from this year's entries."""


def progress_rows(
    judged: Judged,
    districts: Sequence[str] | None,
    sectors: Sequence[str | None] | None,
    *,
    at: str,
    day: int = -1,
) -> list[ProgressRow]:
    """Progress rows of a day (default: the moment); None means all districts and the city, or all sectors."""
    return [
        _row(judged, number, district, sector, day, at)
        for number, (district, sector) in enumerate(judged.frame.keys())
        if (districts is None or district in districts) and (sectors is None or sector in sectors)
    ]


def _row(
    judged: Judged, number: int, district: str, sector: str | None, day: int, at: str
) -> ProgressRow:
    target = judged.targets.get((district, sector))
    share = float(judged.expected_share[day, number])
    comparable = int(judged.comparable[day, number])
    expected = None
    if target is not None:
        # The product of floats must not cost the target its last fen on 31 December.
        expected = target if share >= 1.0 else math.floor(target * share + 0.5)
    told = guards.guards(
        district,
        judged.days[day],
        has_target=target is not None,
        has_silent_feed=bool(judged.stale[day, number]),
    )
    # Stale figures keep the level that they had; any other guard takes it away.
    level = judged.level[day, number] if set(told) <= {guards.STALE} else levels.NONE
    row = ProgressRow(
        district=district,
        sector=sector,
        year=judged.frame.year,
        at=at,
        target_fen=target,
        attained_fen=int(judged.booked[day, number]),
        comparable_fen=comparable,
        expected_fen=expected,
        pace=comparable / expected if expected else None,
        nowcast_fen=_fen(judged.nowcast[day, number]),
        nowcast_low_fen=_fen(judged.low[day, number]),
        nowcast_high_fen=_fen(judged.high[day, number]),
        p_meet=None if target is None else _number(judged.p_meet[day, number]),
        required_growth=None if target is None else _number(judged.required_growth[day, number]),
        raw_level=levels.name(int(judged.raw[day, number])),
        level=levels.name(int(level)),
        guards=told,
        approximate=district in judged.approximate,
    )
    return _of_city(judged, row, day) if district == CITY and sector is None else row


def _of_city(judged: Judged, row: ProgressRow, day: int) -> CityRow:
    share, path = judged.shares[day], judged.share_path
    gap = None if share is None or path is None else share - path
    return CityRow(**asdict(row), share=share, share_path=path, share_gap=gap)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _fen(value: float) -> int | None:
    return math.floor(float(value) + 0.5) if math.isfinite(value) else None
