"""Daily sums of a year by district × sector × platform, as arrays. Pure.

A line is one (district, sector, platform) that had sales; its days are Shanghai's. Sums of a line and
day are exact: Int64 where all of a year together is far from its end, Python's integers where not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from yumai.methods.festival import days_of

Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
_EPOCH = date(1970, 1, 1)
GOODS = 100


@dataclass(frozen=True)
class Year:
    """`fen[line, day]` and `counted[line, day]` (entries); the other three name the lines."""

    year: int
    district: Ints
    sector: Ints
    platform: npt.NDArray[np.str_]
    fen: Ints
    counted: Counts

    @property
    def days(self) -> int:
        return days_of(self.year)

    def until(self, day: int) -> Year:
        """Only what occurred on the first `day` days."""
        if day >= self.days:
            return self
        fen, counted = self.fen.copy(), self.counted.copy()
        fen[:, day:] = 0
        counted[:, day:] = 0
        return Year(self.year, self.district, self.sector, self.platform, fen, counted)

    @property
    def services(self) -> Bools:
        return self.sector != GOODS


def empty(year: int) -> Year:
    none = np.zeros(0, dtype=np.int64)
    days = np.zeros((0, days_of(year)), dtype=np.int64)
    return Year(year, none, none, np.zeros(0, dtype=np.str_), days, days.astype(np.int32))


def of_table(table: pa.Table, years: Iterable[int]) -> dict[int, Year]:
    """From the rows of `reads.daily`; a year without rows is there all the same."""
    found = {year: empty(year) for year in years}
    if not table.num_rows:
        return found
    district = _ints(table, "district")
    sector = _ints(table, "number")
    names = table.column("name").combine_chunks().cast(pa.string()).dictionary_encode()
    if isinstance(names, pa.ChunkedArray):
        names = names.combine_chunks()
    platforms = np.array([str(name) for name in names.dictionary.to_pylist()], dtype=np.str_)
    platform = names.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    day = _ints(table, "day")
    fen, counted = _fen(table), _ints(table, "counted")
    for year in found:
        first = (date(year, 1, 1) - _EPOCH).days
        inside = (day >= first) & (day < first + days_of(year))
        if not inside.any():
            continue
        key = (district[inside] * 1_000 + sector[inside]) * len(platforms) + platform[inside]
        lines, place = np.unique(key, return_inverse=True)
        shape = (len(lines), days_of(year))
        sums, numbers = np.zeros(shape, dtype=fen.dtype), np.zeros(shape, dtype=np.int32)
        sums[place, day[inside] - first] = fen[inside]
        numbers[place, day[inside] - first] = counted[inside]
        rest, which = np.divmod(lines, len(platforms))
        found[year] = Year(
            year, rest // 1_000, rest % 1_000, platforms[which], _wide(sums), numbers
        )
    return found


def _ints(table: pa.Table, name: str) -> Ints:
    return table.column(name).to_numpy().astype(np.int64)


def _fen(table: pa.Table) -> npt.NDArray:
    column = table.column("net_fen")
    try:
        return column.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        return np.array([int(fen) for fen in column.to_pylist()], dtype=object)


def _wide(fen: npt.NDArray) -> npt.NDArray:
    """Python's integers where sums over two years could leave Int64."""
    if fen.dtype == object or np.abs(fen.astype(np.float64)).sum() < 2.0**61:
        return fen
    return fen.astype(object)


def replaced(year: Year, fresh: Year, days: Sequence[int]) -> Year:
    """`year` with some of its days (0-based) as `fresh` has them."""
    keys = [*zip(year.district.tolist(), year.sector.tolist(), year.platform.tolist(), strict=True)]
    place = {key: number for number, key in enumerate(keys)}
    news = [
        *zip(fresh.district.tolist(), fresh.sector.tolist(), fresh.platform.tolist(), strict=True)
    ]
    for key in news:
        if key not in place:
            place[key] = len(keys)
            keys.append(key)
    fen = np.zeros((len(keys), year.days), dtype=np.result_type(year.fen, fresh.fen))
    counted = np.zeros((len(keys), year.days), dtype=np.int32)
    fen[: len(year.fen)], counted[: len(year.fen)] = year.fen, year.counted
    changed = np.asarray(days, dtype=np.int64)
    fen[:, changed], counted[:, changed] = 0, 0
    rows = np.array([place[key] for key in news], dtype=np.int64)
    if len(rows):
        fen[np.ix_(rows, changed)] = fresh.fen[:, changed]
        counted[np.ix_(rows, changed)] = fresh.counted[:, changed]
    return Year(
        year.year,
        np.array([key[0] for key in keys], dtype=np.int64),
        np.array([key[1] for key in keys], dtype=np.int64),
        np.array([key[2] for key in keys], dtype=np.str_),
        _wide(fen),
        counted,
    )


def first_day(years: Mapping[int, Year]) -> date | None:
    """The first day with an entry in any line: before it nothing is known."""
    for number in sorted(years):
        found = np.flatnonzero(years[number].counted.any(axis=0))
        if len(found):
            return date.fromordinal(date(number, 1, 1).toordinal() + int(found[0]))
    return None
