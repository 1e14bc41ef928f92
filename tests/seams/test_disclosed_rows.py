"""What the store shows a district is what the plain rule says, on the real engine: random books, row by row."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from tests.disclosed import Books, atoms, inside, row_of, rows
from tests.seams.test_gateway import CELLS, SHANGHAI
from yumai.store import disclosure
from yumai.store.client import connect
from yumai.store.disclosure import Closed
from yumai.store.figures import Filter
from yumai.store.migrate import migrate

DISTRICT = "500101"
SECTORS = ("S01", "S02", "G00")
START, DAYS = date(2023, 11, 1), 100


def random_books(seed: int, many: int) -> Books:
    draw = random.Random(seed)
    found: Books = {}
    for _ in range(many):
        day = START + timedelta(days=draw.randrange(DAYS))
        recorded = day + timedelta(days=draw.choice([0, 0, 0, 1, 1, 2, 5, 31, 70, 400]))
        cell = (day, draw.choice(SECTORS[: draw.choice([1, 3])]), recorded)
        found[cell] = draw.choice([1, 1, 1, 2, 2, 3, 6])
    return found


def amount(number: int) -> int:
    """Different for each base cell, and no sum of few others."""
    return 7**number % 10**12


@pytest.fixture(scope="module", params=[(1, 30), (2, 400)])
def kept(request, store) -> Iterator[tuple[Client, Books]]:
    seed, many = request.param
    books = random_books(seed, many)
    dsn = f"{store}/disclosed{seed}"
    migrate(dsn)
    client = connect(dsn)
    draw = random.Random(seed)
    lines = []
    for number, ((day, sector, recorded), entries) in enumerate(sorted(books.items())):
        # A base cell lies in several hours, platforms and partial cells.
        for part in range(entries):
            at = datetime(day.year, day.month, day.day, draw.randrange(24), tzinfo=SHANGHAI)
            key = [at.astimezone(UTC), recorded, int(DISTRICT), sector, draw.choice(["p1", "p2"])]
            lines.append([*key, 1, 0, number * 10 + part, 1, 1, amount(number), 0, 0, 0])
            lines.append(
                [key[0], recorded, 500102, *key[3:], 1, 0, number * 10 + part, 1, 1, 1, 0, 0, 0]
            )
    client.insert("cells", lines, CELLS)
    yield client, books
    client.close()


def asked(client: Client, query: Any) -> list[dict]:
    return list(client.query(query.sql, query.parameters).named_results())


def ends(books: Books) -> list[date | None]:
    recorded = sorted({cell[2] for cell in books})
    return [None, recorded[len(recorded) // 2], date(2023, 12, 31), date(2026, 1, 1)]


@pytest.mark.parametrize("grain", ["day", "month", "year"])
@pytest.mark.parametrize("group_by", [(), ("sector",)])
def test_the_store_adds_up_what_the_rule_adds_up(kept, grain, group_by):
    client, books = kept
    fen = {cell: amount(n) * books[cell] for n, cell in enumerate(sorted(books))}
    key = row_of(grain, bool(group_by))
    spans = [
        (date(2023, 1, 1), date(2024, 12, 31)),
        (date(2023, 12, 1), date(2023, 12, 31)),
        (date(2023, 11, 7), date(2024, 1, 20)),
        (date(2023, 11, 20), date(2023, 11, 20)),
    ]
    marked = 0
    for closed in ends(books):
        for as_of in [None, ends(books)[1]]:
            shown = atoms(books, closed, as_of, grain == "day")
            for (first, last), sectors in [*((span, None) for span in spans), (spans[2], ("S01",))]:
                asked_for = inside(first, last, sectors)
                known = [c for c in books if asked_for(c) and (as_of is None or c[2] <= as_of)]
                expected = rows(shown, asked_for, key)
                within = Filter(first, last, [DISTRICT], sectors, None, as_of)
                query = disclosure.cells(within, grain, group_by, Closed(closed))
                got = {(r["period"], r.get("sector", "")): r for r in asked(client, query)}
                assert set(got) == {key(cell) for cell in known}
                for name, row in got.items():
                    cells = expected.get(name, set())
                    left_out = [c for c in known if key(c) == name and c not in cells]
                    assert row["net_fen"] == (sum(fen[c] for c in cells) if cells else None)
                    assert row["entries"] == (sum(books[c] for c in cells) if cells else None)
                    assert row["suppressed"] == bool(left_out)
                    marked += row["suppressed"]
    assert marked


def test_a_year_that_is_over_is_shown_but_for_three_entries_a_sector(kept):
    client, books = kept
    within = Filter(date(2023, 1, 1), date(2023, 12, 31), [DISTRICT])
    query = disclosure.cells(within, "year", ("sector",), Closed(date(2026, 1, 1)))
    for row in asked(client, query):
        whole = sum(n for c, n in books.items() if c[0].year == 2023 and c[1] == row["sector"])
        assert 0 <= whole - (row["entries"] or 0) <= 3


@pytest.mark.parametrize("grain", ["hour", "day", "month", "year"])
def test_days_beyond_what_the_store_knows_are_no_error(kept, grain):
    client, books = kept
    within = Filter(date.min, date.max, [DISTRICT], None, None, date.max)
    found = asked(client, disclosure.cells(within, grain, (), Closed(date(9999, 1, 1))))
    assert {row["period"][:4] for row in found} == {str(cell[0].year) for cell in books}
