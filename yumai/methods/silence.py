"""Where a platform has gone quiet against its own rhythm: missing, not lagging (METHODS §5.6). Pure.

A day is quiet when nothing of a platform is booked for a place. The longest quiet run of the eight weeks
before is its rhythm; a longer one is a hole. A place is affected while a hole lies in the last five weeks:
a backfill closes it, otherwise time does.
"""

from __future__ import annotations

import numpy as np

from yumai.methods.seasons import Bools, Floats, Ints

RHYTHM_DAYS = 56
HOLE_DAYS = 35
ACTIVE_LEAST = 0.25
"""A platform with sales on fewer of the rhythm's days has none that silence could break."""


def quiet_runs(sales: Floats) -> Ints:
    """Of `[…, days]`: how many days up to and with this one nothing was booked."""
    quiet = np.nan_to_num(sales) == 0
    number = np.arange(1, sales.shape[-1] + 1)
    last_busy = np.maximum.accumulate(np.where(quiet, 0, number), axis=-1)
    return number - last_busy


def affected(sales: Floats) -> Bools:
    """Of `[…, platforms, days]`, as known now and ending on the day asked for: `[…]`, whether it has a hole.

    Give at least `RHYTHM_DAYS + HOLE_DAYS` days; a platform that was not there in the first of them is
    one that joined, not one that fell silent.
    """
    before = sales[..., :-HOLE_DAYS][..., -RHYTHM_DAYS:]
    usual = quiet_runs(before).max(axis=-1, initial=0)
    active = (np.nan_to_num(before) != 0).mean(axis=-1) >= ACTIVE_LEAST
    lately = sales[..., -HOLE_DAYS:]
    longest = quiet_runs(lately).max(axis=-1, initial=0)
    return np.any(active & (longest > usual), axis=-1)
