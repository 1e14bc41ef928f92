"""How far off a nowcast may be, learnt from the errors of earlier years at the same date. Pure.

    e = ln(F/A), |e| cut at 0.7             error of a year that is over, forecast as it then was
    σ² = (Σ own e² + 4 q)/(own number + 4)  q: mean e² of the third of cells about as noisy (by v)
    z = e/σ, σ as it stood then
    interval [F e^{−z₉₀ σ}, F e^{−z₁₀ σ}],  P(meet) = P(z ≤ ln(F/T)/σ)

The law of z is that of all past z of the run at that date together with `PRIOR_LENT` of a Student law (4): so it is that
law at first, the own one later, and P is never quite 0 or 1. A year's shocks are common to its
cells, so by calendar year the interval covers more or less than it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from yumai.methods.seasons import MONTHS, Bools, Floats, Ints, Seasons

ERROR_MOST = 0.7
LOSS_MOST = 0.5
OWN_LENT = 4.0
ERRORS_LEAST = 90
CHOICE_LEAST = 20
ALPHAS_FIRST = np.array([0, 2, 4])
"""Indices into `nowcast.ALPHAS`: 0.05, 0.15 and 0.3, where nothing is learnt yet, with b under .3, under .6, above."""
BELIEVED_STEPS = np.array([0.3, 0.6])
PRIOR_LENT = 30.0
YEAR_COUNTS_MOST = 30
"""A year's errors share its shocks: however many, they count as no more than this against the prior law."""
FIRST_LENT = 0.2
"""Years that a wider σ² counts beside the years that errors are known of, for their cells share shocks: with one
such year, σ of a first year times the rule of thumb; with more, whose law is learnt too, the rule squared."""
FIRST_KEPT, FIRST_COMMON, FIRST_LEAST = 0.92, 0.015, 0.003
INSIDE = 0.8
SIGMA_LEAST = 1e-4

TAIL_Z = 1.2815515655446004
"""Normal quantile of 0.9."""
_T_SCALE = 1.5332062740589438 / TAIL_Z
"""Student's t with 4 degrees of freedom has this 0.9 quantile: scaled, so that 80 % lie where the normal law has them."""


def student(z: Floats) -> Floats:
    """P(Z ≤ z) of Student's t with 4 degrees of freedom, scaled to the normal law's 0.1 and 0.9 quantiles.

    σ is itself estimated from few years, so far errors are likelier than the normal law says. Closed
    form: ½ + ⅜ s (1 − s²/12) with s = t/√(1 + t²/4). NaN stays NaN.
    """
    t = np.clip(np.asarray(z, dtype=np.float64), -1e9, 1e9) * _T_SCALE
    s = t / np.sqrt(1.0 + t**2 / 4.0)
    return np.clip(0.5 + 0.375 * s * (1.0 - s**2 / 12.0), 0.0, 1.0)


@dataclass
class Past:
    """What earlier years taught at one date of the year. Each list has an element a year, oldest first."""

    forecasts: list[Floats] = field(default_factory=list)  # F[n, a]
    actuals: list[Floats] = field(default_factory=list)  # A[n]
    errors: list[Floats] = field(default_factory=list)  # e[n] of the F that was shown
    scores: list[Floats] = field(default_factory=list)  # z[n]

    def learn(self, forecasts: Floats, shown: Floats, sigma: Floats, actuals: Floats) -> None:
        """A year is over: its forecasts by α, the one shown, its σ as it stood, and what became of it.

        The σ of a first year is a rule of thumb: its z say how wrong the thumb is, nothing of the law.
        """
        is_first = not any((~np.isnan(error)).any() for error in self.errors)
        error = log_error(shown, actuals)
        self.forecasts.append(forecasts)
        self.actuals.append(actuals)
        self.errors.append(np.clip(error, -ERROR_MOST, ERROR_MOST))
        score = self.errors[-1] / np.maximum(sigma, SIGMA_LEAST)
        self.scores.append(np.full_like(score, np.nan) if is_first else score)


def log_error(forecast: Floats, actual: Floats) -> Floats:
    """ln(F/A); NaN unless both are positive."""
    fine = (np.nan_to_num(forecast) > 0) & (np.nan_to_num(actual) > 0)
    return np.where(
        fine, np.log(np.where(fine, forecast, 1.0)) - np.log(np.where(fine, actual, 1.0)), np.nan
    )


def best_alpha(lessons: Sequence[Past], month: int, found: Seasons) -> Ints:
    """Index of each cell's α: the one with the least mean error at this date in earlier years, over all cells.

    With too few errors at this date those of all dates count; with too few of them, the slower an α
    the less of this year's growth is to be believed.
    """
    for some in (lessons[month : month + 1], lessons):
        losses = _losses(some)
        if len(losses) >= CHOICE_LEAST:
            # Rounded, so that the order in which a sum was taken can't decide between equals.
            best = int(np.argmin(np.round(losses.mean(axis=0), 10)))
            return np.full(len(found.variance), best)
    return ALPHAS_FIRST[np.searchsorted(BELIEVED_STEPS, found.believed, side="right")]


def _losses(lessons: Sequence[Past]) -> Floats:
    """`[errors, a]`, cut at 0.5."""
    found = [
        np.minimum(np.abs(log_error(f, a[:, None])), LOSS_MOST)
        for past in lessons
        for f, a in zip(past.forecasts, past.actuals, strict=True)
    ]
    losses = np.concatenate(found) if found else np.empty((0, 1))
    return losses[~np.isnan(losses).any(axis=1)]


def first_sigma(variance: Floats, unrest: Floats, gone: float) -> Floats:
    """σ with no earlier error to learn from: the rest of a year errs about as this year's growth so far differs.

        σ = (1 − τ/12) · 0.92 √(unrest² + 0.015²) · max(τ/(12 − τ), 1)^¼, at least 0.003

    The last factor: a short rest is noisier than the long part that is over; 0.015 is what cells have in
    common. Where `unrest` is NaN (no growth yet): (1 − τ/12) · max(1.6 √v, 0.06), at least 0.01.
    """
    left = max(MONTHS - gone, 0.0)
    apart = FIRST_KEPT * np.sqrt(np.nan_to_num(unrest) ** 2 + FIRST_COMMON**2)
    apart *= max(gone / max(left, 1.0), 1.0) ** 0.25
    rule = rule_of_thumb(variance, gone)
    return np.where(np.isnan(unrest), rule, np.maximum(FIRST_LEAST, left / MONTHS * apart))


def rule_of_thumb(variance: Floats, gone: float) -> Floats:
    """(1 − τ/12) · max(1.6 √v, 0.06), at least 0.01: wide, for nothing of this year is asked."""
    left = max(1.0 - gone / MONTHS, 0.0)
    return np.maximum(0.01, left * np.maximum(1.6 * np.sqrt(variance), 0.06))


def sigmas(past: Past, found: Seasons, gone: float) -> Floats:
    """σ of each cell now."""
    variance, usable = found.variance, found.usable
    start = first_sigma(variance, found.unrest, gone)
    if not past.errors:
        return start
    errors = np.stack(past.errors)
    known = ~np.isnan(errors)
    squares = np.where(known, errors**2, 0.0).sum(axis=0)
    count = known.sum(axis=0).astype(np.float64)
    if count.sum() == 0:
        return start
    alike = _alike(squares, count, variance, usable)
    years = float(known.any(axis=1).sum())
    rule = rule_of_thumb(variance, gone)
    lent = rule * (rule if years > 1 else start)
    alike = (years * alike + FIRST_LENT * lent) / (years + FIRST_LENT)
    return np.maximum(np.sqrt((squares + OWN_LENT * alike) / (count + OWN_LENT)), SIGMA_LEAST)


def _alike(squares: Floats, count: Floats, variance: Floats, usable: Bools) -> Floats:
    """q: mean e² of the third of the cells nearest in v; of all with fewer than 90 errors."""
    everywhere = squares.sum() / count.sum()
    if count.sum() < ERRORS_LEAST:
        return np.full(len(variance), everywhere)
    taken = np.flatnonzero(usable | (count > 0))
    order = taken[np.argsort(np.round(np.log(variance[taken]), 9), kind="stable")]
    width = max(len(order) // 3, 1)
    first = np.clip(np.arange(len(order)) - width // 2, 0, len(order) - width)
    sums = np.concatenate([[0.0], np.cumsum(squares[order])])
    counts = np.concatenate([[0.0], np.cumsum(count[order])])
    got = counts[first + width] - counts[first]
    q = np.where(
        got > 0, (sums[first + width] - sums[first]) / np.where(got > 0, got, 1.0), everywhere
    )
    out = np.full(len(variance), everywhere)
    out[order] = q
    return out


@dataclass(frozen=True)
class Law:
    """The law of z: past values, sorted, each with its weight, and the weight of the prior law."""

    scores: Floats
    weights: Floats
    prior_share: float

    def below(self, z: Floats) -> Floats:
        """P(Z ≤ z)."""
        z = np.asarray(z, dtype=np.float64)
        out = self.prior_share * student(z)
        if len(self.scores):
            cumulative = np.concatenate([[0.0], np.cumsum(self.weights)])
            place = np.searchsorted(self.scores, z, side="right")
            out = out + (1.0 - self.prior_share) * cumulative[place]
        return out

    def quantile(self, share: float) -> float:
        """z with P(Z ≤ z) = share, by bisection."""
        low, high = -40.0, 40.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            if float(self.below(np.array(middle))) < share:
                low = middle
            else:
                high = middle
        return 0.5 * (low + high)


def law(past: Past) -> Law:
    years = [z[~np.isnan(z)] for z in past.scores]
    years = [z for z in years if len(z)]
    if not years:
        return Law(np.empty(0), np.empty(0), 1.0)
    number = sum(len(z) for z in years)
    scores = np.concatenate(years)
    weights = np.full(number, 1.0 / number)
    order = np.argsort(scores, kind="stable")
    heard = sum(min(len(z), YEAR_COUNTS_MOST) for z in years)
    return Law(scores[order], weights[order], PRIOR_LENT / (PRIOR_LENT + heard))


@dataclass(frozen=True)
class Spread:
    """What stands around a forecast: σ by cell and the quantiles of z for all."""

    sigma: Floats
    law: Law
    z_low: float
    z_high: float


def spread(past: Past, seasons: Seasons, gone: float) -> Spread:
    learnt = law(past)
    tail = (1.0 - INSIDE) / 2
    return Spread(
        sigmas(past, seasons, gone), learnt, learnt.quantile(tail), learnt.quantile(1 - tail)
    )


def interval(
    total: Floats, sigma: Floats, z_low: Floats | float, z_high: Floats | float
) -> tuple[Floats, Floats]:
    """80 % interval of a positive year's total, never the wrong way round; NaN where there is none."""
    low = total * np.exp(-np.maximum(z_high, 0.0) * sigma)
    high = total * np.exp(-np.minimum(z_low, 0.0) * sigma)
    return np.minimum(low, high), np.maximum(low, high)


def p_meet(total: Floats, target: Floats, around: Spread) -> Floats:
    """P(A ≥ T); NaN where F or T is not positive."""
    return around.law.below(log_error(total, target) / around.sigma)
