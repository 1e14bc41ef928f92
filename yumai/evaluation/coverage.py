"""Which cells a day's figures say nothing about, since feeds are silent, broken, late or refused. Pure.

The formulae are those of `yumai.methods`; here feeds' names and districts become numbers of arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from yumai.evaluation import cells
from yumai.evaluation.cells import WIDTH, Frame, Placed
from yumai.evaluation.columns import Bools, Ints
from yumai.methods import coverage
from yumai.methods.silence import Silence, silences


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
    stale: Bools
    """`[cells, days]`."""
    gone_city: Bools
    """`[platforms, days]`."""


def quiet(
    frame: Frame,
    placed: Mapping[int, Placed],
    platforms: Sequence[str],
    day: date,
    fraction: float,
    doubts: Doubts,
) -> Quiet:
    """Up to the moment's day; of a day that is not over (`fraction` below 1) nothing is concluded."""
    last = cells.day_number(day)
    counted, fen = _by_pair(frame, placed, last)
    days = counted.shape[1]
    over = days - (1 if fraction < 1.0 else 0)
    heard, past = counted > 0, counted[:, :over]
    lags = np.array([doubts[name].lag if name in doubts else 0 for name in platforms] or [0])
    found = coverage.by_due(silences(past, fen[:, :over]), heard[:, :over], lags, last + 1)
    if over < days:
        found = coverage.with_today(found, heard[:, -1:], fraction)
    broken = coverage.broken_days(
        past.reshape(len(frame.districts), -1, over).sum(axis=0), lags, days
    )
    found = coverage.with_thin_days(found, fen[:, :over], broken)
    nobody = coverage.nobody_heard(past, days)
    nobody[over:] &= ~heard[:, over:].any(axis=0)

    this = slice(days - (last + 1), days)
    found = Silence(
        found.silent[:, this], found.gone[:, this], found.rate[:, this], found.missed[:, this]
    )
    shape = (len(frame.districts), -1, last + 1)
    rate = found.rate.reshape(shape)
    doubted = found.silent.reshape(shape) | broken[None, :, this]
    _doubt(doubted, frame, platforms, doubts)
    stale = coverage.is_stale(doubted, rate) | nobody[this]
    gone_city = coverage.gone_everywhere(found.gone.reshape(shape), rate)
    return Quiet(found, np.repeat(stale, WIDTH, axis=0), gone_city)


def _doubt(doubted: Bools, frame: Frame, platforms: Sequence[str], doubts: Doubts) -> None:
    """Marks in place what is doubted beyond the days, `[places, platforms, days]`."""
    first = date(frame.year, 1, 1)
    for number, name in enumerate(platforms):
        doubt = doubts.get(name)
        if doubt is not None and doubt.since is not None:
            places = [n for n, code in enumerate(frame.districts) if code in doubt.districts]
            doubted[places, number, max((doubt.since - first).days, 0) :] = True


def _by_pair(frame: Frame, placed: Mapping[int, Placed], last: int) -> tuple[Ints, Ints]:
    """Entries and fen `[district place × platforms, days]` of last year and this, up to day `last`."""
    this = placed[frame.year]
    size = len(frame.districts) * this.platforms
    spans = [(this, last + 1)]
    if (before := placed.get(frame.year - 1)) is not None:
        spans.insert(0, (before, before.year.days))
    counted, fen = (
        np.concatenate(
            [cells.grouped(getattr(of.year, name)[:, :days], of.pair, size) for of, days in spans],
            axis=1,
        )
        for name in ("counted", "fen")
    )
    return counted, fen
