"""The simulated city: the same for a seed, whatever is asked; what it says, the recount agrees to."""

import dataclasses
import hashlib
import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.cli import main
from simulation.city import EDGE, LAGGING, PLATFORMS, SECTORS, City, city
from simulation.columns import SCHEMA
from simulation.demo import pour
from simulation.demo.live import LiveStream
from simulation.demo.progress import SEED, Progress
from simulation.flow import Flow, day, flow, history
from simulation.formats import MEDIA_TYPES, render
from simulation.targets import net_by_place, targets
from tests.recount import Expected, Recount

NOW = datetime(2026, 11, 24, 4, tzinfo=UTC)
DAYS = st.dates(date(2024, 1, 1), date(2026, 11, 23))
SMALL = City(3, 2_000)


def rows_of(batch: pa.RecordBatch) -> dict[str, dict[str, object]]:
    return {str(row["entry_id"]): row for row in batch.to_pylist()}


# -- determinism --------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(DAYS, st.integers(0, 2**40), st.integers(0, 400), st.integers(0, 400))
def test_a_shorter_day_is_the_first_rows_of_a_longer(
    when: date, seed: int, one: int, other: int
) -> None:
    small = Flow(SMALL, seed)
    short, long = sorted((one, other))
    assert small.day(when, short).equals(small.day(when, long).slice(0, short))
    assert small.day(when, long).equals(Flow(SMALL, seed).day(when, long))


def test_a_day_is_the_same_whatever_range_was_asked() -> None:
    wide = dict(history(date(2025, 12, 20), date(2026, 1, 10), 20_000, 5))
    assert sum(len(batch) for batch in wide.values()) == 20_000
    for when, batch in wide.items():
        assert batch.equals(day(when, 5, len(batch)))
        assert batch.schema.equals(SCHEMA)
        batch.validate(full=True)
    assert not wide[date(2026, 1, 1)].equals(day(date(2026, 1, 1), 6, len(wide[date(2026, 1, 1)])))


def test_another_process_would_make_the_same_bytes() -> None:
    """A change of this number changes every demo and every test that counts on the seed."""
    batch = flow(1).day(date(2026, 1, 31), 1_000)
    assert hashlib.sha256(render(batch, "ndjson")).hexdigest()[:16] == "739c2a3d37294c7a"
    assert len(set(batch.column("entry_id").to_pylist())) == 1_000
    assert max(len(entry_id) for entry_id in batch.column("entry_id").to_pylist()) <= 36


# -- proportions -----------------------------------------------------------------------------------------


@cache
def spoiled() -> pa.RecordBatch:
    """A large day with repeats."""
    spoiling = dataclasses.replace(
        flow(2), late=0.02, duplicates=0.01, conflicts=0.002, since=date(2026, 1, 1)
    )
    return spoiling.day(date(2026, 1, 20), 200_000)


def test_kinds_late_entries_and_repeats_come_in_the_proportions_set() -> None:
    batch = spoiled()
    assert len(batch) == 202_400
    kinds = Counter(batch.column("kind").to_pylist())
    assert kinds["refund"] / len(batch) == pytest.approx(0.03, abs=0.002)
    assert (kinds["sale_reversal"] + kinds["refund_reversal"]) / len(batch) == pytest.approx(
        0.004, abs=0.001
    )
    assert kinds["refund_reversal"] > 0
    midnight = pa.scalar(datetime(2026, 1, 19, 16, tzinfo=UTC), pa.timestamp("ms", "UTC"))
    own = pc.starts_with(pc.utf8_slice_codeunits(batch.column("entry_id"), 9), "260120")
    sales = batch.filter(pc.and_(own, pc.equal(batch.column("kind"), "sale")))
    late = pc.sum(pc.less(sales.column("occurred_at"), midnight)).as_py() / len(sales)
    assert late == pytest.approx(0.02, abs=0.003)
    clean = dataclasses.replace(flow(2), late=0.02).day(date(2026, 1, 20), 200_000)
    oldest = pc.min(clean.column("occurred_at")).as_py()
    assert datetime(2025, 12, 10, tzinfo=UTC) < oldest < datetime(2025, 12, 20, tzinfo=UTC)


def test_refunds_and_reversals_refer_to_entries_that_were_sent() -> None:
    counts = flow(2).counts(date(2026, 1, 1), date(2026, 2, 10), 60_000)
    sent: dict[str, dict[str, object]] = {}
    for when, entries in counts.items():
        sent |= rows_of(flow(2).day(when, entries))
    linked = [row for row in sent.values() if row["refers_to"] is not None]
    assert len(linked) > 1_500
    assert {row["kind"] for row in linked} == {"refund", "sale_reversal", "refund_reversal"}
    known = [(row, sent[str(row["refers_to"])]) for row in linked if str(row["refers_to"]) in sent]
    before = [row for row in linked if str(row["refers_to"]) not in sent]
    assert all(str(row["refers_to"])[9:15] < "260101" for row in before)
    for row, first in known:
        assert (row["platform_id"], row["merchant_id"]) == (
            first["platform_id"],
            first["merchant_id"],
        )
        assert row["amount_fen"] <= first["amount_fen"]  # type: ignore[operator]
        assert row["occurred_at"] >= first["occurred_at"]  # type: ignore[operator]
        assert first["kind"] == ("refund" if row["kind"] == "refund_reversal" else "sale")


def test_the_city_is_proportional_to_the_published_figures() -> None:
    whole = Counter[str]()
    for _, batch in history(date(2025, 1, 1), date(2025, 12, 31), 300_000, 4):
        merchants = sector_of()
        for merchant, amount, kind in zip(
            batch.column("merchant_id").to_pylist(), batch.column("amount_fen").to_pylist(),
            batch.column("kind").to_pylist(), strict=True,
        ):  # fmt: skip
            if kind == "sale":
                whole[merchants[merchant]] += amount
    total = whole.total()
    assert whole["G00"] / total == pytest.approx(14_218 / 24_328, abs=0.02)
    assert whole["S01"] / total == pytest.approx(2_750 / 24_328, abs=0.01)
    assert set(whole) == set(SECTORS)


@cache
def sector_of() -> dict[str, str]:
    columns = city(4).columns
    names = [SECTORS[n] for n in columns["sector"]]
    return dict(zip([i.decode() for i in columns["id"].tolist()], names, strict=True))


# -- the division change ---------------------------------------------------------------------------------


def test_the_registry_has_both_forms_of_the_division_change() -> None:
    registry = city(2).registry()
    spans: dict[str, list[tuple[str, str, str | None]]] = {}
    for row in registry:
        assert row["platform_id"] in PLATFORMS
        assert row["valid_from"] >= "2023-01-01"
        spans.setdefault(row["merchant_id"], []).append(
            (row["district_code"], row["valid_from"], row.get("valid_to"))
        )
    forms = Counter(
        tuple(span) for span in spans.values() if span[0][0] in ("500105", "500112", "500157")
    )
    for code in ("500105", "500112"):
        assert forms[((code, "2023-01-01", None),)] > 50
        assert forms[((code, "2023-01-01", "2025-12-31"), ("500157", "2026-01-01", None))] > 30
    assert forms[(("500157", "2026-01-01", None),)] > 5
    assert forms[(("500157", "2023-01-01", None),)] > 0
    trades = Counter(("industry" in row, "mcc" in row) for row in registry)
    assert all(
        trades[key] > 100 for key in ((True, True), (True, False), (False, True), (False, False))
    )
    assert any("group_id" in row for row in registry)


def test_districts_change_at_midnight_and_hardly_anything_stays_unknown() -> None:
    recount = Recount(city(2).registry(), NOW)
    for when in (date(2025, 12, 31), date(2026, 1, 1)):
        clean = dataclasses.replace(flow(2), late=0.0)
        assert (
            recount.request(None, "arrow", render(clean.day(when, 20_000), "arrow")).rejected == 0
        )
    by_day: dict[str, Counter[str]] = {}
    for (period, district, _, _), cell in recount.cells("day").items():
        by_day.setdefault(period, Counter())[district] += cell.entries
    before, after = by_day["2025-12-31"], by_day["2026-01-01"]
    assert before["500105"] > 400
    assert before["500112"] > 1_000
    assert "500157" not in before
    assert after["500157"] > 1_500
    assert not {"500105", "500112"} & set(after)
    assert (len(set(before) - {"000000"}), len(set(after) - {"000000"})) == (38, 37)
    assert 0 < before["000000"] < 400
    assert 0 < after["000000"] < 200


# -- formats -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", MEDIA_TYPES)
def test_every_format_says_the_same(form: str) -> None:
    batch = dataclasses.replace(flow(2), duplicates=0.02, conflicts=0.01).day(
        date(2026, 5, 2), 3_000
    )
    recount = Recount(city(2).registry(), NOW)
    first = recount.request(None, "arrow", render(batch, "arrow"))
    assert (first.accepted, first.rejected) == (3_090, 0)
    assert first.booked + first.duplicates + first.conflicts == 3_090
    assert first.duplicates > 20
    assert first.conflicts > 10
    again = recount.request(None, form, render(batch, form))
    assert (again.accepted, again.booked) == (3_090, 0)
    assert again.duplicates == first.booked + first.duplicates
    assert again.conflict_rows == first.conflict_rows


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(sorted(MEDIA_TYPES)), st.integers(0, 2**31), st.sampled_from([0.0, 0.02, 0.3])
)
def test_spoiled_rows_are_refused_and_no_other(form: str, seed: int, share: float) -> None:
    batch = Flow(SMALL, 9).day(date(2026, 2, 17), 400)
    recount = Recount([], NOW)
    body = render(batch, form, malformed=share, seed=seed)
    assert body == render(batch, form, malformed=share, seed=seed)
    answer = recount.request(None, form, body)
    assert (answer.status, answer.received) == (200, 400)
    assert abs(answer.rejected - 400 * share) <= 6 * (400 * share) ** 0.5
    bad = {row.index for row in answer.bad}
    good = Recount([], NOW).request(None, "arrow", render(batch, "arrow"))
    assert (good.rejected, answer.booked) == (0, 400 - len(bad))
    if form in ("json", "ndjson", "csv"):
        assert all(row.raw is not None and row.raw in body for row in answer.bad)


@pytest.mark.parametrize("form", MEDIA_TYPES)
def test_nothing_is_a_body_too(form: str) -> None:
    assert (
        Recount([], NOW).request(None, form, render(flow(2).day(date(2026, 2, 1), 0), form))
        == Expected()
    )


# -- one platform, targets, the command, the demo --------------------------------------------------------------


@pytest.mark.parametrize("platform", PLATFORMS)
def test_one_platform_alone(platform: str) -> None:
    alone = Flow(city(2), 2, platform=platform).day(date(2026, 3, 1), 500)
    assert set(alone.column("platform_id").to_pylist()) == {platform}
    assert len(alone) == 500
    everyone = rows_of(flow(2).day(date(2026, 3, 1), 30_000))
    assert all(everyone[entry_id] == row for entry_id, row in rows_of(alone).items())


def test_the_lagging_district_lags_and_the_others_are_near() -> None:
    per_day = 2_500.0
    first, last = date(2024, 1, 1), date(2026, 12, 31)
    stream = pour.demo_flow(SEED, per_day)
    counts = {
        first + timedelta(days=n): round(per_day * stream.intensity(first + timedelta(days=n)))
        for n in range((last - first).days + 1)
    }
    set_ = {
        (t["year"], t["district"]): t["target_fen"] for t in targets(stream, counts, (2025, 2026))
    }
    assert len([1 for year, _ in set_ if year == 2025]) == 38
    assert len([1 for year, _ in set_ if year == 2026]) == 37
    assert {("2025", "500105"), ("2026", "500157")} <= {(str(y), d) for y, d in set_}
    reached = net_by_place(stream, date(2025, 1, 1), date(2025, 12, 31), counts)
    pace = {place: reached[place] / set_[2025, place] for place in reached}
    assert pace[LAGGING] < 0.96
    assert all(pace[place] == pytest.approx(1.0, abs=0.001) for place in EDGE)
    assert max(pace.values()) < 1.15
    assert sorted(pace.values())[len(pace) // 2] == pytest.approx(1.0, abs=0.02)
    # the year's total is the part of the published one that the demo says it sees
    whole = net_by_place(stream, date(2025, 1, 1), date(2025, 12, 31), counts, SECTORS)
    assert sum(whole.values()) == pytest.approx(pour.COVERAGE * 24_328e10, rel=0.06)


def test_the_command_writes_what_the_recount_reads(tmp_path, capsys) -> None:
    arguments = [
        "simulate",
        "--seed",
        "3",
        "--from",
        "2025-12-30",
        "--to",
        "2026-01-02",
        "--entries",
        "4000",
    ]
    for form in ("ndjson", "csv"):
        out = tmp_path / form
        assert (
            main([*arguments, "--format", form, "--rows", "1500", "--out", str(out), "--json"]) == 0
        )
        said = json.loads(capsys.readouterr().out)
        recount = Recount(json.loads((out / "merchants.json").read_text()), NOW)
        answers = [
            recount.request(None, form, file.read_bytes()) for file in sorted(out.glob("entries-*"))
        ]
        assert sum(answer.received for answer in answers) == said["rows"] > 4_000
        assert sum(answer.rejected for answer in answers) > 0
        assert all(answer.status == 200 for answer in answers)
    single = tmp_path / "one.arrow"
    assert main([*arguments, "--format", "arrow", "--malformed", "0", "--out", str(single)]) == 0
    assert Recount([], NOW).request(None, "arrow", single.read_bytes()).rejected == 0


def test_a_poured_day_stays_poured(tmp_path) -> None:
    """The plan covers each moment once: history, what the live stream sent, and the gaps between."""
    start = datetime(2026, 11, 24, 4, tzinfo=UTC).timestamp()
    now = int(start * 1000)
    progress = pour._begin(tmp_path, 10_000, 1, now)
    progress.plan(now, 0)
    assert progress.pending[0] == ("2024-01-01", None, None)
    assert progress.pending[-1] == ("2026-11-24", None, now)
    assert len(progress.pending) == 1_059
    progress.pending.clear()
    progress.save()
    again = Progress.load(tmp_path)
    assert again is not None
    # an hour of live stream, then two days of silence
    live, later = now + 3_600_000, now + 2 * 86_400_000
    again.plan(later, live)
    assert again.pending == [
        ("2026-11-24", live, None),
        ("2026-11-25", None, None),
        ("2026-11-26", None, later),
    ]
    again.plan(later, live)
    assert len(again.pending) == 3


def test_live_entries_are_of_now_and_never_meet_an_earlier_run() -> None:
    now = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp() * 1000)
    recount = Recount(city(SEED).registry(), now)
    fen = 0
    for _ in range(2):
        stream = LiveStream(SEED, 200, malformed=0.0, repeated=0.0)
        for second in range(5):
            answer = recount.request(
                None, "ndjson", stream.body(200, now - 5_000 + second * 1_000, 1_000)
            )
            assert (answer.booked, answer.rejected) == (200, 0)
    fen = sum(cell.net_fen for cell in recount.cells().values())
    # two runs of five seconds; the city's pace at 20:00
    expected = 10 * pour.COVERAGE * 24_328e10 / (365 * 86_400)
    assert expected * 0.6 < fen < expected * 3
    spoiled_stream = LiveStream(SEED, 200, malformed=0.1, repeated=0.2)
    answers = [
        recount.request(None, "ndjson", spoiled_stream.body(200, now, 1_000)) for _ in range(5)
    ]
    assert sum(a.rejected for a in answers) > 50
    assert sum(a.duplicates for a in answers) > 20
    assert sum(a.conflicts for a in answers) > 2
