"""How a day differs from an average one: month, weekday, Spring Festival, holidays; and the hours.

The shapes are assumptions; what matters is that they move with the lunar calendar, as real ones do.
"""

from __future__ import annotations

import math
from datetime import date
from functools import cache

import numpy as np
import numpy.typing as npt
from lunardate import LunarDate

from simulation.city import SECTORS, day_number, day_of

Floats = npt.NDArray[np.float64]

_FLAT = (1.0,) * 12
_MONTHS: dict[str, tuple[float, ...]] = {
    "S01": (1.02, 0.98, 0.97, 0.97, 1.02, 0.98, 1.01, 1.02, 0.99, 1.04, 0.98, 1.02),
    "S04": (0.90, 0.95, 0.92, 1.00, 1.08, 0.98, 1.18, 1.20, 0.94, 1.12, 0.88, 0.85),
    "S05": (0.90, 0.88, 1.00, 1.03, 1.05, 1.04, 1.06, 1.06, 1.02, 1.03, 0.98, 0.95),
    "S07": (1.00, 0.98, 0.99, 0.99, 1.00, 1.03, 1.00, 1.00, 1.02, 1.00, 1.00, 0.99),
    "S09": (0.85, 1.05, 1.10, 0.95, 0.92, 0.98, 1.08, 1.15, 1.30, 0.92, 0.88, 0.82),
    "S10": (0.95, 0.85, 1.08, 1.04, 1.02, 1.04, 1.05, 1.02, 1.02, 0.99, 0.97, 0.97),
    "S11": (1.03, 1.02, 0.96, 0.98, 1.02, 0.96, 1.04, 1.05, 0.97, 1.05, 0.96, 0.96),
    "G00": (1.05, 0.95, 0.96, 0.95, 0.99, 1.04, 0.95, 0.97, 0.99, 1.01, 1.08, 1.06),
}
# Monday … Sunday
_WEEKDAYS: dict[str, tuple[float, ...]] = {
    "S01": (0.90, 0.90, 0.92, 0.95, 1.08, 1.18, 1.07),
    "S04": (0.75, 0.74, 0.78, 0.85, 1.10, 1.46, 1.32),
    "S05": (0.88, 0.88, 0.92, 0.92, 1.02, 1.22, 1.16),
    "S06": (1.15, 1.08, 1.06, 1.04, 1.02, 0.85, 0.80),
    "S08": (1.15, 1.12, 1.10, 1.10, 1.08, 0.75, 0.70),
    "S11": (1.00, 0.96, 0.96, 0.98, 1.10, 1.02, 0.98),
    "G00": (0.94, 0.93, 0.94, 0.96, 1.02, 1.12, 1.09),
}
_WEEKDAYS_OTHER = (1.0, 0.98, 0.98, 0.99, 1.02, 1.03, 1.0)
# around Spring Festival: before (−14…−1), the week (0…6), after (7…14)
_FESTIVAL: dict[str, tuple[float, float, float]] = {
    "S01": (1.05, 1.18, 1.03),
    "S02": (1.20, 0.55, 0.90),
    "S03": (1.00, 0.85, 1.00),
    "S04": (0.92, 1.70, 1.10),
    "S05": (0.90, 0.75, 0.95),
    "S06": (0.98, 0.70, 1.02),
    "S08": (1.00, 0.60, 1.00),
    "S09": (0.75, 0.40, 1.15),
    "S10": (0.85, 0.50, 0.95),
    "S11": (1.22, 1.05, 1.20),
    "G00": (1.22, 0.78, 0.94),
}
_HOLIDAYS = {"S01": 1.22, "S04": 1.75, "S11": 1.25, "G00": 1.06, "S06": 0.8, "S08": 0.7}

# weights of the 24 hours
_HOURS: dict[str, tuple[float, ...]] = {
    "meals": (2, 1, 0.5, 0.3, 0.3, 1, 3, 5, 4, 2, 4, 10, 13, 6, 3, 3, 4, 9, 13, 11, 8, 6, 5, 3),
    "office": (0.2, 0.1, 0.1, 0.1, 0.1, 0.3, 1, 3, 8, 11, 11, 8, 5, 7, 10, 10, 9, 6, 4, 3, 2, 1, 0.6, 0.3),
    "evening": (1, 0.4, 0.2, 0.2, 0.2, 0.3, 0.6, 1, 2, 4, 5, 5, 5, 6, 7, 7, 7, 7, 9, 12, 12, 8, 4, 2),
    "shops": (0.6, 0.3, 0.2, 0.2, 0.2, 0.5, 2, 4, 5, 7, 8, 8, 6, 5, 6, 7, 7, 8, 9, 9, 8, 6, 3, 1.2),
    "travel": (1, 0.6, 0.5, 0.5, 1, 2, 6, 10, 9, 5, 4, 4, 4, 4, 4, 5, 7, 10, 8, 5, 4, 4, 3, 2),
}  # fmt: skip
_PROFILES = tuple(_HOURS)
_PROFILE_OF = {
    "S01": "meals", "S02": "office", "S03": "office", "S04": "evening", "S05": "evening", "S06": "office",
    "S08": "office", "S09": "office", "S10": "office", "S11": "travel", "S12": "evening", "X00": "office",
}  # fmt: skip
SECTOR_PROFILE = np.array([_PROFILES.index(_PROFILE_OF.get(code, "shops")) for code in SECTORS])

TIME_BITS = 16


@cache
def spring_festival(year: int) -> date:
    return LunarDate(year, 1, 1).to_solar_date()


def _festival(days: int) -> Floats | None:
    """Factor a sector, `days` after New Year's Day; None outside the window."""
    if not -14 <= days <= 14:
        return None
    column = 0 if days < 0 else 1 if days < 7 else 2
    return np.array([_FESTIVAL.get(code, (1.0, 0.9, 1.0))[column] for code in SECTORS])


@cache
def season(day: int) -> Floats:
    """Factor a sector of that day (days since 1970), near 1 over a year."""
    when = day_of(day)
    # between the middles of two months, so that no month begins with a step
    place = when.month - 1 + (when.day - 15.5) / 30.5
    low, share = math.floor(place), place - math.floor(place)
    factors = np.array(
        [
            (m := _MONTHS.get(code, _FLAT))[low % 12] * (1 - share) + m[(low + 1) % 12] * share
            for code in SECTORS
        ]
    )
    factors *= [_WEEKDAYS.get(code, _WEEKDAYS_OTHER)[when.weekday()] for code in SECTORS]
    festival = _festival(day - day_number(spring_festival(when.year)))
    if festival is not None:
        factors *= festival
    elif (when.month, when.day) in (
        (1, 1),
        *((5, d) for d in range(1, 6)),
        *((10, d) for d in range(1, 8)),
    ):
        factors *= [_HOLIDAYS.get(code, 1.0) for code in SECTORS]
    elif (when.month, when.day) in ((6, 18), (11, 11)):
        factors[SECTORS.index("G00")] *= 1.6
    return factors


@cache
def hours() -> npt.NDArray[np.int32]:
    """A row a profile: the milliseconds since midnight at each of 2^16 quantiles of the day."""
    points = (np.arange(1 << TIME_BITS) + 0.0) / (1 << TIME_BITS)
    table = []
    for weights in _HOURS.values():
        cumulative = np.concatenate([[0.0], np.cumsum(weights) / np.sum(weights)])
        table.append(np.interp(points, cumulative, np.arange(25) * 3_600_000.0))
    return np.array(table, dtype=np.int32)


def hour_share(hour: int) -> float:
    """How busy the city is in that hour of the day, 1 on average over the day."""
    weights = np.array(_HOURS["shops"]) / np.sum(_HOURS["shops"])
    return float(weights[hour] * 24)
