"""One validation for all formats: each bad row is refused for one reason, the good ones pass."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yumai import canary

FORMATS = ("json", "ndjson", "csv", "arrow", "parquet")
TEXT_FORMATS = ("json", "ndjson", "csv")

# (what is said otherwise, field, code), for every format that can say it
CASES = [
    ({"entry_id": "x" * 65}, "entry_id", "too_long", FORMATS),
    ({"entry_id": "渝" * 65}, "entry_id", "too_long", FORMATS),
    ({"entry_id": ""}, "entry_id", "invalid_value", ("json", "ndjson", "arrow", "parquet")),
    ({"entry_id": None}, "entry_id", "missing_field", FORMATS),
    ({"platform_id": "p2"}, "platform_id", "platform_mismatch", FORMATS),
    ({"platform_id": "-p"}, "platform_id", "invalid_value", FORMATS),
    ({"platform_id": "p1 "}, "platform_id", "invalid_value", FORMATS),
    ({"platform_id": None}, "platform_id", "missing_field", FORMATS),
    ({"merchant_id": "m" * 65}, "merchant_id", "too_long", FORMATS),
    ({"merchant_id": None}, "merchant_id", "missing_field", FORMATS),
    ({"occurred_at": "2026-01-31T13:05:06"}, "occurred_at", "invalid_time", FORMATS),
    ({"occurred_at": "2026-02-30T13:05:06Z"}, "occurred_at", "invalid_time", FORMATS),
    ({"occurred_at": "2026-01-31T13:05:60Z"}, "occurred_at", "invalid_time", FORMATS),
    ({"occurred_at": "yesterday"}, "occurred_at", "invalid_time", FORMATS),
    ({"occurred_at": None}, "occurred_at", "missing_field", FORMATS),
    ({"occurred_at": "2026-07-01T00:05:00.001Z"}, "occurred_at", "in_future", FORMATS),
    ({"occurred_at": "2021-06-30T23:59:59.999Z"}, "occurred_at", "too_old", FORMATS),
    ({"kind": "Sale"}, "kind", "invalid_value", FORMATS),
    ({"kind": None}, "kind", "missing_field", FORMATS),
    ({"amount_fen": 0}, "amount_fen", "out_of_range", FORMATS),
    ({"amount_fen": -5}, "amount_fen", "out_of_range", FORMATS),
    ({"amount_fen": 10**13 + 1}, "amount_fen", "out_of_range", FORMATS),
    ({"amount_fen": 10**30}, "amount_fen", "out_of_range", TEXT_FORMATS),
    ({"amount_fen": 1.0}, "amount_fen", "wrong_type", TEXT_FORMATS),
    ({"amount_fen": "100"}, "amount_fen", "wrong_type", ("json", "ndjson")),
    ({"amount_fen": True}, "amount_fen", "wrong_type", TEXT_FORMATS),
    ({"amount_fen": None}, "amount_fen", "missing_field", FORMATS),
    ({"refers_to": "r" * 65}, "refers_to", "too_long", FORMATS),
    ({"district_code": "50010"}, "district_code", "invalid_value", FORMATS),
    ({"district_code": "500999"}, "district_code", "unknown_district", FORMATS),
    ({"district_code": "000000"}, "district_code", "unknown_district", FORMATS),
    ({"district_code": 500103}, "district_code", "wrong_type", ("json", "ndjson")),
    ({"mcc": "742"}, "mcc", "invalid_value", FORMATS),
    ({"mcc": "58a2"}, "mcc", "invalid_value", FORMATS),
    ({"mcc": 5812}, "mcc", "wrong_type", ("json", "ndjson")),
    ({"channel": "phone"}, "channel", "invalid_value", FORMATS),
    ({"scene_tags": ["t"] * 17}, "scene_tags", "too_long", FORMATS),
    ({"scene_tags": ["t" * 65]}, "scene_tags", "too_long", FORMATS),
    ({"scene_tags": ["ok", ""]}, "scene_tags", "invalid_value", FORMATS),
    ({"scene_tags": ["ok", None]}, "scene_tags", "wrong_type", FORMATS),
    ({"scene_tags": "ok"}, "scene_tags", "wrong_type", ("json", "ndjson")),
    ({"program_id": "p" * 65}, "program_id", "too_long", FORMATS),
    ({"subsidy_fen": -1}, "subsidy_fen", "out_of_range", FORMATS),
    ({"subsidy_fen": 10**13 + 1}, "subsidy_fen", "out_of_range", FORMATS),
    ({"subsidy_fen": 0.5}, "subsidy_fen", "wrong_type", TEXT_FORMATS),
]


@pytest.mark.parametrize(("said", "field", "code", "formats"), CASES)
def test_a_bad_row_is_refused_for_its_reason_and_its_neighbours_pass(
    said, field, code, formats, judged, encoded, entry
):
    for name in formats:
        rows = [entry(entry_id="before"), entry(**said), entry(entry_id="after")]
        result = judged(name, encoded(name, rows))
        assert result.received == 3
        assert result.errors == [(1, field, code)], name
        assert [row["row"] for row in result.rows] == [0, 2]
        assert [(d["row"], d["code"], d["field"]) for d in result.dead] == [(1, code, field)]


@pytest.mark.parametrize("name", FORMATS)
def test_the_first_bad_field_in_contract_order_is_the_reason(name, judged, encoded, entry):
    rows = [entry(merchant_id="m" * 65, kind="x", amount_fen=0, mcc="1")]
    assert judged(name, encoded(name, rows)).errors == [(0, "merchant_id", "too_long")]


def test_a_wrong_type_does_not_hide_an_earlier_bad_field(judged, entry):
    body = json.dumps(entry(entry_id="x" * 65, amount_fen=1.5)).encode()
    assert judged("ndjson", body).errors == [(0, "entry_id", "too_long")]


@pytest.mark.parametrize("name", FORMATS)
def test_the_limits_themselves_are_allowed(name, judged, encoded, entry):
    rows = [
        entry(entry_id="渝" * 64, merchant_id="m" * 64, amount_fen=10**13, subsidy_fen=0),
        entry(entry_id="2", occurred_at="2026-07-01T00:05:00Z", subsidy_fen=10**13, amount_fen=1),
        entry(entry_id="3", occurred_at="2021-07-01T00:00:00Z", scene_tags=["t" * 64] * 16),
        entry(entry_id="4", kind="sale_reversal", refers_to="1", channel="offline", mcc="0742"),
    ]
    result = judged(name, encoded(name, rows))
    assert result.errors == []
    assert [row["kind"] for row in result.rows] == [1, 1, 1, 3]


@pytest.mark.parametrize("name", FORMATS)
def test_the_bureau_may_send_any_platforms_rows(name, judged, encoded, entry):
    rows = [entry(platform_id="p7"), entry(platform_id="p8"), entry(platform_id="!")]
    result = judged(name, encoded(name, rows), sender=None)
    assert result.errors == [(2, "platform_id", "invalid_value")]
    assert [row["platform"] for row in result.rows] == ["p7", "p8"]


def test_only_the_canarys_own_key_sends_its_rows(judged, encoded, entry):
    body = encoded("ndjson", [entry(platform_id=canary.PLATFORM), entry(entry_id="e2")])
    by_bureau = judged("ndjson", body, sender=None)
    assert by_bureau.errors == [(0, "platform_id", "reserved_name")]
    assert [d["platform"] for d in by_bureau.dead] == ["bureau"]
    assert judged("ndjson", body, sender=canary.PLATFORM).errors == [
        (1, "platform_id", "platform_mismatch")
    ]


def test_a_dead_letter_of_the_bureaus_belongs_to_the_platform_it_names(judged, encoded, entry):
    rows = [entry(platform_id="p7", amount_fen=0), entry(platform_id=None), entry(platform_id="!")]
    result = judged("ndjson", encoded("ndjson", rows), sender=None)
    assert [d["platform"] for d in result.dead] == ["p7", "bureau", "bureau"]


def test_another_platforms_row_rests_with_its_sender(judged, encoded, entry):
    result = judged("ndjson", encoded("ndjson", [entry(platform_id="p2")]))
    assert [d["platform"] for d in result.dead] == ["p1"]


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-01-31T13:05:06Z", 1_769_864_706_000),
        ("2026-01-31t13:05:06z", 1_769_864_706_000),
        ("2026-01-31 21:05:06+08:00", 1_769_864_706_000),
        ("2026-01-31T13:05:06.1Z", 1_769_864_706_100),
        ("2026-01-31T13:05:06.123999999Z", 1_769_864_706_123),
        ("2026-01-31T12:35:06-00:30", 1_769_864_706_000),
        ("2024-02-29T00:00:00+00:00", 1_709_164_800_000),
        ("1769864706000", None),
    ],
)
def test_an_instant_is_kept_to_the_millisecond(text, ms, judged, encoded, entry):
    result = judged("json", encoded("json", [entry(occurred_at=text)]))
    if ms is None:
        assert result.errors == [(0, "occurred_at", "invalid_time")]
    else:
        assert [row["occurred_at"] for row in result.rows] == [ms]


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.datetimes(datetime(2021, 8, 1), datetime(2026, 6, 1)),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
    st.integers(0, 9),
)
def test_instants_are_those_of_the_calendar(judged, encoded, entry, when, offset, digits):
    moment = when.replace(tzinfo=UTC)
    local = moment + timedelta(minutes=offset)
    fraction = f"{local.microsecond:06d}000"[:digits]
    sign = "-" if offset < 0 else "+"
    text = local.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if digits else "")
    text += f"{sign}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
    kept = int((fraction + "000")[:3]) if digits else 0
    expected = int(moment.replace(microsecond=0).timestamp()) * 1000 + kept
    result = judged("json", encoded("json", [entry(occurred_at=text)]))
    assert [row["occurred_at"] for row in result.rows] == [expected]


def test_epoch_milliseconds_are_an_instant_in_every_format(judged, encoded, entry):
    for name in FORMATS:
        result = judged(name, encoded(name, [entry(occurred_at=1_769_864_706_789)]))
        assert [row["occurred_at"] for row in result.rows] == [1_769_864_706_789], name


def test_five_years_before_a_29_february_is_the_28(judged, encoded, entry):
    now_ms = int(datetime(2028, 2, 29, 12, tzinfo=UTC).timestamp() * 1000)
    rows = [
        entry(occurred_at="2023-02-28T12:00:00Z"),
        entry(occurred_at="2023-02-28T11:59:59.999Z"),
    ]
    result = judged("json", encoded("json", rows), now_ms=now_ms)
    assert result.errors == [(1, "occurred_at", "too_old")]
