"""What a district is shown of its own books, on the real engine: nothing that tells of fewer than three entries."""

import csv
import io
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import product

import pytest

from tests.disclosed import atoms
from tests.seams.test_gateway import BUCKETS, CELLS, SHANGHAI, World, book_progress, world
from yumai.store.client import connect

OWN = "500101"
DAY, DISTRICT, SECTOR, PLATFORM, RECORDED, ENTRIES, FEN = range(7)
FIGURES = ("net_fen", "sales_fen", "refunds_fen", "entries")
YEAR = datetime.now(SHANGHAI).year
TODAY = datetime.now(SHANGHAI).date()


def few_cells(seed: int) -> list[tuple]:
    """(hour, district, sector, platform, recorded, entries, fen) of a few days: many stand on one or two entries."""
    draw = random.Random(seed)
    found = []
    for number in range(260):
        hour = datetime(YEAR, 1, 1, tzinfo=SHANGHAI) + timedelta(hours=draw.randrange(24 * 6))
        recorded = max(hour.date(), date(YEAR, 1, draw.choice([1, 3, 7])))
        where = (draw.choice([500101, 500102]), draw.choice(["S01", "S02", "G00"]))
        # A power of two of its own: which cells a sum is made of can be read from it.
        found.append(
            (
                hour,
                *where,
                draw.choice(["p1", "p2"]),
                recorded,
                draw.choice([1, 1, 2, 3, 5]),
                3**number % 10**9,
            )
        )
    return found


def _cell(year: int, sector: str, recorded_day: int, entries: int, fen: int) -> list:
    at, recorded = datetime(year, 1, 1, tzinfo=SHANGHAI), date(year, 1, recorded_day)
    return [at, recorded, 500104, sector, "p1", 1, 0, year, 1, entries, fen, 0, 0, 0]


# S01 is shown whole in both years, of S02 half of last year is left out, of S03 all of this year.
TWO_YEARS = [
    _cell(YEAR - 1, "S01", 1, 5, 700),
    _cell(YEAR, "S01", 1, 5, 900),
    _cell(YEAR - 1, "S02", 1, 3, 700),
    _cell(YEAR - 1, "S02", 2, 2, 77_777),
    _cell(YEAR, "S02", 1, 5, 900),
    _cell(YEAR, "S03", 1, 2, 77_777),
]


@pytest.fixture(scope="module")
def rows() -> list[tuple]:
    return few_cells(5)


@pytest.fixture(scope="module")
def gateway(kafka, store, tmp_path_factory, rows) -> Iterator[World]:
    with world(kafka, store, tmp_path_factory.mktemp("disclosure")) as made:
        client = connect(made.dsn)
        client.insert(
            "cells",
            [
                [r[DAY], r[RECORDED], r[DISTRICT], r[SECTOR], r[PLATFORM], 1, 0, n, 1]
                + [r[ENTRIES], r[FEN], 0, 0, 0]
                for n, r in enumerate(rows)
            ],
            CELLS,
        )
        at = datetime(YEAR, 1, 2, 9, tzinfo=SHANGHAI)
        one = [at, at.date(), 500103, "S05", "p1", 1, 0, 9_999, 1, 1, 99_999_99, 0, 0, 0]
        client.insert("cells", [one], CELLS)
        client.insert("cells", TWO_YEARS, CELLS)
        client.close()
        book_progress(made.dsn, [datetime.now(UTC)] * 2)
        yield made


def base(row: tuple) -> tuple:
    return row[DAY].date(), row[DISTRICT], row[SECTOR], row[RECORDED]


def of_hour(row: tuple) -> int:
    return row[DAY].hour


def of_platform(row: tuple) -> str:
    return row[PLATFORM]


def least(rows: list[tuple], *sliced: Callable) -> dict[tuple, int]:
    """Of each base cell the entries of its smallest slice."""
    counts: dict[tuple, dict[tuple, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        counts[base(row)][tuple(of(row) for of in sliced)] += row[ENTRIES]
    return {cell: min(slices.values()) for cell, slices in counts.items()}


def shown_slices(rows: list[tuple], sliced: set[Callable]) -> list[set[tuple]]:
    """Slices of base cells, each as the set of its rows: hours lie within platforms where both are shown."""
    hours, platforms, both = (
        least(rows, *of) for of in ((of_hour,), (of_platform,), (of_hour, of_platform))
    )
    found: dict[tuple, set[tuple]] = defaultdict(set)
    for row in rows:
        cell = base(row)
        if sliced == {of_hour}:
            fine = both[cell] >= 3 or (hours[cell] >= 3 > platforms[cell])
        else:
            fine = (platforms if sliced == {of_platform} else both)[cell] >= 3
        if fine:
            found[cell, *(of(row) for of in sliced)].add(row)
    return list(found.values())


def asked(gateway: World, role: str, **query: str) -> list[dict]:
    answer = gateway.get("/v1/cells", role=role, **{"from": f"{YEAR}-01-01"}, **query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


@pytest.mark.parametrize(
    ("grain", "group_by", "platform", "as_of"),
    [
        *product(BUCKETS, ["", "sector", "platform", "platform,sector"], [""], [""]),
        *product(["hour", "day", "year"], ["", "sector"], ["p1"], ["", f"{YEAR}-01-03"]),
        *product(["day", "month", "year"], ["sector"], [""], [f"{YEAR}-01-03"]),
    ],
)
def test_a_districts_figures_are_sums_of_three_entries_and_more(
    gateway, rows, grain, group_by, platform, as_of
):
    own = [r for r in rows if r[DISTRICT] == 500101]
    if as_of:
        own = [r for r in own if r[RECORDED] <= date.fromisoformat(as_of)]
    sliced = {of_hour} if grain == "hour" else set()
    if platform or "platform" in group_by:
        sliced.add(of_platform)
    names = [n for n in ("sector", "platform") if n in group_by]
    key = lambda r: (  # noqa: E731
        BUCKETS[grain](r[DAY]),
        *(r[{"sector": SECTOR, "platform": PLATFORM}[n]] for n in names),
    )
    together = shown_slices(own, sliced) if sliced else whole_atoms(own, grain, as_of)
    expected: dict[tuple, list] = {}
    for row in own:
        if platform and row[PLATFORM] != platform:
            continue
        of = expected.setdefault(key(row), [None, None, False])
        if any(row in atom and len({key(r) for r in atom}) == 1 for atom in together):
            of[0] = (of[0] or 0) + row[FEN]
            of[1] = (of[1] or 0) + row[ENTRIES]
        else:
            of[2] = True
    query = {"grain": grain, "group_by": group_by}
    query |= {"platform": platform} if platform else {}
    query |= {"as_of": as_of} if as_of else {}
    got = {}
    for cell in asked(gateway, f"district:{OWN}", **query):
        assert set(cell) == {"period", *names, *FIGURES, "suppressed"}
        assert cell["entries"] is None or cell["entries"] >= 3
        got[(cell["period"], *(cell[n] for n in names))] = [
            cell["net_fen"],
            cell["entries"],
            cell["suppressed"],
        ]
    assert got == expected
    assert grain in ("month", "year") or any(mark for _, _, mark in got.values())


def whole_atoms(own: list[tuple], grain: str, as_of: str) -> list[set[tuple]]:
    """By the plain rule; every recorded day but today's is over."""
    rows_of: dict[tuple, set[tuple]] = defaultdict(set)
    for row in own:
        rows_of[row[DAY].date(), row[SECTOR], row[RECORDED]].add(row)
    books = {cell: sum(row[ENTRIES] for row in of) for cell, of in rows_of.items()}
    known = date.fromisoformat(as_of) if as_of else None
    shown = atoms(books, TODAY - timedelta(days=1), known, grain == "day")
    return [set().union(*(rows_of[cell] for cell in atom)) for atom in shown]


def test_an_export_hides_what_the_answer_hides(gateway):
    query = {"grain": "hour", "group_by": "sector,platform"}
    answer = asked(gateway, f"district:{OWN}", **query)
    text = gateway.get(
        "/v1/cells",
        role=f"district:{OWN}",
        format="csv",
        **{"from": f"{YEAR}-01-01"},
        **query,
    ).text
    exported = list(csv.DictReader(io.StringIO(text)))
    assert [row["net_fen"] for row in exported] == [
        "" if cell["net_fen"] is None else str(cell["net_fen"]) for cell in answer
    ]
    assert {row["suppressed"] for row in exported} == {"true", "false"}


def test_no_answer_and_a_part_of_it_differ_by_a_single_sale(gateway):
    """A total and its sectors, a longer and a shorter time, two `as_of`: three entries lie between, or none."""
    days = [f"{YEAR}-01-0{n}" for n in range(1, 8)]
    sums: dict[tuple[str, str, str], int] = {}
    for sector, as_of, last in product(("", "S01", "S02", "G00"), ("", *days), days):
        query = {"grain": "year", "to": last}
        query |= {"sector": sector} if sector else {}
        query |= {"as_of": as_of} if as_of else {}
        found = asked(gateway, f"district:{OWN}", **query)
        sums[sector, as_of, last] = (found[0]["entries"] or 0) if found else 0
    between = set()
    for sector, as_of, last in sums:
        whole = sums[sector, as_of, last]
        between |= {whole - sums[sector, as_of, before] for before in days if before < last}
        between |= {
            whole - sums[sector, known, last] for known in days if not as_of or known < as_of
        }
        if not sector:
            parts = [sums[code, as_of, last] for code in ("S01", "S02", "G00")]
            between |= {whole - sum(parts), *(whole - part for part in parts)}
    assert len(between) > 10
    assert not between & {1, 2}


def test_the_bureau_and_the_platform_itself_see_all(gateway, rows):
    whole = asked(gateway, "bureau", grain="year", district=OWN)[0]
    assert whole["net_fen"] == sum(r[FEN] for r in rows if r[DISTRICT] == 500101)
    own = asked(gateway, "platform:p1", grain="year", district=OWN)[0]
    assert own["entries"] == sum(
        r[ENTRIES] for r in rows if r[PLATFORM] == "p1" and r[DISTRICT] == 500101
    )


def test_the_overview_says_what_the_cells_say(gateway, rows):
    found = gateway.get("/v1/overview", role=f"district:{OWN}").json()["data"]
    cells = asked(gateway, f"district:{OWN}", grain="year", group_by="sector")
    services = {c["sector"]: c for c in cells if c["sector"] != "G00"}
    assert found["year"]["net_fen"] == sum(c["net_fen"] for c in services.values())
    assert found["year"]["entries"] == sum(c["entries"] for c in services.values())
    assert found["year"]["suppressed"] == any(c["suppressed"] for c in services.values())
    assert {s["code"]: s["net_fen"] for s in found["sectors"] if s["net_fen"]} == {
        code: cell["net_fen"] for code, cell in services.items()
    }
    everything = sum(r[ENTRIES] for r in rows if r[DISTRICT] == 500101 and r[SECTOR] != "G00")
    if date(YEAR, 1, 8) > TODAY:
        return  # some is not recorded yet
    assert everything - found["year"]["entries"] <= 6 * len(services)
    (progress,) = gateway.get("/v1/progress", role=f"district:{OWN}").json()["data"]
    assert progress["attained_fen"] == found["year"]["net_fen"]
    assert progress["suppressed"] == found["year"]["suppressed"]


def test_a_districts_overview_compares_two_years_that_can_be_compared(gateway):
    answer = gateway.get("/v1/overview", role="district:500104")
    found = {s["code"]: s for s in answer.json()["data"]["sectors"]}
    assert (found["S01"]["net_fen"], found["S01"]["last_year_fen"]) == (900, 700)
    assert found["S01"]["suppressed"] is False
    assert (found["S02"]["net_fen"], found["S02"]["last_year_fen"]) == (900, None)
    assert (found["S03"]["net_fen"], found["S03"]["suppressed"]) == (0, True)
    assert answer.json()["data"]["suppressed"] is True
    assert "77777" not in answer.text
    bureau = gateway.get("/v1/overview").json()["data"]
    assert "suppressed" not in bureau
    assert "suppressed" not in bureau["sectors"][0]


def test_a_year_that_stands_on_one_sale_is_hidden_in_progress_and_overview(gateway):
    role = "district:500103"
    for sector in ("S05", "*"):
        for row in gateway.get("/v1/progress", role=role, sector=sector).json()["data"]:
            assert row["attained_fen"] in (None, 0)
    (row,) = gateway.get("/v1/progress", role=role).json()["data"]
    assert (row["attained_fen"], row["nowcast_fen"], "suppressed" in row["guards"]) == (
        None,
        None,
        True,
    )
    overview = gateway.get("/v1/overview", role=role)
    assert "9999999" not in overview.text
    (row,) = gateway.get("/v1/progress", district="500103").json()["data"]
    assert row["attained_fen"] == 99_999_99
