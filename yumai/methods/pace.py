"""Pace: what is attained against what the target asks for by now (METHODS §5.2). Pure.

expected = T · p(t),   pace = C / expected
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from yumai.methods.profile import share_at

WARM_UP_ENDS = (3, 1)
"""(month, day): nothing is judged before January and February are in."""
YELLOW_BELOW = 0.97
RED_BELOW = 0.94


@dataclass(frozen=True)
class Progress:
    """All in fen; `pace` None where nothing is expected yet."""

    target_fen: int
    attained_fen: int
    expected_fen: int
    pace: float | None


def progress(target_fen: int, attained_fen: int, cumulative: np.ndarray, at: datetime) -> Progress:
    """As at `at` (local time of the days of `cumulative`), interpolated within its day."""
    share = share_at(cumulative, at.timetuple().tm_yday - 1, _gone(at))
    # The product of floats must not cost the target its last fen on 31 December.
    expected = target_fen if share >= 1.0 else math.floor(target_fen * share + 0.5)
    pace = attained_fen / expected if expected > 0 else None
    return Progress(target_fen, attained_fen, expected, pace)


def _gone(at: datetime) -> float:
    return (at.hour * 3_600 + at.minute * 60 + at.second + at.microsecond / 1e6) / 86_400


def is_warming_up(day: date) -> bool:
    return (day.month, day.day) < WARM_UP_ENDS


def level(pace: float | None) -> str | None:
    """green | yellow | red of one moment, before hysteresis."""
    if pace is None:
        return None
    return "red" if pace < RED_BELOW else "yellow" if pace < YELLOW_BELOW else "green"
