"""Which platforms were silent where, day by day: what is missing must not be taken for lagging. Pure.

A pair (district × platform) is silent when its run of g days without an entry is longer than it ever
was lately and hardly chance: e^(−rate g) or (share of quiet days)^g is below `CHANCE`. After
`GONE_DAYS` of silence, while others sell on, it has left: that is no gap in a feed any more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from yumai.evaluation.columns import Bools, Counts, Ints

CHANCE = 1e-4
"""How seldom a gap of that length may come by itself."""
MISSED_LEAST = -math.log(CHANCE)
"""Entries that must be missing."""
GAP_TIMES = 1.5
RATE_FADES = 1.0 / 28.0
GAP_FADES = 0.99
GAP_MOST = 35.0
"""A feed may send once a month; a longer gap is no rhythm but an outage."""
SEEN_DAYS = 14
GONE_DAYS = 42
OUTAGE_DAYS = 2


@dataclass(frozen=True)
class Silence:
    """`silent[pairs, days]`: inside a silence, from the day that proves it.

    `gone`: silent for so long that it has left; `rate`: usual fen a day, as known on that day;
    `missed`: days that are known to be missing since the day before (on the proving day all so far).
    A day's values depend on no later day.
    """

    silent: Bools
    gone: Bools
    rate: np.ndarray
    missed: np.ndarray


def silences(counted: Counts | Ints, fen: Ints, alive: Bools | None = None) -> Silence:
    """Of `counted[pairs, days]` (entries) and `fen`, from the first day to the last that is over.

    `alive[days]`: when a silence may begin; without it, when anybody sent anything.
    """
    pairs, days = counted.shape
    silent = np.zeros((pairs, days), dtype=bool)
    gone = silent.copy()
    rate_fen, missed = np.zeros((pairs, days)), np.zeros((pairs, days))
    told = np.zeros(pairs)
    rate, worth, quiet = np.zeros(pairs), np.zeros(pairs), np.ones(pairs)
    seen, gap, longest = np.zeros(pairs), np.zeros(pairs), np.zeros(pairs)
    if alive is None:
        alive = counted.sum(axis=0) > 0
    for day in range(days):
        here = counted[:, day] > 0
        back = here & (gap > 0) & (seen > 0)
        usual = back & (gap <= GAP_MOST)
        longest = np.where(usual, np.maximum(longest, gap), longest * GAP_FADES)
        gap = np.where(here, 0.0, gap + (1.0 if alive[day] or gap.any() else 0.0))
        # A day in a silence says nothing about what is usual, unless it is one of the usual gaps.
        counts = here | (gap <= GAP_TIMES * longest)
        fade = np.maximum(RATE_FADES, 1.0 / (seen + 1.0))
        rate = np.where(counts & (seen + here > 0), rate + fade * (counted[:, day] - rate), rate)
        worth = np.where(counts & (seen + here > 0), worth + fade * (fen[:, day] - worth), worth)
        quiet = np.where(counts & (seen + here > 0), quiet + fade * (~here - quiet), quiet)
        seen += (seen > 0) | here
        rare = np.clip(quiet, 0.5 / (np.minimum(seen, 56.0) + 1.0), 1.0)
        missing = np.maximum(rate, -np.log(rare)) * gap
        mute = (
            (gap > GAP_TIMES * longest)
            & (gap > 0)
            & (missing >= MISSED_LEAST)
            & (seen >= SEEN_DAYS)
        )
        left = mute & (gap > GONE_DAYS) & alive[max(day - 2, 0) : day + 1].all()
        silent[:, day] = mute & ~left
        gone[:, day] = left
        rate_fen[:, day] = worth
        told = np.where(here, 0.0, told)
        missed[:, day] = np.where(silent[:, day], gap - told, 0.0)
        told = np.where(silent[:, day], gap, told)
    return Silence(silent, gone, rate_fen, missed)


def outages(counted: Counts | Ints) -> Bools:
    """`[days]`: on which nobody at all has been heard of for days, as while history is being poured in."""
    total = counted.sum(axis=0, keepdims=True)
    found = silences(total, total.astype(np.int64), np.ones(total.shape[1], dtype=bool))
    quiet: Bools = found.silent[0] | found.gone[0]
    quiet[OUTAGE_DAYS - 1 :] &= np.lib.stride_tricks.sliding_window_view(
        total[0] == 0, OUTAGE_DAYS
    ).all(axis=1)
    quiet[: OUTAGE_DAYS - 1] = False
    return quiet
