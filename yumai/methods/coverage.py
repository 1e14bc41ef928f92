"""What trouble of feeds does to a day's figures: lagging is not missing. Pure.

Pairs are `[place × platforms, days]`, the platform running fastest: pair = place × platforms + platform.
Where feeds of `STALE_SHARE` of a place are in trouble, its figures say nothing; what is known to be
missing is counted as usual until it comes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from yumai.methods.breaks import BREAK_DAYS, breaks
from yumai.methods.seasons import Bools, Floats, Ints
from yumai.methods.silence import Silence, outages

STALE_SHARE = 0.05
"""A gap of so large a part of a place's usual sales is as large as the shortfalls that levels are for."""


def by_due(found: Silence, heard: Bools, lags: Ints, days: int) -> Silence:
    """What usually comes days later is not missing yet: those days are as the last one that is due.

    `heard[pairs, days]`; `lags[platforms]` in days; a lag of `days` (the judged year's so far) says nothing.
    """
    silent, gone, missed = found.silent.copy(), found.gone.copy(), found.missed.copy()
    end = heard.shape[1]
    for platform in np.flatnonzero(lags).tolist():
        lag = int(lags[platform])
        if lag >= min(end, days):
            continue
        mine = slice(platform, None, len(lags))
        late, due = slice(end - lag, None), slice(end - lag - 1, end - lag)
        absent = ~heard[mine, late]
        silent[mine, late] = silent[mine, due] & absent
        gone[mine, late] = gone[mine, due] & absent
        # On its way: counted as usual until it is there.
        missed[mine, late] = absent & (found.rate[mine, due] > 0) & ~gone[mine, due]
    return Silence(silent, gone, found.rate, missed)


def with_today(found: Silence, heard: Bools, fraction: float) -> Silence:
    """One day more, of which `fraction` has gone: it is as yesterday, but for who has been heard of since."""
    none = np.zeros((len(heard), 1))
    known = found.silent.shape[1] > 0
    silent = (found.silent[:, -1:] if known else none > 0) & ~heard
    gone = (found.gone[:, -1:] if known else none > 0) & ~heard
    return Silence(
        np.concatenate([found.silent, silent], axis=1),
        np.concatenate([found.gone, gone], axis=1),
        np.concatenate([found.rate, found.rate[:, -1:] if known else none], axis=1),
        np.concatenate([found.missed, np.where(silent, fraction, 0.0)], axis=1),
    )


def broken_days(counted: Ints, lags: Ints, days: int) -> Bools:
    """Which of the first `days` are broken, `[platforms, days]`, from `counted[platforms, days that are over]`.

    Days that are not due yet, and today, are as the last one that is.
    """
    over = counted.shape[1]
    out = np.zeros((len(counted), days), dtype=bool)
    out[:, :over] = breaks(counted)
    for platform, lag in enumerate(lags.tolist()):
        if 0 < over - lag < days:
            out[platform, over - lag :] = out[platform, over - lag - 1]
    return out


def with_thin_days(found: Silence, fen: Ints, broken: Bools) -> Silence:
    """What a broken feed brings too little counts as missing, from the first day of the break on."""
    rate, missed = found.rate.copy(), found.missed.copy()
    over = fen.shape[1]
    for platform in np.flatnonzero(broken.any(axis=1)).tolist():
        mine = slice(platform, None, len(broken))
        usual = np.zeros(len(rate[mine]))
        for day in np.flatnonzero(broken[platform, :over]).tolist():
            begins = day == 0 or not broken[platform, day - 1]
            first = max(day - BREAK_DAYS + 1, 0) if begins else day
            if begins:
                usual = rate[mine, max(first - 1, 0)].copy()
            came = fen[mine, first : day + 1]
            lost = np.maximum(usual[:, None] - came, 0.0).sum(axis=1)
            known = (usual > 0) & ~found.silent[mine, day] & ~found.gone[mine, day]
            rate[mine, day] = np.where(known, usual, rate[mine, day])
            part = lost / np.where(usual > 0, usual, 1.0)
            missed[mine, day] = np.where(known, part, missed[mine, day])
    return replace(found, rate=rate, missed=missed)


def nobody_heard(counted: Ints, days: int) -> Bools:
    """`[days]`: an outage of all feeds, from `counted[pairs, days that are over]`; today goes on as yesterday."""
    over = counted.shape[1]
    out = np.zeros(days, dtype=bool)
    out[:over] = outages(counted)
    if 0 < over < days:
        out[over:] = out[over - 1]
    return out


def is_stale(doubted: Bools, rate: Floats) -> Bools:
    """`[places, platforms, days]` → `[places, days]`; the last place is the whole of all.

    `doubted`: feeds in trouble; `rate`: their usual sales.
    """
    lost, whole = np.where(doubted, rate, 0.0).sum(axis=1), rate.sum(axis=1)
    lost[-1], whole[-1] = lost.sum(axis=0), whole.sum(axis=0)
    return np.where(whole > 0, lost / np.where(whole > 0, whole, 1.0), 0.0) >= STALE_SHARE


def gone_everywhere(gone: Bools, rate: Floats) -> Bools:
    """`[places, platforms, days]` → `[platforms, days]`: it has left every place in which it was."""
    there = rate > 0
    return np.all(gone | ~there, axis=0) & np.any(there, axis=0)
