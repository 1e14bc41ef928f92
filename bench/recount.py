"""Every cell of `/v1/cells` beside what was pushed: how many differ, and by how much."""

from __future__ import annotations

import http.client
import io
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from bench.expected import FIGURES, Expected
from bench.rows import ALL_PLATFORMS, DISTRICTS, SECTORS

DAYS_IN_DAYS = 40
"""A longer range is compared by month: by day it would be millions of rows of text."""
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Recount:
    cells: int
    differing: int
    entries: int
    entries_expected: int
    difference_fen: int

    @property
    def ok(self) -> bool:
        return self.differing == 0 and self.entries == self.entries_expected

    def __str__(self) -> str:
        said = f"{self.cells:,} cells, {self.entries:,} entries"
        if self.ok:
            return f"{said}: equal to the fen"
        return (
            f"{said}: {self.differing:,} cells differ, {self.difference_fen:,} fen in all,"
            f" {self.entries_expected:,} entries expected"
        )


def compare(host: str, port: int, token: str, expected: Expected) -> Recount:
    """Asks the gateway for all cells. Raises OSError or ValueError where it does not answer as it should."""
    used = np.flatnonzero(expected.figures["entries"].reshape(expected.shape[0], -1).any(axis=1))
    days = [_EPOCH + timedelta(days=expected.first_day + int(n)) for n in used[[0, -1]]]
    grain = "day" if (days[1] - days[0]).days < DAYS_IN_DAYS else "month"
    first = days[0] if grain == "day" else days[0].replace(day=1)
    table = _cells(host, port, token, first, days[1], grain)
    periods = [
        (_EPOCH + timedelta(days=expected.first_day + n)).isoformat()[: 10 if grain == "day" else 7]
        for n in range(expected.shape[0])
    ]
    names = tuple(dict.fromkeys(periods))
    shape = (len(names), *expected.shape[1:])
    places = [
        pc.index_in(table[column], pa.array(values)).fill_null(-1).to_numpy()
        for column, values in zip(
            ("period", "district", "sector", "platform"),
            (names, DISTRICTS, SECTORS, ALL_PLATFORMS),
            strict=True,
        )
    ]
    foreign = int((np.minimum.reduce(places) < 0).sum())
    if foreign:
        return Recount(table.num_rows, foreign, -1, expected.entries, 0)
    at = np.ravel_multi_index(tuple(places), shape)
    starts = np.array([periods.index(name) for name in names])
    differs = np.zeros(int(np.prod(shape)), np.bool_)
    wrong_fen = 0
    for name in FIGURES:
        found = np.zeros(len(differs), np.int64)
        np.add.at(found, at, table[name].to_numpy())
        want = np.add.reduceat(expected.figures[name].reshape(expected.shape), starts, axis=0)
        apart = np.abs(found - want.reshape(-1))
        differs |= apart != 0
        if name == "net_fen":
            wrong_fen = int(apart.sum())
    entries = int(pc.sum(table["entries"]).as_py() or 0)
    return Recount(table.num_rows, int(differs.sum()), entries, expected.entries, wrong_fen)


def _cells(host: str, port: int, token: str, first: date, last: date, grain: str) -> pa.Table:
    query = f"from={first}&to={last}&grain={grain}&group_by=district,sector,platform&format=csv"
    connection = http.client.HTTPConnection(host, port, timeout=300)
    try:
        connection.request(
            "GET", f"/v1/cells?{query}", headers={"Authorization": f"Bearer {token}"}
        )
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"/v1/cells: HTTP {answer.status}: {body[:300]!r}")
    kinds = dict.fromkeys(("period", "district", "sector", "platform"), pa.string())
    options = pa.csv.ConvertOptions(
        column_types={**kinds, **dict.fromkeys(FIGURES, pa.int64())},
        include_columns=[*kinds, *FIGURES],
    )
    return pa.csv.read_csv(io.BytesIO(body), convert_options=options)
