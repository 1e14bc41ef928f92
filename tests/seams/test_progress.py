"""Targets, progress and feeds over HTTP, on the real engine and the real broker."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from console.cli import main
from tests import documented
from tests.seams.test_gateway import CELLS, SHANGHAI, World, book_progress, world
from yumai.broker import target_log
from yumai.districts import districts_of
from yumai.store.client import connect
from yumai.targets import plan

TODAY = datetime.now(SHANGHAI).date()
YEAR = TODAY.year
PAST = YEAR - 1


def put(at: World, rows: Any, role: str = "bureau", name: str | None = None) -> httpx.Response:
    token = at.identity.issue_token(role, name)
    body = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
    answer = httpx.put(
        f"{at.url}/v1/targets",
        content=body,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        timeout=60,
    )
    documented.check("gateway", answer)
    return answer


def cell(
    day: date,
    district: str,
    sector: str,
    platform: str,
    fen: int,
    *,
    recorded: date | None = None,
    block: int = 0,
    entries: int = 20,
) -> list[Any]:
    period = datetime(day.year, day.month, day.day, 10, tzinfo=SHANGHAI)
    return [
        period,
        recorded or day,
        int(district),
        sector,
        platform,
        1,
        0,
        block,
        block * 1024,
        entries,
        fen,
        0,
        0,
        0,
    ]


def book(at: World, rows: list[list[Any]], block: int) -> None:
    client = connect(at.dsn)
    client.insert("cells", rows, column_names=CELLS)
    client.insert(
        "blocks",
        [[1, 0, block, block * 1024, len(rows), 0, 1, 1, datetime.now(UTC)]],
        ["epoch", "part", "block", "last_offset", "entries", "net_fen", "complete"]
        + ["function_version", "written_at"],
    )
    client.close()


def sold(year: int, district: str, day: date) -> int:
    """A smooth year: every district sells the same, a little more each year."""
    return int((1_000_000 + 1_000 * day.timetuple().tm_yday) * 1.04 ** (year - YEAR))


@pytest.fixture(scope="module")
def at(kafka: str, store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(kafka, store, tmp_path_factory.mktemp("progress")) as made:
        target_log.seed(kafka)
        rows = []
        for year in (YEAR - 3, YEAR - 2, PAST, YEAR):
            day = date(year, 1, 1)
            while day.year == year and day <= TODAY:
                for district in districts_of(year):
                    rows.append(cell(day, district, "S01", "p1", sold(year, district, day)))
                    rows.append(cell(day, district, "S05", "p2", sold(year, district, day) // 4))
                rows.append(cell(day, "500101", "G00", "p1", sold(year, "500101", day) * 60))
                day += timedelta(days=1)
        # A platform that joined a district this year.
        day = date(YEAR, 1, 1)
        while day <= TODAY:
            rows.append(cell(day, "500101", "S01", "new", 77_777))
            day += timedelta(days=1)
        for low in range(0, len(rows), 50_000):
            book(made, rows[low : low + 50_000], low // 50_000)
        now = datetime.now(UTC)
        book_progress(made.dsn, [now, now])
        yield made


def last_year(district: str | None, sector: str | None = None) -> int:
    codes = districts_of(PAST) if district is None else [district]
    total = 0
    for n in range((date(YEAR, 1, 1) - date(PAST, 1, 1)).days):
        day = date(PAST, 1, 1) + timedelta(days=n)
        for code in codes:
            if sector in (None, "S01"):
                total += sold(PAST, code, day)
            if sector in (None, "S05"):
                total += sold(PAST, code, day) // 4
    return total


def test_the_plans_targets_are_there_from_the_start(at: World):
    data = at.get("/v1/targets", district="city").json()["data"]
    by_year = {row["year"]: row for row in data if row["sector"] is None}
    assert (by_year[2027]["value"], by_year[2027]["basis"], by_year[2027]["by"]) == (
        0.4,
        "plan",
        "system",
    )
    assert (by_year[2035]["value"], by_year[2035]["basis"]) == (0.45, "plan")
    assert all(by_year[y]["basis"] == "path" for y in range(2028, 2035))
    assert by_year[2030]["target_fen"] is None
    assert target_log.seed(at.kafka) == 0


def test_a_growth_is_resolved_on_last_years_books_and_kept_with_its_history(at: World):
    first = put(
        at, [{"year": YEAR, "district": "500102", "sector": None, "form": "growth", "value": 0.06}]
    )
    assert first.status_code == 200, first.text
    (row,) = first.json()["data"]
    base = last_year("500102")
    assert row["base_fen"] == base
    assert row["target_fen"] == (base * 106 + 50) // 100
    # The broker is the session's: another module may have set this target before.
    mine = row["version"]
    assert row["by"] == "bureau"
    again = put(
        at, [{"year": YEAR, "district": "500102", "sector": None, "form": "growth", "value": 0.06}]
    )
    assert again.json()["data"][0]["version"] == mine
    named = put(
        at,
        [{"year": YEAR, "district": "500102", "sector": None, "form": "amount", "value": 5}],
        name="李",
    )
    assert (named.json()["data"][0]["version"], named.json()["data"][0]["by"]) == (mine + 1, "李")
    (held,) = at.get("/v1/targets", year=str(YEAR), district="500102").json()["data"]
    assert [(v["version"], v["by"], v["form"]) for v in held["history"]][-2:] == [
        (mine, "bureau", "growth"),
        (mine + 1, "李", "amount"),
    ]
    before = (TODAY - timedelta(days=1)).isoformat()
    assert at.get("/v1/targets", district="500102", as_of=before).json()["data"] == []


def test_wrong_rows_are_named_and_nothing_is_set(at: World):
    rows = [
        {"year": YEAR, "district": "500103", "form": "amount", "value": 1},
        {"year": YEAR, "district": "500105", "form": "amount", "value": 1},
        {"year": PAST, "district": "500103", "form": "share", "value": 0.4},
    ]
    answer = put(at, rows)
    assert answer.status_code == 422
    assert [(e["index"], e["field"]) for e in answer.json()["errors"]] == [
        (1, "district"),
        (2, "form"),
    ]
    assert at.get("/v1/targets", year=str(YEAR), district="500103").json()["data"] == []
    assert put(at, b"{").status_code == 400
    assert put(at, {"year": 1}).status_code == 422
    assert put(at, rows[:1], role="district:500103").status_code == 403
    assert at.get("/v1/targets", role=None).status_code == 401


def test_a_district_reads_its_own_targets_only(at: World):
    assert at.get("/v1/targets", role="district:500103", district="500102").status_code == 403
    rows = at.get("/v1/targets", role="district:500102").json()["data"]
    assert {row["district"] for row in rows} <= {"500102"}


def test_progress_is_judged_like_for_like_with_the_raw_figure_beside(at: World):
    base = last_year("500101")
    put(
        at,
        [
            {"year": YEAR, "district": "500101", "form": "growth", "value": 0.04},
            {"year": YEAR, "district": "500101", "sector": "S01", "form": "growth", "value": 0.04},
            {"year": YEAR, "district": "500104", "form": "growth", "value": 0.20},
            {"year": YEAR, "district": "city", "form": "growth", "value": 0.04},
        ],
    )
    (row,) = at.get("/v1/progress", district="500101").json()["data"]
    joined = 77_777 * TODAY.timetuple().tm_yday
    booked = sum(
        sold(YEAR, "500101", date(YEAR, 1, 1) + timedelta(days=n))
        + sold(YEAR, "500101", date(YEAR, 1, 1) + timedelta(days=n)) // 4
        for n in range(TODAY.timetuple().tm_yday)
    )
    assert row["attained_fen"] == booked + joined
    assert row["comparable_fen"] == booked
    assert row["target_fen"] == (base * 104 + 50) // 100
    assert row["pace"] == pytest.approx(row["comparable_fen"] / row["expected_fen"])
    assert row["nowcast_low_fen"] <= row["nowcast_fen"] <= row["nowcast_high_fen"]
    cells = at.get("/v1/cells", district="500101", grain="year", sector="S01,S05").json()["data"]
    assert sum(c["net_fen"] for c in cells) == row["attained_fen"]


def test_every_cell_of_the_year_in_under_a_second(at: World):
    at.get("/v1/progress", district="*", sector="*")
    begun = time.perf_counter()
    answer = at.get("/v1/progress", district="*", sector="*")
    took = time.perf_counter() - begun
    data = answer.json()["data"]
    assert len(data) == (len(districts_of(YEAR)) + 1) * 14
    assert {"no_target"} == {g for row in data if not row["target_fen"] for g in row["guards"]}
    assert took < 1.0, took


def test_a_past_day_is_judged_by_what_had_occurred_then_and_the_target_is_expected_at_the_end(
    at: World,
):
    day = date(YEAR, 6, 30)
    if day >= TODAY:
        pytest.skip("the year is too young")
    (row,) = at.get("/v1/progress", district="500104", at=day.isoformat()).json()["data"]
    assert row["at"] == day.isoformat()
    assert row["level"] == "red"
    n = day.timetuple().tm_yday
    assert row["attained_fen"] == sum(
        sold(YEAR, "500104", date(YEAR, 1, 1) + timedelta(days=k))
        + sold(YEAR, "500104", date(YEAR, 1, 1) + timedelta(days=k)) // 4
        for k in range(n)
    )
    warming = at.get("/v1/progress", district="500104", at=f"{YEAR}-02-10").json()["data"][0]
    assert (warming["level"], "warming_up" in warming["guards"]) == (None, True)
    past = at.get("/v1/progress", district="500103", year=str(PAST)).json()["data"][0]
    assert past["at"] == f"{PAST}-12-31"
    tomorrow = (TODAY + timedelta(days=1)).isoformat()
    assert at.get("/v1/progress", at=tomorrow).status_code == 422
    assert at.get("/v1/progress", year=str(YEAR), at=f"{PAST}-12-31").status_code == 422
    assert at.get("/v1/progress", role="district:500104", district="500101").status_code == 403


def test_expected_never_falls(at: World):
    seen = []
    for month in range(1, TODAY.month):
        day = date(YEAR, month, 28)
        seen.append(
            at.get("/v1/progress", district="500101", at=day.isoformat()).json()["data"][0][
                "expected_fen"
            ]
        )
    assert seen == sorted(seen)


def test_the_city_knows_its_share_and_the_distance_to_the_path(at: World):
    (row,) = at.get("/v1/progress", district="city").json()["data"]
    assert 0.3 < row["share"] < 0.5
    assert row["share_path"] == plan.plan_shares()[YEAR]
    assert row["share_gap"] == pytest.approx(row["share"] - row["share_path"])


def test_a_restatement_moves_the_past_and_as_of_does_not(at: World):
    day = date(YEAR, 3, 10)
    if day >= TODAY:
        pytest.skip("the year is too young")
    asked = {"district": "500106", "at": day.isoformat()}
    before = at.get("/v1/progress", **asked).json()["data"][0]["attained_fen"]
    book(at, [cell(date(YEAR, 3, 9), "500106", "S01", "p1", 1_000, recorded=TODAY, block=900)], 900)
    after = at.get("/v1/progress", **asked).json()["data"][0]["attained_fen"]
    assert after == before + 1_000
    known = (TODAY - timedelta(days=1)).isoformat()
    then = at.get("/v1/progress", **asked, as_of=known).json()["data"][0]
    assert then["attained_fen"] == before
    assert then["guards"] == ["no_target"]


def test_feeds_are_ok_or_silent_against_their_own_rhythm(at: World):
    day = TODAY - timedelta(days=60)
    rows = []
    while day < TODAY - timedelta(days=5):
        rows.append(cell(day, "500107", "S05", "quiet", 10, entries=200))
        day += timedelta(days=1)
    book(at, [[*row[:7], 950, *row[8:]] for row in rows], 950)
    data = {row["platform_id"]: row for row in at.get("/v1/feeds").json()["data"]}
    assert data["p1"]["state"] == "ok"
    assert (data["quiet"]["state"], data["quiet"]["districts"]) == ("silent", ["500107"])
    own = at.get("/v1/feeds", role="platform:p1").json()["data"]
    assert [row["platform_id"] for row in own] == ["p1"]


def test_the_console_imports_a_sheet_and_shows_progress(
    at: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    state = tmp_path / "state"
    (state / "run").mkdir(parents=True)
    (state / "run" / "up.json").write_text(
        json.dumps({"page": at.url, "bootstrap": at.kafka, "dsn": at.dsn, "processes": []})
    )
    (state / "identity").symlink_to(at.identity._directory)
    sheet = tmp_path / "t.csv"
    sheet.write_text(f"year,district,form,value\n{YEAR},500108,growth,6%\n{YEAR},500110,amount,5\n")
    assert main(["targets", "import", str(sheet), "--state", str(state), "--json"]) == 0
    assert [r["version"] for r in json.loads(capsys.readouterr().out)["data"]] == [1, 1]
    sheet.write_text(f"year,district,form,value\n{YEAR},500108,growth,6%\n{YEAR},999999,amount,5\n")
    assert main(["targets", "import", str(sheet), "--state", str(state)]) == 1
    assert "line 3" in capsys.readouterr().err
    assert main(["progress", "--district", "500108", "--state", str(state), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["data"]
    assert row["target_fen"] == (last_year("500108") * 106 + 50) // 100
    assert main(["progress", "--state", str(state)]) == 0
    assert "500108" in capsys.readouterr().out
