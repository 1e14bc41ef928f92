"""District and sector, field by field: registry, else the entry's own, else nobody."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.days import SHANGHAI
from contracts.merchants.codec import Span
from services.ingest.classify import MerchantIndex, span_sector
from yumai.districts import booked_code
from yumai.registry import replace_overlap, span_on
from yumai.sectors import SECTOR_NUMBERS, mcc_sectors


def index_of(*spans: Span, merchant: str = "m1") -> MerchantIndex:
    index = MerchantIndex(16)
    index.put("p1", merchant, spans)
    index.map_version = 7
    return index


def one(judged, encoded, index, row):
    (found,) = judged("ndjson", encoded("ndjson", [row]), index=index).rows
    by = found["classified_by"]
    return found["district"], found["sector"], by & 15, by >> 4


ALWAYS = date(2020, 1, 1)
S01, S04 = SECTOR_NUMBERS["S01"], SECTOR_NUMBERS["S04"]


def test_the_registry_decides_before_the_entry(judged, encoded, entry):
    index = index_of(Span("500103", ALWAYS, mcc="5812"))
    row = entry(district_code="500106", mcc="0742")
    assert one(judged, encoded, index, row) == (500103, S01, 1, 1)


def test_a_span_without_class_leaves_the_sector_to_the_entry(judged, encoded, entry):
    index = index_of(Span("500103", ALWAYS))
    own = mcc_sectors()["0742"]
    assert one(judged, encoded, index, entry(mcc="0742")) == (500103, own, 1, 2)
    assert one(judged, encoded, index, entry()) == (500103, 0, 1, 0)


def test_industry_goes_before_mcc_where_it_maps(judged, encoded, entry):
    assert (
        one(
            judged, encoded, index_of(Span("500103", ALWAYS, industry="R8610", mcc="5812")), entry()
        )[1]
        == S04
    )
    unmapped = index_of(Span("500103", ALWAYS, industry="A01", mcc="5812"))
    assert one(judged, encoded, unmapped, entry())[1:] == (S01, 1, 1)
    alone = index_of(Span("500103", ALWAYS, industry="A01"))
    assert one(judged, encoded, alone, entry(mcc="5812"))[1:] == (S01, 1, 2)


def test_an_unknown_mcc_is_unresolved_by_whoever_said_it(judged, encoded, entry):
    index = index_of(Span("500103", ALWAYS, mcc="0001"))
    assert one(judged, encoded, index, entry(mcc="5812"))[1:] == (0, 1, 1)
    assert one(judged, encoded, MerchantIndex(), entry(mcc="0001")) == (0, 0, 0, 2)


def test_without_registry_and_own_codes_nobody_decides(judged, encoded, entry):
    assert one(judged, encoded, MerchantIndex(), entry()) == (0, 0, 0, 0)


@pytest.mark.parametrize("by_registry", [True, False])
@pytest.mark.parametrize(
    ("code", "at", "booked"),
    [
        ("500105", "2025-12-31T23:59:59.999+08:00", 500105),
        ("500105", "2026-01-01T00:00:00+08:00", 500157),
        ("500112", "2025-12-31T15:59:59.999Z", 500112),
        ("500112", "2025-12-31T16:00:00Z", 500157),
        ("500157", "2025-12-31T23:59:59.999+08:00", 0),
        ("500157", "2026-01-01T00:00:00+08:00", 500157),
        ("500103", "2026-01-01T00:00:00+08:00", 500103),
    ],
)
def test_the_division_change_is_booked_from_its_instant(
    code, at, booked, by_registry, judged, encoded, entry
):
    index = index_of(Span(code, ALWAYS)) if by_registry else MerchantIndex()
    row = entry(occurred_at=at) if by_registry else entry(occurred_at=at, district_code=code)
    assert one(judged, encoded, index, row)[0] == booked


def test_a_district_that_never_existed_is_refused_also_where_the_registry_decides(
    judged, encoded, entry
):
    index = index_of(Span("500103", ALWAYS))
    result = judged("ndjson", encoded("ndjson", [entry(district_code="500999")]), index=index)
    assert result.errors == [(0, "district_code", "unknown_district")]


def test_the_span_of_the_shanghai_date_of_occurrence_counts(judged, encoded, entry):
    index = index_of(
        Span("500103", date(2025, 1, 1), date(2026, 1, 31)), Span("500106", date(2026, 2, 1))
    )
    at = {
        "2026-01-31T15:59:59.999Z": 500103,
        "2026-01-31T16:00:00Z": 500106,
        "2024-12-31T15:59:59Z": 0,
    }
    for when, district in at.items():
        assert one(judged, encoded, index, entry(occurred_at=when))[0] == district


def test_another_platforms_merchant_of_the_same_name_is_another(judged, encoded, entry):
    index = index_of(Span("500103", ALWAYS))
    row = entry(platform_id="p2")
    (found,) = judged("ndjson", encoded("ndjson", [row]), sender=None, index=index).rows
    assert found["district"] == 0
    assert found["map_version"] == 7


days = st.dates(date(2021, 8, 1), date(2026, 6, 1))
codes = st.sampled_from(["500103", "500105", "500112", "500157", "500106"])


@st.composite
def spans(draw):
    begin = draw(days)
    end = draw(st.none() | st.integers(0, 700))
    return Span(
        draw(codes),
        begin,
        None if end is None else begin + timedelta(days=end),
        draw(st.sampled_from([None, "5812", "0001", "7230"])),
        draw(st.sampled_from([None, "H62", "A01", "R8610"])),
    )


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), spans()), max_size=12),
    st.lists(
        st.tuples(st.sampled_from("abcdefg"), days, st.integers(0, 86_399)), min_size=1, max_size=8
    ),
)
def test_the_index_answers_as_the_history_read_by_hand(judged, encoded, entry, puts, asked):
    index = MerchantIndex(16)
    histories: dict[str, tuple[Span, ...]] = {}
    for merchant, span in puts:
        histories[merchant] = replace_overlap(histories.get(merchant, ()), span)
        index.put("p1", merchant, histories[merchant])
    rows, expected = [], []
    for merchant, day, second in asked:
        at = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI) + timedelta(seconds=second)
        rows.append(entry(merchant_id=merchant, occurred_at=at.isoformat(), mcc="0742"))
        span = span_on(histories.get(merchant, ()), day)
        ms = int(at.astimezone(UTC).timestamp()) * 1000
        district = booked_code(span.district_code, ms) if span else "000000"
        sector = span_sector(span) if span else -1
        expected.append((int(district), mcc_sectors()["0742"] if sector < 0 else sector))
    result = judged("ndjson", encoded("ndjson", rows), index=index)
    assert [(r["district"], r["sector"]) for r in result.rows] == expected


def test_many_merchants_and_many_replacements_are_all_found(judged, encoded, entry):
    index = MerchantIndex(16)
    for code in ("500103", "500106"):
        for number in range(300):
            index.put(
                "p1",
                f"m{number}",
                (Span("500104", date(2020, 1, 1), date(2021, 1, 1)), Span(code, date(2022, 1, 1))),
            )
    rows = [entry(entry_id=str(n), merchant_id=f"m{n}") for n in range(300)]
    result = judged("ndjson", encoded("ndjson", rows), index=index)
    assert {r["district"] for r in result.rows} == {500106}
