"""The year-end nowcast: booked + recent level × the usual rest of the year. Pure.

    F = C + (1 − λ) · L Σ_i S_i (1 − done_i) e^{g (c_i − τ)/12} + λ · e^{(γ̂_Y + g)/2} Σ_i (1 − done_i) x_{Y−1,i}
    λ = 0.2 + 0.6 (1 − b)(1 − τ/12)/K
    L = Σ_t w_t x_t e^{g (τ − c_t)/12} / Σ_t w_t S_t done_t,     w_t = (1 − α)^(τ − c_t)

τ: months gone since New Year, c_i: a month's middle, done_i: which part of it is booked. The sums of L
run over all months of the past years that count and of this one. It is a simple exponential smoothing
of seasonally adjusted sales (Brown 1959) with a damped drift g. A month of this year that is unknown is
estimated like one to come. α is not chosen here: there is one column for each of `ALPHAS`.
The second term is last year's rest grown halfway between this year's growth so far and the drift: it errs
elsewhere than the first, and a fifth of it took 1–2 % off the median error on four real panels; with one
past year (K) and much noise (b, see `seasons`) more of it is right, for there L S is one noisy year too.

    g = 0.9 (¼ own + ¾ G),  G = ½ median(own) + ½ median ln(last 12 months / the 12 before)

own: mean of a cell's last three γ. Growth of the past persists little in one cell, more in all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from yumai.methods.seasons import (
    CENTRES,
    MONTHS,
    Bools,
    Floats,
    Ints,
    Seasons,
    log_ratio,
    mean_known,
    median_of,
    seasons,
)

ALPHAS = np.array([0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6])
GROWTHS_MOST = 3
DRIFT_KEPT = 0.9
DRIFT_OWN = 0.25
DRIFT_MOST = 0.3
LAST_YEAR_SHARE = 0.2
LAST_YEAR_MORE = 0.6


@dataclass(frozen=True)
class Nowcasts:
    """`totals[n, a]`: F for each α; NaN where the year before is not whole or has no positive total.

    `above[n, a]` and `below[n, a]` are the two sums of L = above/below.
    """

    totals: Floats
    above: Floats
    below: Floats
    booked: Floats
    drift: Floats
    seasons: Seasons

    def total(self, alpha: Ints) -> Floats:
        """F of each cell for its own α (an index)."""
        return self.totals[np.arange(len(alpha)), alpha]


def drift(found: Seasons, past: Floats, now: Floats, done: Floats) -> Floats:
    """g of each cell: log growth a year that is carried on."""
    recent = np.where(np.isnan(found.growths), np.nan, found.growths)[:, :GROWTHS_MOST]
    own = mean_known(recent)
    own = np.where(np.isnan(own), found.growth_now, own)
    usable = found.usable
    usual = median_of(own[usable], 0.0)
    lately = median_of(_twelve_months(past, now, done)[usable], usual)
    common = 0.5 * usual + 0.5 * lately
    own = np.where(np.isnan(own), common, own)
    return np.clip(
        DRIFT_KEPT * (DRIFT_OWN * own + (1 - DRIFT_OWN) * common), -DRIFT_MOST, DRIFT_MOST
    )


def _twelve_months(past: Floats, now: Floats, done: Floats) -> Floats:
    """ln(last 12 months / the 12 before), from months that are whole in both; γ of now with one year."""
    if past.shape[1] < 2:
        return np.full(len(past), np.nan)
    full = done >= 1.0
    last = np.where(full, now, past[:, 0])
    before = np.where(full, past[:, 0], past[:, 1])
    return log_ratio(last.sum(axis=1), before.sum(axis=1))


def nowcasts(
    past: Floats,
    now: Floats,
    done: Floats,
    same: Floats,
    gone: float,
    sector: Ints,
    alphas: Floats = ALPHAS,
) -> Nowcasts:
    """Nowcasts of every cell for every α. `gone` is τ; the other arguments are as in `seasons`."""
    found = seasons(past, now, done, same, sector)
    return carried(found, drift(found, past, now, done), past, now, done, gone, alphas)


def carried(
    found: Seasons,
    growth: Floats,
    past: Floats,
    now: Floats,
    done: Floats,
    gone: float,
    alphas: Floats,
) -> Nowcasts:
    years = found.whole.shape[1]
    factors = found.factors
    sold, worth, ages = _observed(found.whole, past[:, :years], now, done, factors, gone)
    grown = sold * np.exp(growth[:, None] * ages / MONTHS)
    weights = (1.0 - alphas) ** ages[:, None]
    above, below = grown @ weights, worth @ weights
    level = np.where(below > 0, above / np.where(below > 0, below, 1.0), 0.0)

    path = factors * np.exp(growth[:, None] * (CENTRES - gone) / MONTHS)
    rest = (path * (1.0 - done)).sum(axis=1)
    booked = now.sum(axis=1)
    grown_rest = last_year_grown(found, growth) * (np.nan_to_num(past[:, 0]) * (1.0 - done)).sum(
        axis=1
    )
    part = last_year_part(found, gone)[:, None]
    totals = booked[:, None] + mixed(level * rest[:, None], grown_rest[:, None], part)
    totals = np.where(found.usable[:, None], totals, np.nan)
    return Nowcasts(totals, above, below, booked, growth, found)


def last_year_grown(found: Seasons, growth: Floats) -> Floats:
    """e^{(γ̂_Y + g)/2}: what a month of last year has become."""
    return np.exp(0.5 * np.nan_to_num(found.growth_now) + 0.5 * growth)


def last_year_part(found: Seasons, gone: float) -> Floats:
    """λ: more where this year's months say little (b small) and factors stand on few years K."""
    years = np.maximum(found.whole.sum(axis=1), 1)
    return LAST_YEAR_SHARE + LAST_YEAR_MORE * (1.0 - found.believed) * (1.0 - gone / MONTHS) / years


def mixed(level_rest: Floats, last_year_rest: Floats, part: Floats) -> Floats:
    """The two views of the rest of the year; `part`: λ."""
    return (1.0 - part) * level_rest + part * last_year_rest


def _observed(
    whole: Bools, past: Floats, now: Floats, done: Floats, factors: Floats, gone: float
) -> tuple[Floats, Floats, Floats]:
    """Sales, what they are worth in factors, and ages: this year's months, then the past years'."""
    counted = whole[:, :, None]
    history = np.where(counted, past, 0.0).reshape(len(past), -1)
    history_worth = np.where(counted, factors[:, None, :], 0.0).reshape(len(past), -1)
    back = np.arange(1, whole.shape[1] + 1)[:, None] * MONTHS
    ages = np.concatenate([np.maximum(gone - CENTRES, 0.0), (gone + back - CENTRES).ravel()])
    sold = np.concatenate([np.where(done > 0, now, 0.0), history], axis=1)
    return sold, np.concatenate([factors * done, history_worth], axis=1), ages
