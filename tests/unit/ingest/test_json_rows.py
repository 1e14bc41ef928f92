"""JSON rows: the quick reading and the slow one agree, and what can't be read harms nobody else."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest.columns import FIELDS
from services.ingest.formats import json_rows, json_scan, ndjson
from services.ingest.refused import BodyRefused

UNPARSABLE = [
    (b"{", "not_json"),
    (b'{"entry_id":"a",}', "not_json"),
    (b"nothing", "not_json"),
    (b'{"entry_id": NaN}', "not_json"),
    (b'{"amount_fen": 01}', "not_json"),
    (b'{"entry_id":"\\ud800"}', "not_json"),
    (b'{"entry_id":"a\x01"}', "not_json"),
    (b'{"entry_id":"a"} x', "not_json"),
    (b"[1,2]", "not_object"),
    (b"5", "not_object"),
    (b'"text"', "not_object"),
    (b"null", "not_object"),
    (b'{"entry_id":"\xff"}', "not_utf8"),
    (b'{"entry_id":"\xed\xa0\x80"}', "not_utf8"),
    (b"\xc3", "not_utf8"),
    (b"[" * 100_000, "not_json"),
    (b'{"a":' * 50_000, "not_json"),
]


@pytest.mark.parametrize(("row", "code"), UNPARSABLE)
def test_a_row_that_cannot_be_read_rests_as_it_came_between_its_good_neighbours(
    row, code, judged, encoded, entry
):
    good = [encoded("ndjson", [entry(entry_id=name)]) for name in ("a", "b")]
    result = judged("ndjson", good[0] + row + b"\r\n" + good[1])
    assert result.errors == [(1, None, code)]
    assert [r["row"] for r in result.rows] == [0, 2]
    assert result.dead[0]["bytes"] == row[: 64 * 1024]
    assert result.dead[0]["size"] == len(row)


def test_blank_lines_bom_and_crlf_are_no_rows(judged, encoded, entry):
    row = encoded("ndjson", [entry()]).strip()
    result = judged("ndjson", b"\xef\xbb\xbf\r\n \t\r\n" + row + b"\r\n\r\n" + b"x" + b"\n\n")
    assert result.received == 2
    assert result.errors == [(1, None, "not_json")]
    assert result.dead[0]["bytes"] == b"x"


def test_an_unknown_field_is_refused_by_its_name(judged, entry):
    body = json.dumps(entry(phone="138"), ensure_ascii=False).encode()
    assert judged("json", body).errors == [(0, "phone", "unknown_field")]


def test_a_missing_field_is_named(judged, encoded, entry):
    for field in FIELDS[:6]:
        result = judged("ndjson", encoded("ndjson", [entry(**{field: ...})]))
        assert result.errors == [(0, field, "missing_field")]


def test_the_last_of_a_doubled_field_counts(judged, entry):
    body = json.dumps(entry()).encode()[:-1] + b', "amount_fen": 7}'
    assert [row["amount_fen"] for row in judged("json", body).rows] == [7]


def test_an_array_of_mixed_elements_keeps_each_elements_bytes(judged, entry):
    good = json.dumps(entry(), indent=2)
    body = b"[ " + good.encode() + b' , 5,\n "a]},{", {"x": [1, {}]} , [[]] ]'
    result = judged("json", body)
    assert result.received == 5
    codes = [(i, c) for i, _, c in result.errors]
    assert codes == [(1, "not_object"), (2, "not_object"), (3, "unknown_field"), (4, "not_object")]
    assert [d["bytes"] for d in result.dead] == [b"5", b'"a]},{"', b'{"x": [1, {}]}', b"[[]]"]


@pytest.mark.parametrize("body", [b"", b" \n", b"[]", b" [ ] ", b"\xef\xbb\xbf[]"])
def test_nothing_sent_is_nothing_received(body, judged):
    assert judged("json", body).received == 0


@pytest.mark.parametrize(
    "body",
    [
        b"[{}",
        b"[{},]",
        b"5",
        b'"a"',
        b"null",
        b"{",
        b'{"a":1',
        b"[1}",
        b"[] []",
        b"[" * 10**6,
        b"\x00",
    ],
)
def test_a_body_that_is_no_json_as_a_whole_is_refused_as_a_whole(body, judged):
    with pytest.raises(BodyRefused) as refused:
        judged("json", body)
    assert refused.value.code == "body_undecodable"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)
plausible = {
    "occurred_at": st.sampled_from(["2026-01-31T13:05:06+08:00", "x", 1_769_864_706_789, -1, 0]),
    "kind": st.sampled_from(["sale", "refund", "x"]),
    "amount_fen": st.integers(-(2**70), 2**70) | st.integers(0, 1000),
    "scene_tags": st.lists(st.text(max_size=4) | st.none(), max_size=4),
    "mcc": st.sampled_from(["0742", "5812", "12", 5812]),
    "district_code": st.sampled_from(["500103", "500157", "123456", "5"]),
    "channel": st.sampled_from(["online", "offline", "", None]),
    "subsidy_fen": st.integers(-1, 5) | st.none(),
}
rows = st.fixed_dictionaries(
    {}, optional={name: plausible.get(name, st.text(max_size=6)) | json_values for name in FIELDS}
)
written = st.tuples(
    rows, st.booleans(), st.sampled_from([(", ", ": "), (",", ":"), (" , ", "\t: ")])
)


def snapshot(columns):
    texts = {}
    for name in ("entry_id", "platform_id", "merchant_id", "refers_to", "program_id", "tags"):
        text = getattr(columns, name)
        texts[name] = [text.at(i) if text.size[i] >= 0 else None for i in range(columns.rows)]
    numbers = {
        name: getattr(columns, name).tolist()
        for name in (
            "occurred_null", "kind", "amount_null", "district", "mcc", "channel", "subsidy_null",
            "flaw_field", "flaw_code",
        )
    }  # fmt: skip
    for name, null in (("amount_fen", "amount_null"), ("subsidy_fen", "subsidy_null")):
        values = getattr(columns, name)
        numbers[name] = np.where(getattr(columns, null), 0, values).tolist()
    ms = np.where(columns.occurred_null | (columns.flaw_field == 4), 0, columns.occurred_ms)
    return texts, numbers, ms.tolist(), columns.unknown


def rows_of(body):
    (columns,) = ndjson.read(body, len(body)).pieces()
    return columns


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(written, min_size=1, max_size=6))
def test_the_quick_reading_says_what_the_slow_one_says(monkeypatch, made):
    lines = [
        json.dumps(row, ensure_ascii=ascii_only, separators=separators).encode(
            "utf-8", "surrogatepass"
        )
        for row, ascii_only, separators in made
    ]
    body = b"\n".join(lines)
    quick = snapshot(rows_of(body))
    with monkeypatch.context() as patched:

        def all_slow(data, start, end, starts, sizes, numbers, state, pace):
            starts[:], sizes[:], state[:], pace[:] = 0, -1, json_scan.MISSING, json_scan.SLOW

        patched.setattr(json_rows.json_scan, "scan", all_slow)
        slow = snapshot(rows_of(body))
    assert quick == slow


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(judged, body):
    for name in ("ndjson", "json", "csv"):
        try:
            result = judged(name, body)
        except BodyRefused:
            continue
        assert len(result.errors) + len(result.rows) == result.received


@pytest.mark.parametrize("instead", [b'"\\ud800"', b"NaN", b"-Infinity", b"[Infinity]"])
def test_what_json_has_no_word_for_spoils_its_element_and_not_the_array(
    judged, encoded, entry, instead
):
    rows = [encoded("ndjson", [entry(entry_id=name)]).strip() for name in ("a", "b", "c")]
    rows[1] = rows[1].replace(b'"b"', instead)
    result = judged("json", b"[" + b",".join(rows) + b"]")
    assert [error[0] for error in result.errors] == [1]
    assert [row["row"] for row in result.rows] == [0, 2]
    assert result.dead[0]["bytes"] == rows[1]
