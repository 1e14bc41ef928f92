"""Which level a cell deserves, day by day, and which it has after hysteresis. Pure.

    gap = (T − F)/T
    red     P < 0.10, gap ≥ 2 % and Benjamini–Hochberg at 0.10 over the run;
            or cumulative yoy < 0 while T asks for growth, unless the forecast is green (P ≥ 0.50)
    yellow  P < 0.20, gap ≥ 1 % (or red's other conditions fail)
    blue    P < 0.50 (or yellow's gap fails)
    green   else

Levels come from the chance of meeting the target, not from the pace: the same gap is worse in October
than in March. Hundreds of cells are judged each day, so some would be red by chance alone: that is what
Benjamini–Hochberg is for, and hysteresis keeps a level from flickering.
A course is the levels of one judged year from 1 March on: `[days, cells]`, oldest day first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from yumai.methods.seasons import Bools, Floats

Levels = npt.NDArray[np.int8]

GREEN, BLUE, YELLOW, RED = 0, 1, 2, 3
NONE = -1
NAMES = ("green", "blue", "yellow", "red")
LIMITS = np.array([1.0, 0.5, 0.2, 0.1])
"""Of P(meet): a level holds below its own."""
YELLOW_GAP = 0.01
RED_GAP = 0.02
FALSE_SHARE = 0.10
"""q of Benjamini–Hochberg: the share of false ones among the red that is put up with."""
RUNNING = 2
MARGIN = 0.05


def name(level: int) -> str | None:
    """`green` … `red`; None where there is no level."""
    return None if level < 0 else NAMES[level]


def discoveries(p: Floats, false_share: float = FALSE_SHARE) -> Bools:
    """Which of the p values pass Benjamini & Hochberg (1995), J. R. Statist. Soc. B 57, 289–300.

    With p₍₁₎ ≤ … ≤ p₍ₙ₎ and k the largest i with p₍ᵢ₎ ≤ i q/n, the k smallest pass. NaN is not in the run.
    Of `[days, n]` each day is a run of its own.
    """
    tested = ~np.isnan(p)
    number = np.maximum(tested.sum(axis=-1, keepdims=True), 1)
    ordered = np.sort(p, axis=-1)  # NaN last
    below = ordered <= np.arange(1, p.shape[-1] + 1) * false_share / number
    highest = np.max(np.where(below, ordered, -np.inf), axis=-1, keepdims=True, initial=-np.inf)
    return tested & (np.nan_to_num(p, nan=np.inf) <= highest)


def raw_levels(
    p_meet: Floats, nowcast: Floats, target: Floats, yoy: Floats, base: Floats
) -> Levels:
    """Levels of a run of n cells, or of `[days, n]` each day's, before hysteresis; `NONE` where P is
    not known (no target, no history).

    `yoy`: cumulative growth like for like (0.02 is 2 %), NaN unknown; `base`: last year's total
    that the target is measured against (the target asks for growth where T > base).
    """
    known = ~np.isnan(p_meet) & ~np.isnan(target)
    p = np.where(known, p_meet, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.where(known, (target - nowcast) / np.abs(target), 0.0)
    gap = np.nan_to_num(gap, nan=0.0)
    passes = discoveries(np.where(known, p_meet, np.nan))
    level = np.where(p < LIMITS[BLUE], BLUE, GREEN)
    level = np.where((p < LIMITS[YELLOW]) & (gap >= YELLOW_GAP), YELLOW, level)
    level = np.where((p < LIMITS[RED]) & (gap >= RED_GAP) & passes, RED, level)
    shrinks = (np.nan_to_num(yoy) < 0) & (target > base) & (p < LIMITS[BLUE])
    level = np.where(shrinks, RED, level)
    return np.where(known, level, NONE).astype(np.int8)


def tianjin_levels(yoy: Floats, planned: Floats, city_yoy: Floats | float) -> Levels:
    """天津 2022: green = cumulative growth ≥ plan and ≥ the city's; red = it is negative; else yellow."""
    known = ~np.isnan(yoy) & ~np.isnan(planned)
    good = (yoy >= planned) & (yoy >= city_yoy)
    level = np.where(yoy < 0, RED, np.where(good, GREEN, YELLOW))
    return np.where(known, level, NONE).astype(np.int8)


@dataclass(frozen=True)
class State:
    """Where the hysteresis of each cell stands. `above`: the last day's raw level, if it was higher."""

    level: Levels
    above: Levels
    easier: npt.NDArray[np.int8]

    @staticmethod
    def start(cells: int) -> State:
        return State(
            np.zeros(cells, np.int8), np.full(cells, NONE, np.int8), np.zeros(cells, np.int8)
        )


def step(state: State, raw: Levels, p_meet: Floats, held: Bools) -> State:
    """One evaluation more. It rises to what two running both exceed; it falls by one level after two
    running with P above the level's limit + 0.05. Held cells (stale) and cells
    without a level stay as they are, and no two days run on across them.
    """
    level = state.level
    counts = ~held & (raw >= 0)
    higher = counts & (raw > level)
    rise = higher & (state.above > level)
    clear = np.nan_to_num(p_meet, nan=0.0) > LIMITS[level] + MARGIN
    easier = np.where(counts & (raw < level) & clear, state.easier + 1, 0)
    fall = easier >= RUNNING
    new = np.where(rise, np.minimum(raw, state.above), np.where(fall, level - 1, level))
    above = np.where(higher, raw, NONE)
    return State(
        new.astype(np.int8),
        above.astype(np.int8),
        np.where(fall, 0, easier).astype(np.int8),
    )


def course(raw: Levels, p_meet: Floats, held: Bools | None = None) -> Levels:
    """Levels after hysteresis of `[days, cells]`, from the first day judged on.

    `NONE` on days on which `raw` is `NONE`; a held day keeps the level of the day before.
    """
    held = np.zeros(raw.shape, dtype=bool) if held is None else held
    state = State.start(raw.shape[1])
    out = np.empty(raw.shape, dtype=np.int8)
    for day in range(len(raw)):
        state = step(state, raw[day], p_meet[day], held[day])
        out[day] = np.where((raw[day] >= 0) | held[day], state.level, NONE)
    return out


def tianjin_course(raw: Levels, held: Bools | None = None) -> Levels:
    """The 天津 rules know no hysteresis; a held day keeps the level of the day before."""
    if held is None:
        return raw.copy()
    out = raw.copy()
    for day in range(1, len(raw)):
        out[day] = np.where(held[day], out[day - 1], raw[day])
    return out
