"""A run of days that is judged on one panel of platforms: figures of every cell, by `yumai.methods`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date

import numpy as np

from yumai.evaluation import cells
from yumai.evaluation.cells import OF_ALL, WIDTH, Floats, Frame, Placed
from yumai.evaluation.columns import Ints
from yumai.evaluation.coverage import Quiet
from yumai.methods import judged_year, like_for_like, monthly, no_history
from yumai.methods.like_for_like import Panel, PanelDays

PANELS_KEPT = 64


@dataclass
class Memory:
    """What depends on past years alone, kept between evaluations by the panel that it was made for."""

    year: int = 0
    of: tuple[Ints, ...] = ()
    lessons: dict[bytes, tuple[cells.Past, judged_year.Lessons | None]] = field(
        default_factory=dict
    )

    def fits(self, year: int, past: tuple[Ints, ...]) -> None:
        """Forgets everything where these are not the very columns that it remembers."""
        same = len(past) == len(self.of) and all(a is b for a, b in zip(past, self.of, strict=True))
        if year != self.year or not same or len(self.lessons) > PANELS_KEPT:
            self.year, self.of = year, past
            self.lessons.clear()


@dataclass(frozen=True)
class Ground:
    """Inputs that all runs of one judgement share.

    `target[cells]`, NaN without one; `last`: number of the moment's day, of which `fraction` has gone;
    before `known_from` nothing is known.
    """

    frame: Frame
    placed: Mapping[int, Placed]
    quiet: Quiet
    target: Floats
    known_from: date
    last: int
    fraction: float
    memory: Memory

    @property
    def this(self) -> Placed:
        return self.placed[self.frame.year]


@dataclass(frozen=True)
class Segment:
    """Every array `[days, cells]`.

    `target`: what the judged platforms are to bring: all of it, but for the part of those that left;
    `base`: last year's total of the judged platforms, `rest`: of its days still to come.
    """

    expected: Floats
    nowcast: Floats
    low: Floats
    high: Floats
    p_meet: Floats
    yoy: Floats
    rest: Floats
    comparable: Ints
    target: Floats
    base: Floats


def joined(parts: list[Segment]) -> Segment:
    """Consecutive runs as one."""
    if len(parts) == 1:
        return parts[0]
    return Segment(
        *(np.concatenate([getattr(part, of.name) for part in parts]) for of in fields(Segment))
    )


def segment(ground: Ground, run: PanelDays) -> Segment:
    frame, this, panel = ground.frame, ground.this, run.panel
    sums = cells.summed(frame, this, *this.judged(panel))
    comparable = np.cumsum(sums, axis=1)[:, run.low : run.high + 1].T
    fraction = ground.fraction if run.high == ground.last else 1.0
    past, learnt = _lessons(ground, panel)
    if learnt is None:
        return _without_history(ground, run, comparable, fraction)
    target = ground.target * _kept(ground, panel)
    sales = sums.astype(np.float64) + _filled(ground, panel)
    found = judged_year.course(
        learnt,
        monthly.evened_so_far(sales, past.daily[0], frame.year, ground.last),
        target,
        frame.sector_groups(),
        first_day=run.low,
        last_day=run.high,
        fraction=fraction,
    )
    known = ~np.isnan(found.nowcast)
    alone = np.where(known.all(axis=0), np.nan, ground.target)
    flat = no_history.flat(frame.year, comparable, alone, run.low, fraction)
    return Segment(
        found.expected_share,
        np.where(known, found.nowcast, flat.nowcast),
        np.where(known, found.low, flat.low),
        np.where(known, found.high, flat.high),
        np.where(known, found.p_meet, flat.p_meet),
        found.least_shrinking,
        found.last_year_rest,
        comparable,
        np.broadcast_to(target, comparable.shape),
        found.last_year_total,
    )


def _without_history(ground: Ground, run: PanelDays, comparable: Ints, fraction: float) -> Segment:
    flat = no_history.flat(ground.frame.year, comparable, ground.target, run.low, fraction)
    none = np.full(comparable.shape, np.nan)
    return Segment(
        flat.expected_share,
        flat.nowcast,
        flat.low,
        flat.high,
        flat.p_meet,
        none,
        none,
        comparable,
        np.broadcast_to(ground.target, comparable.shape),
        none,
    )


def _lessons(ground: Ground, panel: Panel) -> tuple[cells.Past, judged_year.Lessons | None]:
    kept = ground.memory.lessons
    if panel.key not in kept:
        frame, known_from = ground.frame, ground.known_from
        past = cells.past(frame, ground.placed, panel, known_from)
        # A year of which the beginning was not recorded is unknown: zeros would be no sales.
        history = {
            year: monthly.evened(daily, year)
            for year, daily in zip(past.years, past.daily, strict=True)
            if date(year, 1, 31) >= known_from
        }
        learnt = None
        if past.years:
            learnt = judged_year.lessons(history, frame.year, frame.sector_groups())
        kept[panel.key] = past, learnt
    return kept[panel.key]


def _filled(ground: Ground, panel: Panel) -> Floats:
    """What silent feeds would usually have brought: not booked, but no lag either. `[cells, days]`."""
    frame, this, pairs, last = ground.frame, ground.this, ground.quiet.pairs, ground.last
    out = np.zeros((frame.size, this.year.days))
    missed = pairs.missed * panel.pairs[:, None]
    if not missed.any():
        return out
    lost = (missed * pairs.rate)[this.pair]
    # A pair's lines as they have shared its sales so far.
    mine = np.cumsum(this.year.fen[:, : last + 1], axis=1).astype(np.float64)
    whole = cells.grouped(mine, this.pair, len(panel.pairs))[this.pair]
    lost *= np.where(whole > 0, mine / np.where(whole > 0, whole, 1.0), 0.0)
    out[:, : last + 1] = cells.grouped(lost, this.district * WIDTH + this.column, frame.size)
    places = out.reshape(len(frame.districts), WIDTH, -1)
    places[-1, :, : last + 1] = cells.grouped(lost, this.column, WIDTH)
    places[:, OF_ALL] = places[:, 1:].sum(axis=1)
    return out


def _kept(ground: Ground, panel: Panel) -> Floats:
    """Which part of last year the judged platforms made: a target covers those that left as well."""
    frame, last = ground.frame, ground.placed[ground.frame.year - 1]
    whole = cells.everything(frame, last).sum(axis=1).astype(np.float64)
    kept = cells.summed(frame, last, *last.judged(panel)).sum(axis=1).astype(np.float64)
    return like_for_like.ratio(kept, whole)
