"""Entries by number: a row is a pure function of its number, so nothing that was pushed has to be kept. Vectorised."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from contracts.days import DAY_MS, SHANGHAI_MS
from simulation.draws import bits, draw, unit

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

DIVISION_CHANGE_MS = 1_767_196_800_000
"""2026-01-01T00:00+08:00: from then on 500105 and 500112 are 500157."""

PLATFORMS = ("bench-a", "bench-b", "bench-c", "bench-d")
SAMPLE = "bench-sample"
"""Sends every `SAMPLE_EVERY`th row where there is a sample: what the table per event counts too."""
SAMPLE_EVERY, SAMPLE_AT = 50, 7
ALL_PLATFORMS = (*PLATFORMS, SAMPLE)

BAD_EVERY, BAD_AT = 200, 11
"""0.5 % of the rows are bad where there are bad ones."""

KINDS = ("sale", "refund", "sale_reversal", "refund_reversal")
_SEED = 20_26
_PICK, _WHAT, _WHEN, _REGISTRY = range(4)


def _reference(name: str) -> list[dict[str, str]]:
    text = (files("yumai") / "reference" / name).read_text(encoding="utf-8-sig")
    return list(csv.DictReader(text.splitlines()))


def _codes() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Up to six MCCs of every sector, and the sector of each."""
    of_sector: dict[str, list[str]] = {}
    for row in _reference("mcc_map.csv"):
        of_sector.setdefault(row["sector"], []).append(row["mcc"])
    pairs = [(mcc, sector) for sector in sorted(of_sector) for mcc in of_sector[sector][:6]]
    return tuple(mcc for mcc, _ in pairs), tuple(sector for _, sector in pairs)


DISTRICTS = ("000000", *sorted(row["code"] for row in _reference("districts.csv")))
MCCS, SECTOR_OF = _codes()
SECTORS = tuple(sorted(set(SECTOR_OF)))
_SECTOR_INDEX: Ints = np.array([SECTORS.index(sector) for sector in SECTOR_OF], np.int64)
_NEW, _OLD = DISTRICTS.index("500157"), [DISTRICTS.index(code) for code in ("500105", "500112")]


def _skewed(count: int, first: int) -> Ints:
    """65,536 numbers from `first` on: a table that makes 16 random bits a skewed choice of `count`."""
    weights = 1 / (np.arange(count) + 4.0)
    ends = np.round(np.cumsum(weights) / weights.sum() * 65_536).astype(np.int64)
    return np.repeat(np.arange(first, first + count), np.diff(ends, prepend=0))


_DISTRICT_TABLE = _skewed(len(DISTRICTS) - 1, 1)
_MCC_TABLE = np.random.default_rng(_SEED).permutation(len(MCCS))[_skewed(len(MCCS), 0)]
_KIND_TABLE: Ints = np.array([0] * 246 + [1] * 7 + [2] * 2 + [3], np.int64)
_AMOUNT_TABLE: Ints = np.round(np.geomspace(100, 2_000_000, 65_536)).astype(np.int64)


@dataclass(frozen=True)
class Plan:
    """What rows there are: when they occurred, how many merchants, who decides where they are booked."""

    first_ms: int
    last_ms: int
    merchants: int
    sample: bool = False
    registered: bool = False
    """Every merchant is in the registry, which then decides district and sector."""
    bad: bool = False


@dataclass(frozen=True)
class Rows:
    """Columns of one length. District, MCC and platform are places in the tuples above."""

    plan: Plan
    number: Ints
    platform: Ints
    merchant: Ints
    occurred_ms: Ints
    kind: Ints
    """Place in KINDS."""
    amount_fen: Ints
    district: Ints
    mcc: Ints

    def __len__(self) -> int:
        return len(self.number)

    @cached_property
    def bad(self) -> Mask:
        if not self.plan.bad:
            return np.zeros(len(self), np.bool_)
        return self.number % BAD_EVERY == BAD_AT

    def where(self, rows: Mask | slice) -> Rows:
        columns = (
            self.number, self.platform, self.merchant, self.occurred_ms,
            self.kind, self.amount_fen, self.district, self.mcc,
        )  # fmt: skip
        return Rows(self.plan, *(column[rows] for column in columns))

    def booked(self) -> tuple[Ints, Ints, Ints]:
        """Day since 1970 in Shanghai, place in DISTRICTS, place in SECTORS: by the contract, recounted here."""
        district, mcc = self.district, self.mcc
        if self.plan.registered:
            district, mcc = registry(self.platform, self.merchant)
        after = self.occurred_ms >= DIVISION_CHANGE_MS
        moved = np.where(np.isin(district, _OLD) & after, _NEW, district)
        moved = np.where((district == _NEW) & ~after, 0, moved)
        return (self.occurred_ms + SHANGHAI_MS) // DAY_MS, moved, _SECTOR_INDEX[mcc]


def registry(platform: Ints, merchant: Ints) -> tuple[Ints, Ints]:
    """Where a merchant is and what it does, as the registry says: district and MCC."""
    found = draw(_SEED, _REGISTRY, 0, (merchant * 64 + platform).astype(np.uint64))
    return _DISTRICT_TABLE[bits(found, 0, 16)], _MCC_TABLE[bits(found, 16, 16)]


def rows(plan: Plan, first: int, count: int, step: int = 1) -> Rows:
    """The rows `first`, `first + step`, …, so many."""
    number = np.arange(first, first + count * step, step, dtype=np.int64)
    key = number.astype(np.uint64)
    pick, what = draw(_SEED, _PICK, 0, key), draw(_SEED, _WHAT, 0, key)
    platform = bits(pick, 32, 8) % len(PLATFORMS)
    if plan.sample:
        platform = np.where(number % SAMPLE_EVERY == SAMPLE_AT, len(PLATFORMS), platform)
    span = plan.last_ms - plan.first_ms
    return Rows(
        plan,
        number,
        platform,
        bits(what, 0, 24) * (plan.merchants // len(PLATFORMS)) >> 24,
        plan.first_ms + (unit(draw(_SEED, _WHEN, 0, key)) * span).astype(np.int64),
        _KIND_TABLE[bits(pick, 40, 8)],
        _AMOUNT_TABLE[bits(what, 24, 16)],
        _DISTRICT_TABLE[bits(pick, 0, 16)],
        _MCC_TABLE[bits(pick, 16, 16)],
    )
