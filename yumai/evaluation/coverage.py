"""Which cells a day's figures say nothing about, since feeds are silent, broken, late or refused. Pure.

Lagging is not missing: where feeds of `STALE_SHARE` of a district are in trouble, or nobody at all has
been heard of for days, the district is `stale` and its level frozen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from yumai.evaluation import cells as cells_
from yumai.evaluation.breaks import BREAK_DAYS, breaks
from yumai.evaluation.cells import WIDTH, Frame, Placed
from yumai.evaluation.columns import Bools, Ints
from yumai.evaluation.silence import Silence, outages, silences
from yumai.methods.festival import days_of

STALE_SHARE = 0.05
"""Where feeds of at least so large a part of a district are in trouble, its figures say nothing (METHODS §5.6)."""


@dataclass(frozen=True)
class Doubt:
    """What the days alone don't tell of a feed: it is delivered `lag` days later, and, where
    `since` is set, in `districts` not to be relied on from that day on (late, or refused).
    """

    lag: int = 0
    since: date | None = None
    districts: frozenset[str] = frozenset()


Doubts = Mapping[str, Doubt]
"""By platform."""


@dataclass(frozen=True)
class Quiet:
    """Silences of the judged year's days: of pairs, and what they do to cells."""

    pairs: Silence
    offset: int
    """Day of the silences' arrays on which the judged year begins."""
    stale: Bools
    """`[cells, days]`."""
    gone_city: Bools


def quiet(
    frame: Frame,
    placed: Mapping[int, Placed],
    platforms: Sequence[str],
    day: date,
    fraction: float,
    doubts: Doubts,
) -> Quiet:
    """Up to the moment's day; of a day that is not over (`fraction` below 1) nothing is concluded."""
    last = cells_.day_number(day)
    counted, fen = _by_pair(frame, placed, last)
    size, offset = counted.shape[0], counted.shape[1] - (last + 1)
    over = counted.shape[1] - (1 if fraction < 1.0 else 0)
    found = _due(
        silences(counted[:, :over], fen[:, :over]), counted[:, :over], platforms, doubts, last
    )
    if over < counted.shape[1]:
        found = _today(found, counted[:, -1:] > 0, fraction)
    broken = _broken(counted[:, :over], len(frame.districts), platforms, doubts, counted.shape[1])
    found = _thin(found, fen[:, :over], broken)
    shape = (len(frame.districts), -1, last + 1)
    rate = found.rate[:, offset:].reshape(shape)
    doubted = found.silent[:, offset:].reshape(shape) | broken[None, :, offset:]
    first = date(frame.year, 1, 1)
    for number, name in enumerate(platforms):
        doubt = doubts.get(name)
        if doubt is not None and doubt.since is not None:
            places = [n for n, code in enumerate(frame.districts) if code in doubt.districts]
            doubted[places, number, max((doubt.since - first).days, 0) :] = True
    lost, whole = np.where(doubted, rate, 0.0).sum(axis=1), rate.sum(axis=1)
    lost[-1], whole[-1] = lost.sum(axis=0), whole.sum(axis=0)
    part = np.where(whole > 0, lost / np.where(whole > 0, whole, 1.0), 0.0)
    nobody = np.zeros(counted.shape[1], dtype=bool)
    nobody[:over] = outages(counted[:, :over])
    if 0 < over < counted.shape[1]:
        nobody[-1] = nobody[-2] and not counted[:, -1].any()
    stale = (part >= STALE_SHARE) | nobody[offset:]
    gone = found.gone[:, offset:].reshape(shape)
    there = rate > 0
    gone_city: Bools = np.all(gone | ~there, axis=0) & np.any(there, axis=0)
    assert size == shape[0] * rate.shape[1]
    return Quiet(found, offset, np.repeat(stale, WIDTH, axis=0), gone_city)


def _by_pair(frame: Frame, placed: Mapping[int, Placed], last: int) -> tuple[Ints, Ints]:
    """Entries and fen `[district place × platforms, days]` of last year and this, up to day `last`."""
    this = placed[frame.year]
    size = len(frame.districts) * this.platforms
    spans = [(this, last + 1)]
    if (before := placed.get(frame.year - 1)) is not None:
        spans.insert(0, (before, days_of(frame.year - 1)))
    counted, fen = (
        np.concatenate(
            [cells_.grouped(getattr(of.year, name)[:, :days], of.pair, size) for of, days in spans],
            axis=1,
        )
        for name in ("counted", "fen")
    )
    return counted, fen


def _due(
    found: Silence, counted: Ints, platforms: Sequence[str], doubts: Doubts, last: int
) -> Silence:
    """What usually comes days later is not missing yet: those days are as the last one that is due."""
    silent, gone, missed = found.silent.copy(), found.gone.copy(), found.missed.copy()
    days = counted.shape[1]
    for number, name in enumerate(platforms):
        lag = doubts[name].lag if name in doubts else 0
        if not 0 < lag < min(days, last + 1):
            continue
        mine = slice(number, None, len(platforms))
        heard = counted[mine, days - lag :] > 0
        due = slice(days - lag - 1, days - lag)
        silent[mine, days - lag :] = silent[mine, due] & ~heard
        gone[mine, days - lag :] = gone[mine, due] & ~heard
        # On its way: counted as usual until it is there.
        alive = found.rate[mine, due] > 0
        missed[mine, days - lag :] = ~heard & alive & ~gone[mine, due]
    return Silence(silent, gone, found.rate, missed)


def _today(found: Silence, heard: Bools, fraction: float) -> Silence:
    """Today is as yesterday, but for who has been heard of since."""
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


def _thin(found: Silence, fen: Ints, broken: Bools) -> Silence:
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
    return Silence(found.silent, found.gone, rate, missed)


def _broken(
    counted: Ints, places: int, platforms: Sequence[str], doubts: Doubts, days: int
) -> Bools:
    """`[platforms, days]`; the days that are not due yet, and today, are as the last one that is."""
    sums = counted.reshape(places, -1, counted.shape[1]).sum(axis=0)
    found = np.zeros((len(sums), days), dtype=bool)
    found[:, : sums.shape[1]] = breaks(sums)
    for number, name in enumerate([*platforms] or [""]):
        due = sums.shape[1] - (doubts[name].lag if name in doubts else 0)
        if 0 < due < days:
            found[number, due:] = found[number, due - 1]
    return found
