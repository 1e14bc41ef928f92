"""The year-end nowcast: booked + recent level × the usual rest of the year (METHODS §5.2 d–e). Pure.

    F = C + L · Σ_i S_i (1 − done_i) e^{g (c_i − τ)/12}
    L = Σ_t w_t x_t e^{g (τ − c_t)/12} / Σ_t w_t S_t done_t,     w_t = (1 − α)^(τ − c_t)

τ: months gone since New Year, c_i: a month's middle, done_i: which part of it is booked. The sums of L
run over all months of the past years that count and of this one. It is a simple exponential smoothing
of seasonally adjusted sales (Brown 1959) with a damped drift g. A month of this year that is unknown is
estimated like one to come. α is not chosen here: there is one column for each of `ALPHAS`.

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


@dataclass(frozen=True)
class Nowcasts:
    """`totals[n, a]`: F for each α; NaN where the year before is not whole or has no positive total.

    `expected[n]`: the share of the year that is usual by now (METHODS §5.2, expected share).
    """

    totals: Floats
    booked: Floats
    expected: Floats
    rest_usual: Floats
    drift: Floats
    seasons: Seasons


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
    """Of every cell for every α. `gone`: τ; the others as in `seasons`."""
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
    totals = booked[:, None] + level * rest[:, None]
    totals = np.where(found.usable[:, None], totals, np.nan)
    whole_path = path.sum(axis=1)
    fine = whole_path > 0
    expected = np.where(fine, 1.0 - rest / np.where(fine, whole_path, 1.0), gone / MONTHS)
    return Nowcasts(totals, booked, expected, rest, growth, found)


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
