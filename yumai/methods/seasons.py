"""Growth and seasonal factors of many cells at once, from whole past years. Pure.

Notation: n cells, K past years (newest first), 12 months. `past[n, k, i]` are net sales of month i of the
year k + 1 years before the judged one, NaN where unknown. Only whole years with a positive total that
follow one another without a gap count, the nearest `YEARS_MOST` at most: `whole[n, k]`.

    γ_y = ln(A_y / A_{y−1}) within ±0.3                                          growth of year y
    u_{y,i} = 12 x_{y,i}/A_y · exp(−b_y (i − 6.5)/12)                            a month without trend
    S_i = Σ_y 0.85^age u_{y,i} / Σ_y 0.85^age, made to have mean 1
    S ← (n_e S + κ S̄)/(n_e + κ),  κ = min(v/τ², 20)                              empirical Bayes

v is a cell's variance of u between years, τ² what the sector's cells differ by beyond noise, S̄ their
mean, itself drawn to a flat year as far as it is noise. So a cell leans on its sector only as far as its
own years disagree (Efron & Morris 1975, J. Am. Stat. Assoc. 70, 311–319).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

MONTHS = 12
YEARS_MOST = 5
YEAR_FADES = 0.85
GROWTH_MOST = 0.3
LEAN_MOST = 20.0
LEAN_SERIES_LEAST = 3
SPREAD_LEAST = 1e-6
VARIANCE_LENT = 2.0
"""Degrees of freedom that a cell's variance borrows from its sector."""
MONTHS_ALIKE = 0.75
VARIANCE_USUAL = 0.01
"""Where nothing is known of any cell's variance."""
GROWTH_APART = 0.05**2
"""Variance of growth between cells where nothing is known of it; counts as `GROWTH_LENT` cells."""
GROWTH_LENT = 3.0
UNREST_MOST = 0.7
UNREST_CELLS_LEAST = 10
UNREST_USUAL = 1.3
"""Times √v, where nothing is known; counts as `UNREST_LENT` cells."""
UNREST_LENT = 5.0
CENTRES = np.arange(MONTHS) + 0.5
"""Middle of each month, in months since New Year."""


@dataclass(frozen=True)
class Seasons:
    """`factors[n, 12]` have mean 1; `variance[n]` is v; `growths[n, k]` γ of past years, NaN unknown.

    `growth_now` is γ̂_Y, `believed` b (see `_believed`); `unrest[n]`: how much this year's growth so far
    differs between cells as noisy as this one.
    """

    usable: Bools
    whole: Bools
    totals: Floats
    growths: Floats
    growth_now: Floats
    factors: Floats
    variance: Floats
    unrest: Floats
    believed: Floats


def whole_years(past: Floats) -> tuple[Bools, Floats]:
    """Which past years count, and every year's total (NaN unless all twelve months are known)."""
    totals = past.sum(axis=2)  # NaN as soon as one month is
    good = np.nan_to_num(totals, nan=0.0) > _least(past)
    return np.logical_and.accumulate(good, axis=1)[:, :YEARS_MOST], totals


def _least(past: Floats) -> Floats:
    """A total that is rounding error beside its months is no total."""
    return 1e-6 * np.nan_to_num(np.abs(past)).sum(axis=2)


def log_ratio(above: Floats, below: Floats, most: float = GROWTH_MOST) -> Floats:
    """ln(above/below) within ±most; NaN unless both are positive."""
    fine = (np.nan_to_num(above) > 0) & (np.nan_to_num(below) > 0)
    ratio = np.log(np.where(fine, above, 1.0)) - np.log(np.where(fine, below, 1.0))
    return np.where(fine, np.clip(ratio, -most, most), np.nan)


def mean_known(values: Floats, axis: int = 1) -> Floats:
    """Mean of what is known; NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def median_of(values: Floats, otherwise: float) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else otherwise


def growths_of(totals: Floats, whole: Bools) -> Floats:
    """γ of each past year that counts, against the year before it (that too must be whole)."""
    older = np.full_like(totals, np.nan)
    older[:, :-1] = totals[:, 1:]
    return np.where(whole, log_ratio(totals, older)[:, : whole.shape[1]], np.nan)


def seasons(past: Floats, now: Floats, done: Floats, same: Floats, sector: Ints) -> Seasons:
    """Factors as they can be known while the judged year stands at `now`.

    `now[n, 12]`: what is booked this year, 0 where nothing is known; `done[n, 12]`: which part of the
    month that is (1 whole, 0 unknown); `same[n]`: last year's sales over the same months and days;
    `sector[n]`: cells of one number lean on each other.
    """
    whole, totals = whole_years(past)
    years = whole.shape[1]
    booked = np.where(done.sum(axis=1) > 0, now.sum(axis=1), np.nan)
    growth_now = log_ratio(booked, same)
    growths = growths_of(totals, whole)
    weight = np.where(whole, YEAR_FADES ** np.arange(years), 0.0)
    worth = weight.sum(axis=1) ** 2 / np.maximum((weight**2).sum(axis=1), 1e-12)
    usable = whole[:, 0]

    # First with growth as it looks, which says how noisy a cell is; then with as much of it as that lets believe.
    u, own = _factors(past, totals, whole, growths, growth_now, weight)
    variance = _variance(u, weight, own, now, done, growth_now, usable, sector)
    unrest = _unrest(log_ratio(booked, same, UNREST_MOST), variance, usable)
    growth_now, believed = _believed(growth_now, variance, done.sum(axis=1), usable)
    u, own = _factors(past, totals, whole, growths, growth_now, weight)
    variance = _variance(u, weight, own, now, done, growth_now, usable, sector)
    factors = _lean(own, variance, worth, usable, sector)
    return Seasons(usable, whole, totals, growths, growth_now, factors, variance, unrest, believed)


def _factors(
    past: Floats, totals: Floats, whole: Bools, growths: Floats, growth_now: Floats, weight: Floats
) -> tuple[Floats, Floats]:
    """u of each past year (0 in one that does not count) and S of each cell."""
    years = whole.shape[1]
    later = np.concatenate([growth_now[:, None], growths[:, : years - 1]], axis=1)
    slope = np.nan_to_num(np.stack([growths, later]))
    known = np.stack([~np.isnan(growths), ~np.isnan(later)])
    slope = slope.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    scale = np.where(whole, totals[:, :years], 1.0)
    flat = np.exp(-slope[:, :, None] * (CENTRES - MONTHS / 2) / MONTHS)
    u = np.where(whole[:, :, None], MONTHS * past[:, :years] / scale[:, :, None] * flat, 0.0)
    return u, _weighted(u, weight)


def _believed(
    growth: Floats, variance: Floats, months: Floats, usable: Bools
) -> tuple[Floats, Floats]:
    """γ_Y drawn to the run's median M, and b, the part of it that is kept (0–1).

        b = σ_γ²/(σ_γ² + 2v/m),  γ̂ = M + b (γ_Y − M)

    2v/m is the variance of γ_Y by noise of months alone; σ_γ² what cells' growth differs by beyond it
    (moments, DerSimonian & Laird 1986, Control. Clin. Trials 7, 177–188).
    """
    noise = 2.0 * variance / np.maximum(months, 1e-9)
    known = usable & ~np.isnan(growth) & (months > 0)
    middle = median_of(growth[known], 0.0)
    weight = 1.0 / (noise[known] + GROWTH_APART) ** 2
    lent = GROWTH_LENT * float(np.median(weight)) if known.any() else 1.0
    apart = float(weight @ ((growth[known] - middle) ** 2 - noise[known]))
    signal = max((apart + lent * GROWTH_APART) / (float(weight.sum()) + lent), 0.0)
    kept = signal / (signal + noise)
    return middle + kept * (growth - middle), kept


def _unrest(growth: Floats, variance: Floats, usable: Bools) -> Floats:
    """Root mean square of γ_Y about the run's median, over the third of cells about as noisy; NaN at New Year."""
    known = np.flatnonzero(usable & ~np.isnan(growth))
    out = np.full(len(growth), np.nan)
    if not len(known):
        return out
    order = known[np.argsort(np.round(np.log(variance[known]), 9), kind="stable")]
    squares = (growth[order] - np.median(growth[known])) ** 2
    width = max(len(order) // 3, min(len(order), UNREST_CELLS_LEAST))
    first = np.clip(np.arange(len(order)) - width // 2, 0, len(order) - width)
    sums = np.concatenate([[0.0], np.cumsum(squares)])
    lent = UNREST_LENT * UNREST_USUAL**2 * variance[order]
    alike = (sums[first + width] - sums[first] + lent) / (width - 1 + UNREST_LENT)
    out[:] = np.median(alike)
    out[order] = alike
    return np.sqrt(out)


def _weighted(u: Floats, weight: Floats) -> Floats:
    mean = (u * weight[:, :, None]).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-12)[:, None]
    level = mean.mean(axis=1, keepdims=True)
    return np.where(level > 0, mean / np.where(level > 0, level, 1.0), 1.0)


def _variance(
    u: Floats,
    weight: Floats,
    own: Floats,
    now: Floats,
    done: Floats,
    growth_now: Floats,
    usable: Bools,
    sector: Ints,
) -> Floats:
    """v: mean over months of the variance of u between years; this year's whole months take part.

    Those are scaled to sum to what the factors give them, so m months count m − 1 twelfths of a year;
    a difference from a mean of n_e years has variance v (1 + 1/n_e). Months near each other differ less:
    times (12/m)^¾, measured.
    """
    counted = weight > 0
    number = counted.sum(axis=1)
    middle = u.sum(axis=1) / np.maximum(number, 1)[:, None]
    squares = (((u - middle[:, None]) ** 2) * counted[:, :, None]).sum(axis=(1, 2)) / MONTHS
    freedom = np.maximum(number - 1, 0).astype(np.float64)

    full = done >= 1.0
    months = full.sum(axis=1)
    trend = np.exp(np.nan_to_num(growth_now)[:, None] * (CENTRES - MONTHS / 2) / MONTHS)
    usual = np.where(full, own * trend, 0.0)
    here = np.where(full, now, 0.0).sum(axis=1)
    # Not "above 0": a denormal sum is nothing that a scale could come from.
    fine = (months >= 2) & (here > 1e-100) & (usual.sum(axis=1) > 0)
    scale = np.where(fine, usual.sum(axis=1) / np.where(fine, here, 1.0), 0.0)
    off = np.where(full & fine[:, None], now * scale[:, None] - usual, 0.0)
    apart = (MONTHS / np.maximum(months, 1)) ** MONTHS_ALIKE
    squares += (off**2).sum(axis=1) / MONTHS / (1.0 + 1.0 / np.maximum(number, 1)) * apart
    freedom += np.where(fine, (months - 1) / MONTHS, 0.0)

    some = usable & (freedom > 0)
    mine = np.where(some, squares / np.where(freedom > 0, freedom, 1.0), np.nan)
    anywhere = median_of(mine, VARIANCE_USUAL)
    out = np.full(len(u), anywhere)
    for code in np.unique(sector):
        members = sector == code
        lent = median_of(mine[members], anywhere)
        out[members] = (squares[members] + VARIANCE_LENT * lent) / (
            freedom[members] + VARIANCE_LENT
        )
    return np.maximum(np.where(usable, out, anywhere), SPREAD_LEAST)


def _lean(own: Floats, variance: Floats, worth: Floats, usable: Bools, sector: Ints) -> Floats:
    """The factors drawn to their sector's, and these to a flat year as far as they too are noise."""
    found = own.copy()
    for code in np.unique(sector[usable]):
        members = np.flatnonzero(usable & (sector == code))
        if len(members) < LEAN_SERIES_LEAST:
            continue
        mine, noise = own[members], variance[members] / worth[members]
        clear = 1.0 / (noise + np.median(noise))
        clear /= clear.sum()
        middle = clear @ mine
        apart = ((mine - middle) ** 2).mean(axis=1)
        spread = max(float((apart - noise) @ clear), SPREAD_LEAST)
        doubt = float(clear**2 @ (spread + noise))
        shape = max(float(((middle - 1.0) ** 2).mean()) - doubt, 0.0)
        middle = 1.0 + (middle - 1.0) * shape / (shape + doubt)
        lean = np.minimum(variance[members] / spread, LEAN_MOST)[:, None]
        n = worth[members][:, None]
        found[members] = (n * mine + lean * middle) / (n + lean)
    return found
