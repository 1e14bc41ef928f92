"""The simulated city: its merchants, where they are, what they sell, and how they are registered.

Goods (14,218 亿元) and catering (2,470 亿元) follow what was published for 2025; all other sectors, the
tickets and the spend per head are assumptions, made so that services are some 39 % of all
(docs/methods.md, The simulated city). Nothing here is a published figure of a district.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from yumai import districts as districts_
from yumai import sectors as sectors_

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PLATFORMS = ("unipay", "wandian", "lvyou", "daojia")
SECTORS = (*(f"S{n:02d}" for n in range(1, 13)), "S99", "G00", "X00", "U00")
SERVICES = SECTORS[:13]
"""What a target without a sector counts: S01–S12 and S99."""

#  sector: spend in 亿元 a year (2025), mean ticket in yuan, sigma of its logarithm, usual growth a
#  year, weights of the four platforms
_TRADE: dict[str, tuple[float, float, float, float, tuple[float, ...]]] = {
    "S01": (2_750, 75, 0.70, 0.046, (40, 30, 12, 18)),
    "S02": (260, 180, 0.60, 0.070, (20, 10, 0, 70)),
    "S03": (420, 420, 0.60, 0.080, (50, 15, 0, 35)),
    "S04": (900, 140, 0.80, 0.090, (25, 15, 60, 0)),
    "S05": (180, 90, 0.70, 0.085, (50, 30, 15, 5)),
    "S06": (1_150, 240, 0.75, 0.060, (65, 15, 0, 20)),
    "S07": (620, 85, 0.60, 0.055, (70, 30, 0, 0)),
    "S08": (350, 300, 0.70, 0.030, (95, 5, 0, 0)),
    "S09": (900, 480, 0.70, 0.050, (70, 25, 0, 5)),
    "S10": (800, 350, 0.70, 0.035, (75, 5, 0, 20)),
    "S11": (900, 38, 0.75, 0.060, (50, 5, 45, 0)),
    "S12": (150, 45, 0.60, 0.120, (30, 50, 10, 10)),
    "S99": (520, 110, 0.70, 0.040, (45, 30, 0, 25)),
    "G00": (14_218, 160, 0.90, 0.028, (50, 40, 2, 8)),
    "X00": (120, 300, 0.80, 0.020, (90, 10, 0, 0)),
    "U00": (90, 90, 0.70, 0.030, (50, 40, 5, 5)),
}
CITY_YEAR_FEN = sum(trade[0] for trade in _TRADE.values()) * 1e10
"""What the whole city spends in a year of 2025's size, in fen (亿元 = 10^10 fen)."""

LAGGING = "500154"
"""开州: grows some seven points a year less than the others."""
EDGE = ("500103", "500116", "500231")
"""Districts whose targets are set just where the simulation will bring them."""

FIRST_DAY = date(2023, 1, 1)
_EPOCH = date(1970, 1, 1)
_CHANGE_DAY = (districts_.CHANGE_DATE - _EPOCH).days
_NEVER = 1 << 30
_CENTRAL = {*(str(code) for code in range(500103, 500110)), "500112", "500113"}
_BOOST = {"county": 0.8, "autonomous_county": 0.8}


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - _EPOCH).days


def day_of(number: int) -> date:
    return _EPOCH + timedelta(days=number)


@cache
def places() -> tuple[str, ...]:
    """The 38 districts of before the division change: where merchants are, whatever it is called."""
    return tuple(districts_.districts_of(2025))


def place_codes(day: int) -> list[str]:
    """The code that each place is booked under on that day."""
    change = day >= _CHANGE_DAY
    return [districts_.ENDED.get(code, code) if change else code for code in places()]


@cache
def _codes_by_sector() -> dict[str, tuple[list[str], list[str]]]:
    """Sector -> its merchant category codes and its industry classes, as the maps have them."""
    mcc: dict[str, list[str]] = {code: [] for code in SECTORS}
    for value, number in sectors_.mcc_sectors().items():
        if value[0] != "3":  # airlines' and hotels' own codes
            mcc[sectors_.SECTOR_CODES[number]].append(value)
    mcc["U00"] += [
        value for value in ("1111", "2222", "4001") if value not in sectors_.mcc_sectors()
    ]
    classes = ["H61", "H62", "O801", "O802", "O804", "O81", "Q8514", "Q84", "L7291", "N786", "R87", "R88", "R902", "R89", "I63", "I64", "P83", "K702", "K704", "G54", "G60", "L7111", "F52", "D45", "J68", "C42", "L72", "R904", "O803"]  # fmt: skip
    industry: dict[str, list[str]] = {code: [] for code in SECTORS}
    for value in classes:
        sector = sectors_.industry_sector(value)
        if sector is not None:
            industry[sectors_.SECTOR_CODES[sector]].append(value)
    return {code: (sorted(mcc[code]), industry[code]) for code in SECTORS}


@dataclass(frozen=True)
class City:
    """Merchants in the order of their cells (place × sector), as columns. Pure in (seed, merchants).

    There is at least one merchant in every cell, so that there are 608 at least.
    """

    seed: int = 1
    merchants: int = 20_000

    @cached_property
    def cell_count(self) -> int:
        return len(places()) * len(SECTORS)

    @cached_property
    def cell_sector(self) -> Ints:
        return np.tile(np.arange(len(SECTORS)), len(places()))

    @cached_property
    def cell_place(self) -> Ints:
        return np.repeat(np.arange(len(places())), len(SECTORS))

    @cached_property
    def sector_ticket_fen(self) -> Floats:
        return np.array([_TRADE[code][1] * 100.0 for code in SECTORS])

    @cached_property
    def sector_sigma(self) -> Floats:
        return np.array([_TRADE[code][2] for code in SECTORS])

    @cached_property
    def cell_entries(self) -> Floats:
        """Entries of each cell in a year of 2025's size, as shares of the city's; sums to 1."""
        known = districts_.districts()
        people = np.array([float(known[code].population or 0) for code in places()])
        boost = np.array(
            [1.4 if code in _CENTRAL else _BOOST.get(known[code].kind, 1.0) for code in places()]
        )
        place = people * boost / (people * boost).sum()
        sector = np.array([_TRADE[code][0] / _TRADE[code][1] for code in SECTORS])
        rng = np.random.default_rng([self.seed, 11])
        tilt = np.exp(rng.normal(0, 0.12, (len(place), len(sector))))
        share = place[:, None] * (sector / sector.sum())[None, :] * tilt
        share *= (sector / sector.sum())[None, :] / share.sum(axis=0, keepdims=True)
        return (share / share.sum()).ravel()

    @cached_property
    def cell_growth(self) -> Floats:
        """Growth a year of each cell, as a logarithm."""
        rng = np.random.default_rng([self.seed, 12])
        place = rng.normal(0, 0.012, len(places()))
        place[places().index(LAGGING)] = -0.07
        sector = np.array([_TRADE[code][3] for code in SECTORS])
        noise = rng.normal(0, 0.01, self.cell_count)
        return place[self.cell_place] + sector[self.cell_sector] + noise

    @cached_property
    def mean_ticket_fen(self) -> float:
        """Mean amount of one sale, in fen."""
        return float((self.cell_entries * self.sector_ticket_fen[self.cell_sector]).sum())

    @cached_property
    def columns(self) -> dict[str, Any]:
        """One value a merchant; see the code for each."""
        rng = np.random.default_rng([self.seed, 13])
        extra = max(self.merchants - self.cell_count, 0)
        wanted = np.sqrt(self.cell_entries)
        counts = 1 + np.floor(wanted / wanted.sum() * extra).astype(np.int64)
        short = self.cell_count + extra - int(counts.sum())
        counts[np.argsort(-wanted)[:short]] += 1
        cell = np.repeat(np.arange(self.cell_count), counts)
        n = len(cell)
        sector, place = self.cell_sector[cell], self.cell_place[cell]
        weight = rng.pareto(1.3, n) + 0.3

        platform = np.empty(n, np.int8)
        mcc = np.empty(n, "S4")
        industry = np.full(n, "", "U8")
        for number, code in enumerate(SECTORS):
            here = np.flatnonzero(sector == number)
            share = np.array(_TRADE[code][4], float)
            platform[here] = rng.choice(len(PLATFORMS), len(here), p=share / share.sum())
            codes, classes = _codes_by_sector()[code]
            mcc[here] = rng.choice(np.array(codes, "S4"), len(here))
            if classes:
                some = here[rng.random(len(here)) < 0.3]
                industry[some] = rng.choice(np.array(classes), len(some))

        chance = rng.random(n)
        registered = chance >= 0.05
        sends_codes = ~registered | (rng.random(n) < 0.12)
        nobody = chance < 0.002  # neither registered nor telling
        sends_codes &= ~nobody
        # what the registry says of the trade: industry alone, industry and MCC, MCC, nothing
        says_industry = (industry != "") & registered
        says_mcc = registered & ~(says_industry & (rng.random(n) < 0.5))
        silent = registered & ~says_industry & (rng.random(n) < 0.02)
        says_mcc &= ~silent
        sends_codes |= silent

        old = np.array([code in districts_.ENDED for code in places()])[place]
        form = np.where(old & registered, 1 + np.searchsorted([0.55, 0.9, 0.98], rng.random(n)), 0)
        sends_codes |= form == 3

        # small ones only: a big one would remake a small county
        moves = (rng.random(n) < 0.03) & (weight < 0.6) & registered & ~old
        move_to = rng.choice(np.flatnonzero(~np.isin(places(), list(districts_.ENDED))), n)
        move_day = rng.integers(day_number(date(2024, 3, 1)), day_number(date(2026, 10, 1)), n)
        moved = np.where(moves & (move_to != place), move_day, _NEVER)
        starts = np.where(
            (rng.random(n) < 0.01) & registered & (moved == _NEVER) & (form == 0),
            rng.integers(day_number(date(2024, 2, 1)), day_number(date(2026, 6, 1)), n),
            day_number(FIRST_DAY),
        )
        ends = np.where(
            (rng.random(n) < 0.005) & registered & (moved == _NEVER) & (form == 0)
            & (starts == day_number(FIRST_DAY)),
            rng.integers(day_number(date(2025, 1, 1)), day_number(date(2026, 10, 1)), n),
            _NEVER,
        )  # fmt: skip
        serial = rng.permutation(n)
        ids = np.array([b"5500%07d" % s for s in serial], "S11")
        ids = np.char.add(ids, mcc)
        return {
            "cell": cell, "sector": sector, "place": place, "weight": weight, "platform": platform,
            "mcc": mcc, "industry": industry, "registered": registered, "sends_codes": sends_codes,
            "says_industry": says_industry, "says_mcc": says_mcc, "form": form, "moved": moved,
            "move_to": np.where(moved < _NEVER, move_to, place), "starts": starts, "ends": ends,
            "id": ids.astype("S15"), "group": np.where(rng.random(n) < 0.15, rng.integers(1, 240, n), 0),
            "digital": rng.random(n) < 0.04, "green": rng.random(n) < 0.03,
            "online": np.array([0.25, 0.7, 0.9, 0.95])[platform], "says_after": rng.random(n) < 0.5,
        }  # fmt: skip

    @cached_property
    def slots(self) -> npt.NDArray[np.int32]:
        """A row a cell, 2^k columns: merchants as often as they trade, each of the cell once at least."""
        cell, weight = self.columns["cell"], self.columns["weight"]
        first = np.searchsorted(cell, np.arange(self.cell_count + 1))
        width = 1 << int(2 * np.diff(first).max() - 1).bit_length()
        table = np.empty((self.cell_count, width), np.int32)
        for number in range(self.cell_count):
            low, high = first[number], first[number + 1]
            share = weight[low:high]
            ends = np.floor(np.cumsum(share) / share.sum() * (width - (high - low))).astype(
                np.int64
            )
            times = np.diff(ends, prepend=0) + 1
            times[-1] += width - times.sum()
            table[number] = np.repeat(np.arange(low, high), times)
        return table

    @cached_property
    def sent_codes(self) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.bytes_]]:
        """The district code that a merchant's entries name before and after the division change."""
        before = np.array(places(), "S6")
        after = np.array([districts_.ENDED.get(code, code) for code in places()], "S6")
        place = self.columns["move_to"]
        newer = np.where(self.columns["says_after"], after[place], before[place])
        return before[self.columns["place"]], newer

    def registry(self) -> list[dict[str, str]]:
        """The registry as rows of `PUT /v1/merchants`."""
        c = self.columns
        change = districts_.CHANGE_DATE
        rows: list[dict[str, str]] = []
        for i in np.flatnonzero(c["registered"]).tolist():
            base = {"platform_id": PLATFORMS[c["platform"][i]], "merchant_id": c["id"][i].decode()}
            trade = {}
            if c["says_mcc"][i]:
                trade["mcc"] = c["mcc"][i].decode()
            if c["says_industry"][i]:
                trade["industry"] = str(c["industry"][i])
            if c["group"][i]:
                trade["group_id"] = f"chain-{c['group'][i]:03d}"

            def span(code: str, first: date, last: date | None = None) -> None:
                row = {**base, "district_code": code, **trade, "valid_from": first.isoformat()}  # noqa: B023
                if last is not None:
                    row["valid_to"] = last.isoformat()
                rows.append(row)

            code = places()[c["place"][i]]
            form = c["form"][i]
            if form == 2:  # two spans, as the change went
                span(code, FIRST_DAY, change - timedelta(days=1))
                span(districts_.ENDED[code], change)
            elif form == 3:  # registered only after the change
                span(districts_.ENDED[code], change)
            elif form == 4 and c["weight"][i] < 1:  # the new code for all time: 000000 before
                span(districts_.ENDED[code], FIRST_DAY)
            elif c["moved"][i] < _NEVER:
                day = day_of(int(c["moved"][i]))
                span(code, FIRST_DAY, day - timedelta(days=1))
                span(places()[c["move_to"][i]], day)
            else:  # form 1: the old code without end, which the division change resolves
                last = day_of(int(c["ends"][i])) if c["ends"][i] < _NEVER else None
                span(code, day_of(int(c["starts"][i])), last)
        return rows


@cache
def city(seed: int = 1, merchants: int = 20_000) -> City:
    return City(seed, merchants)
