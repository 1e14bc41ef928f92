"""Progress rows for tests: what is not said is as of a district about which nothing is known."""

from typing import Any

from yumai.evaluation.rows import ProgressRow

UNKNOWN: dict[str, Any] = {
    "district": "500101",
    "sector": None,
    "year": 2026,
    "at": "2026-07-01",
    "target_fen": None,
    "attained_fen": 0,
    "comparable_fen": 0,
    "expected_fen": None,
    "pace": None,
    "nowcast_fen": None,
    "nowcast_low_fen": None,
    "nowcast_high_fen": None,
    "p_meet": None,
    "required_growth": None,
    "raw_level": None,
    "level": None,
    "guards": [],
    "approximate": False,
}


def row(**said: Any) -> ProgressRow:
    return ProgressRow(**(UNKNOWN | said))
