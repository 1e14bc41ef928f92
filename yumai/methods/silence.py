"""Which platforms were silent where, day by day: what is missing must not be taken for lagging. Pure.

A pair (district × platform) is silent when its run of g days without an entry is longer than it ever
was lately and hardly chance: e^(−rate g) or (share of quiet days)^g is below `CHANCE`. After
`GONE_DAYS` of silence, while others sell on, it has left: that is no gap in a feed any more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from yumai.methods.seasons import Bools, Counts, Floats, Ints

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
    rate: Floats
    missed: Floats


def silences(counted: Counts | Ints, fen: Ints, alive: Bools | None = None) -> Silence:
    """Silences in `counted[pairs, days]` (entries) and `fen`, from the first day to the last that is over.

    `alive[days]`: when a silence may begin; without it, when anybody sent anything.
    """
    if alive is None:
        alive = counted.sum(axis=0) > 0
    known = _rhythm(counted, fen, alive)
    rare = np.clip(known.quiet, 0.5 / (np.minimum(known.seen, 56.0) + 1.0), 1.0)
    missing = np.maximum(known.rate, -np.log(rare)) * known.gap
    mute = (
        (known.gap > GAP_TIMES * known.longest)
        & (known.gap > 0)
        & (missing >= MISSED_LEAST)
        & (known.seen >= SEEN_DAYS)
    )
    gone = mute & (known.gap > GONE_DAYS) & _alive_lately(alive)
    silent: Bools = mute & ~gone
    return Silence(silent, gone, known.worth, _newly_missed(counted > 0, known.gap, silent))


@dataclass(frozen=True)
class _Rhythm:
    """What is usual of each pair, as known at the end of each day: every array `[pairs, days]`.

    `rate` entries a day, `worth` fen a day, `quiet` share of days without an entry, `gap` days since
    the last entry, `longest` the usual gap, `seen` days since the first entry.
    """

    rate: Floats
    worth: Floats
    quiet: Floats
    gap: Floats
    longest: Floats
    seen: Floats


def _rhythm(counted: Counts | Ints, fen: Ints, alive: Bools) -> _Rhythm:
    pairs, days = counted.shape
    usual = np.zeros((3, pairs))
    usual[2] = 1.0
    seen, gap, longest = np.zeros(pairs), np.zeros(pairs), np.zeros(pairs)
    out = np.zeros((6, days, pairs))
    busy = np.ascontiguousarray((counted > 0).T)
    today = np.stack([counted.T, fen.T, ~busy], axis=1).astype(np.float64)
    for day in range(days):
        here = busy[day]
        back = here & (gap > 0) & (gap <= GAP_MOST) & (seen > 0)
        longest = np.where(back, np.maximum(longest, gap), longest * GAP_FADES)
        gap = np.where(here, 0.0, gap + (1.0 if alive[day] or gap.any() else 0.0))
        # A day in a silence says nothing about what is usual, unless it is one of the usual gaps.
        learns = (here | (gap <= GAP_TIMES * longest)) & (seen + here > 0)
        fade = np.maximum(RATE_FADES, 1.0 / (seen + 1.0))
        usual = np.where(learns, usual + fade * (today[day] - usual), usual)
        seen = seen + ((seen > 0) | here)
        out[:3, day], out[3, day], out[4, day], out[5, day] = usual, gap, longest, seen
    return _Rhythm(*out.transpose(0, 2, 1))


def _alive_lately(alive: Bools) -> Bools:
    """`[days]`: somebody sent on this day and on the two before it."""
    out = alive.copy()
    for back in (1, 2):
        out[back:] &= alive[:-back]
    return out


def _newly_missed(here: Bools, gap: Floats, silent: Bools) -> Floats:
    """Days of a gap that no earlier day has told as missing; 0 outside a silence."""
    days = gap.shape[1]
    gaps = np.cumsum(here, axis=1) * (days + 1.0)  # each gap above all of the gap before it
    told = np.maximum.accumulate(gaps + np.where(silent, gap, 0.0), axis=1)
    before = np.zeros(gap.shape)
    before[:, 1:] = np.maximum(told[:, :-1] - gaps[:, 1:], 0.0)
    return np.where(silent, gap - before, 0.0)


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
