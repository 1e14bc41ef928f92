"""The entries that the simulated city sends on a day, as columns of the contract.

A row is a pure function of (seed, day, row number): a day is the same whatever range was asked for,
and of a longer day the shorter is the first rows. So a refund names a sale that was really sent, and
a duplicate or conflict repeats an entry of weeks ago, without anything being remembered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.days import DAY_MS, SHANGHAI_MS
from simulation import draws, seasons
from simulation.city import (
    CITY_YEAR_FEN,
    PLATFORMS,
    City,
    day_number,
    day_of,
)
from simulation.city import city as city_of
from simulation.columns import Rows, batch

Floats = npt.NDArray[np.float64]

_CELL, _TRADE, _KIND, _LINK, _SPOIL = range(5)
_SLOT = 7
"""Every eighth row may be something else than a sale; the seven others never are."""
_BACK = 0.35
"""A refund of row i refers to a row below 0.35 i of its day: there even on the quietest day."""
_BASE_DAY = day_number(date(2025, 7, 1))


@dataclass(frozen=True)
class Flow:
    """A city's stream. Shares are of a day's entries; `scale` multiplies every amount.

    `refunds` and `reversals` (both kinds together) may be 0.12 together; `late` occurred 1–40 days
    before they are sent; `duplicates` and `conflicts` come on top, half of them of the same day, the
    others of up to 90 days before (never before `since`). `salt` tells streams of one seed apart.
    """

    city: City
    seed: int = 1
    refunds: float = 0.03
    reversals: float = 0.004
    late: float = 0.01
    duplicates: float = 0.0
    conflicts: float = 0.0
    scale: float = 1.0
    refund_days: int = 30
    late_days: int = 40
    since: date | None = None
    platform: str | None = None
    salt: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.refunds + self.reversals <= 0.12:
            raise ValueError("refunds and reversals together: 0 to 0.12")
        if not all(0 <= share <= 0.5 for share in (self.late, self.duplicates, self.conflicts)):
            raise ValueError("late, duplicates and conflicts: 0 to 0.5 each")
        if self.platform is not None and self.platform not in PLATFORMS:
            raise ValueError(f"platform is one of {', '.join(PLATFORMS)}")

    # -- how much there is on a day -----------------------------------------------------------

    @cached_property
    def _cells(self) -> Any:
        return lru_cache(maxsize=256)(self._cells_of)

    def _cells_of(self, day: int) -> tuple[float, draws.UInts]:
        """The day's intensity (1 = an average day of 2025), and the ends of its cells in 2^32."""
        years = (day - _BASE_DAY) / 365.25
        month = day_of(day)
        noise = np.random.default_rng([self.seed, 21, month.year, month.month])
        weather = np.random.default_rng([self.seed, 22, day]).normal(0, 0.02)
        weights = self.city.cell_entries * np.exp(
            self.city.cell_growth * years + noise.normal(0, 0.02, self.city.cell_count) + weather
        )
        weights *= seasons.season(day)[self.city.cell_sector]
        total = float(weights.sum())
        ends = np.ceil(np.cumsum(weights) / total * 2**32).astype(np.uint64)
        ends[-1] = 2**32
        return total, ends

    def intensity(self, day: date) -> float:
        """How many entries that day has, as a multiple of an average day of 2025."""
        return float(self._cells(day_number(day))[0])

    def counts(self, first: date, last: date, total: int) -> dict[date, int]:
        """`total` entries spread over the days (inclusive) by their intensity; sums to `total`."""
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        level = np.array([self.intensity(day) for day in days])
        ends = np.rint(np.cumsum(level) / level.sum() * total).astype(np.int64)
        return dict(zip(days, np.diff(ends, prepend=0).tolist(), strict=True))

    # -- rows -----------------------------------------------------------------------------------

    def _sales(self, day: int | draws.UInts, row: draws.UInts) -> tuple[Any, Any]:
        """Merchant and amount in fen of each row's sale."""
        trade = draws.draw(self.seed, _TRADE, day, row)
        where = draws.draw(self.seed, _CELL, day, row) >> np.uint64(32)
        if isinstance(day, int):
            cell = np.searchsorted(self._cells(day)[1], where, side="right")
        else:
            days, which = np.unique(day, return_inverse=True)
            ends = [self._cells(int(d))[1] + np.uint64(n << 32) for n, d in enumerate(days)]
            flat = np.concatenate(ends) if ends else np.empty(0, np.uint64)
            where = where + (which.astype(np.uint64) << np.uint64(32))
            cell = np.searchsorted(flat, where, side="right") - which * self.city.cell_count
        slots = self.city.slots
        slot = draws.bits(trade, 0, 20) & (slots.shape[1] - 1)
        merchant = slots.ravel()[cell * slots.shape[1] + slot]
        sector = self.city.cell_sector[cell]
        z = draws.Z_TABLE[draws.bits(trade, 20, 16)]
        level, sigma = self._amounts
        amount = np.rint(np.exp(sigma[sector] * z + level[sector])).astype(np.int64)
        return merchant, np.clip(amount, 1, 10**12)

    @cached_property
    def _amounts(self) -> tuple[Any, Any]:
        """Mean and sigma of the logarithm of an amount, a sector each."""
        sigma = self.city.sector_sigma
        return np.log(self.city.sector_ticket_fen * self.scale) - sigma**2 / 2, sigma

    def _times(self, day: int | draws.UInts, row: draws.UInts, merchant: Any) -> tuple[Any, Any]:
        """When each row's sale occurred (epoch ms), and the bits left over."""
        chance = draws.draw(self.seed, _KIND, day, row)
        profile = seasons.SECTOR_PROFILE[self.city.columns["sector"][merchant]]
        quantile = draws.bits(chance, 0, 16)
        time = seasons.hours().ravel()[(profile << seasons.TIME_BITS) + quantile]
        time = time + draws.bits(chance, 16, 10)
        midnight = np.asarray(day, dtype=np.int64) * DAY_MS - SHANGHAI_MS
        late = draws.bits(chance, 26, 16) < round(self.late * 65_536)
        spread = draws.bits(chance, 42, 8)
        days_late = np.where(late, 1 + (spread * spread * self.late_days >> 16), 0)
        return midnight + np.minimum(time, DAY_MS - 1) - days_late * DAY_MS, chance

    def _links(self, day: int | draws.UInts, row: draws.UInts) -> tuple[Any, Any, Any, Any]:
        """For slot rows: their kind (0: a sale after all), the day and row that they refer to, and unused random bits."""
        chance = draws.draw(self.seed, _LINK, day, row)
        reversals = self.reversals * 8
        u = draws.unit(draws.draw(self.seed, _SPOIL + 1, day, row))
        edges = np.cumsum([self.refunds * 8, reversals * 0.75, reversals * 0.25])
        kind = (np.searchsorted(edges, u, side="right") + 1) % 4
        back = draws.bits(chance, 0, 10)
        days_back = back * back * (self.refund_days + 1) >> 20
        below = (draws.unit(chance) * _BACK * row.astype(np.float64)).astype(np.int64)
        target = (below & ~_SLOT) + draws.bits(chance, 0, 8) % _SLOT
        target = np.where(target > below, below & ~_SLOT, target).astype(np.uint64)
        link_day = (np.asarray(day, dtype=np.int64) - days_back).astype(np.uint64)
        return kind, link_day, target, chance

    def facts(self, day: int | draws.UInts, row: draws.UInts) -> Rows:
        """Rows of one day, or each of a day of its own, before they are columns."""
        merchant, amount = self._sales(day, row)
        occurred, chance = self._times(day, row, merchant)
        rows = Rows(day, row, merchant, amount, occurred, np.zeros(len(row), np.int8))
        rows.chance = chance
        slot = np.flatnonzero((row & np.uint64(_SLOT)) == _SLOT)
        slot_day = day if isinstance(day, int) else day[slot]
        kind, link_day, link_row, bits = self._links(slot_day, row[slot])
        some = kind > 0
        linked, kind = slot[some], kind[some]
        link_day, link_row, bits = link_day[some], link_row[some], bits[some]
        if len(linked):
            self._link(rows, linked, kind, link_day, link_row, bits)
        rows.linked, rows.link_day, rows.link_row = linked, link_day, link_row
        return rows

    def _link(self, rows: Rows, linked: Any, kind: Any, day: Any, row: Any, bits: Any) -> None:
        """Gives refunds and reversals the merchant, amount and a later time than what they refer to."""
        undone = np.flatnonzero(kind == 3)
        if len(undone):  # a refund's reversal: only where that day's slot row is a refund
            at = row[undone] | np.uint64(_SLOT)
            there, *_ = self._links(day[undone], at)
            # a slot row above the limit may not have been sent
            mine = rows.row[linked[undone]].astype(np.float64)
            good = (there == 1) & (at < mine * _BACK)
            kind[undone[~good]] = 2
            row[undone[good]] = at[good]
        merchant, amount = self._sales(day, row)
        time, _ = self._times(day, row, merchant)
        partial = (draws.bits(bits, 30, 8) < 96) & (kind == 1)
        amount = np.where(partial, np.maximum(amount * draws.bits(bits, 38, 8) >> 8, 1), amount)
        undone = np.flatnonzero(kind == 3)
        if len(undone):
            refund = self.facts(day[undone], row[undone])
            merchant[undone], amount[undone] = refund.merchant, refund.amount
            time[undone] = refund.occurred_ms
        # never late themselves, and on the day of the sale later than it
        sent = rows.day if isinstance(rows.day, int) else rows.day[linked]
        today = np.asarray(sent, dtype=np.int64) * DAY_MS - SHANGHAI_MS
        own = today + (rows.occurred_ms[linked] + SHANGHAI_MS) % DAY_MS
        after = time + ((today + DAY_MS - 1 - time) * draws.bits(bits, 46, 8) >> 8)
        rows.occurred_ms[linked] = np.where(own > time, own, after)
        rows.merchant[linked], rows.amount[linked] = merchant, amount
        rows.kind[linked] = kind

    @cached_property
    def _salt(self) -> bytes:
        salt = self.salt or f"{draws.mix(self.seed * 4 + 1) >> 32:08x}"
        return salt.encode()[:8].ljust(8, b"0") + b"-"

    def _batch(self, rows: Rows) -> pa.RecordBatch:
        made = batch(self.city, self._salt, self.scale, rows)
        if self.platform is None:
            return made
        platform = self.city.columns["platform"][rows.merchant]
        return made.filter(pa.array(platform == PLATFORMS.index(self.platform)))

    # -- what is asked for ------------------------------------------------------------------------

    def rows(self, day: date, first: int, last: int) -> pa.RecordBatch:
        """Rows `first` … `last` − 1 of a day, clean: no duplicates, no conflicts."""
        return self._batch(self.facts(day_number(day), np.arange(first, last, dtype=np.uint64)))

    def day(
        self, day: date, entries: int, *, after_ms: int | None = None, until_ms: int | None = None
    ) -> pa.RecordBatch:
        """What is sent on `day`: `entries` of its own, and duplicates and conflicts on top.

        Only what occurred in (after_ms, until_ms] (epoch ms), where given; late entries occurred
        before the day and pass only without `after_ms`.
        """
        number = day_number(day)
        wanted = entries
        if self.platform is not None:
            share = float(self._platform_share[PLATFORMS.index(self.platform)])
            wanted = int(entries / share * 1.25) + 64
        own = np.arange(wanted, dtype=np.uint64)
        again, conflicting = round(wanted * self.duplicates), round(wanted * self.conflicts)
        if again + conflicting == 0 or wanted == 0:
            rows = self.facts(number, own)
        else:
            rows = self._with_repeats(number, own, again, conflicting)
        batch = self._batch(rows)
        if self.platform is not None:
            batch = batch.slice(0, round(entries * (1 + self.duplicates + self.conflicts)))
        if after_ms is not None or until_ms is not None:
            time = batch.column("occurred_at").cast(pa.int64()).to_numpy()
            keep = np.ones(len(time), bool)
            if after_ms is not None:
                keep &= time > after_ms
            if until_ms is not None:
                keep &= time <= until_ms
            batch = batch.filter(pa.array(keep))
        return batch

    @cached_property
    def _platform_share(self) -> Floats:
        """Each platform's share of the entries."""
        slots = self.city.slots
        platform = self.city.columns["platform"][slots]
        share = [
            (platform == n).mean(axis=1) @ self.city.cell_entries for n in range(len(PLATFORMS))
        ]
        return np.array(share)

    def _with_repeats(self, day: int, own: draws.UInts, again: int, conflicting: int) -> Rows:
        n, more = len(own), again + conflicting
        bits = draws.draw(self.seed, _SPOIL, day, np.arange(more, dtype=np.uint64))
        oldest = 90 if self.since is None else min(max(day - day_number(self.since), 0), 90)
        back = 1 + (draws.bits(bits, 0, 10) ** 2 * max(oldest, 1) >> 20)
        back = np.where((draws.bits(bits, 10, 1) == 0) | (oldest == 0), 0, np.minimum(back, oldest))
        limit = np.where(back == 0, n, max(int(n * _BACK), 1))
        row = np.concatenate([own, (draws.unit(bits) * limit).astype(np.uint64)])
        sent = np.concatenate([np.full(n, day), day - back]).astype(np.uint64)
        order = np.random.default_rng([self.seed, 23, day]).permutation(n + more)
        rows = self.facts(sent[order], row[order])
        altered = np.flatnonzero(order >= n + again)
        how = draws.bits(bits[order[altered] - n], 12, 8)
        amount, merchant, time = altered[how % 3 == 0], altered[how % 3 == 1], altered[how % 3 == 2]
        rows.amount[amount] += 1 + how[how % 3 == 0]
        rows.merchant[merchant] = self._other_merchant[rows.merchant[merchant]]
        rows.occurred_ms[time] -= (1 + how[how % 3 == 2] % 60) * DAY_MS
        return rows

    @cached_property
    def _other_merchant(self) -> npt.NDArray[np.int32]:
        """Another merchant of the same platform, for each."""
        platform = self.city.columns["platform"]
        other = np.empty(len(platform), np.int32)
        for number in range(len(PLATFORMS)):
            here = np.flatnonzero(platform == number)
            other[here] = np.roll(here, 1)
        return other

    def history(self, first: date, last: date, total: int) -> Iterator[tuple[date, pa.RecordBatch]]:
        """(day, entries) of every day, inclusive; `total` counts neither duplicates nor conflicts."""
        for day, entries in self.counts(first, last, total).items():
            yield day, self.day(day, entries)


def scale_for(flow: Flow, entries_per_day: float, coverage: float) -> float:
    """The factor of amounts at which so many entries on an average day make that share of the city."""
    return coverage * CITY_YEAR_FEN / (365 * entries_per_day * flow.city.mean_ticket_fen)


@lru_cache(maxsize=8)
def flow(seed: int = 1) -> Flow:
    """The default city's stream with usual shares and no mistakes."""
    return Flow(city_of(seed), seed)


def day(when: date, seed: int, entries: int) -> pa.RecordBatch:
    """The entries of one day of the default city, without duplicates and conflicts."""
    return flow(seed).day(when, entries)


def history(
    first: date, last: date, total: int, seed: int
) -> Iterator[tuple[date, pa.RecordBatch]]:
    """(day, entries) for every day of a range of the default city, inclusive."""
    return flow(seed).history(first, last, total)
