"""Arrow and Parquet: the sender's own columns, whatever width they have."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest.refused import BodyRefused

MS = 1_769_864_706_789


def columns(**said):
    plain = {
        "entry_id": pa.array(["a", "b"]),
        "platform_id": pa.array(["p1", "p1"]),
        "merchant_id": pa.array(["m", "m"]),
        "occurred_at": pa.array([MS, MS], pa.timestamp("ms", "Asia/Shanghai")),
        "kind": pa.array(["sale", "refund"]),
        "amount_fen": pa.array([1, 2]),
    }
    plain.update(said)
    return pa.table({name: value for name, value in plain.items() if value is not None})


@pytest.mark.parametrize(
    "said",
    [
        {"occurred_at": pa.array([MS, MS])},
        {"occurred_at": pa.array([MS * 1000 + 999] * 2, pa.timestamp("us", "UTC"))},
        {"occurred_at": pa.array([MS * 10**6 + 999_999] * 2, pa.timestamp("ns", "+08:00"))},
        {"occurred_at": pa.array(["2026-01-31T13:05:06.789Z"] * 2)},
        {"occurred_at": pa.array(["2026-01-31T13:05:06.789Z"] * 2).dictionary_encode()},
        {"entry_id": pa.array(["a", "b"], pa.large_string())},
        {"entry_id": pa.array(["a", "b"], pa.string_view())},
        {"kind": pa.array(["sale", "refund"]).dictionary_encode()},
        {"platform_id": pa.array(["p1", "p1"]).dictionary_encode()},
        {"amount_fen": pa.array([1, 2], pa.int16())},
        {"amount_fen": pa.array([1, 2], pa.uint64())},
        {"mcc": pa.nulls(2), "scene_tags": pa.nulls(2)},
        {"scene_tags": pa.array([[], None], pa.large_list(pa.string()))},
    ],
)
def test_every_width_of_a_column_says_the_same(said, judged, as_arrow):
    plain = judged("arrow", as_arrow(columns()))
    for chunk in (None, 1):
        result = judged("arrow", as_arrow(columns(**said), chunk))
        assert result.errors == []
        assert [r["content"] for r in result.rows] == [r["content"] for r in plain.rows]
        assert [r["occurred_at"] for r in result.rows] == [MS, MS]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"occurred_at": pa.array([MS, MS], pa.timestamp("ms"))}, "column_type"),
        ({"occurred_at": pa.array([1.5, 2.5])}, "column_type"),
        ({"amount_fen": pa.array([1.0, 2.0])}, "column_type"),
        ({"amount_fen": pa.array(["1", "2"])}, "column_type"),
        ({"mcc": pa.array([742, 5812])}, "column_type"),
        ({"entry_id": pa.array([b"a", b"b"])}, "column_type"),
        ({"scene_tags": pa.array(["a", "b"])}, "column_type"),
        ({"phone": pa.array(["1", "2"])}, "unknown_column"),
        ({"kind": None}, "missing_column"),
    ],
)
def test_a_column_that_cannot_be_read_refuses_the_body(said, code, judged, as_arrow):
    with pytest.raises(BodyRefused) as refused:
        judged("arrow", as_arrow(columns(**said)))
    assert refused.value.code == code
    sink = io.BytesIO()
    pq.write_table(columns(**said), sink)
    with pytest.raises(BodyRefused) as refused:
        judged("parquet", sink.getvalue())
    assert refused.value.code == code


@pytest.mark.parametrize("name", ["arrow", "parquet"])
def test_a_dead_letter_is_the_row_as_a_stream_of_the_senders_schema(
    name, judged, encoded, as_arrow
):
    table = columns(
        kind=pa.array(["sale", "x"]).dictionary_encode(), scene_tags=pa.array([["a"], ["b", "c"]])
    ).replace_schema_metadata({"made": "by us"})
    if name == "parquet":
        sink = io.BytesIO()
        pq.write_table(table, sink)
        body = sink.getvalue()
        table = pq.read_table(io.BytesIO(body))
    else:
        body = as_arrow(table)
    result = judged(name, body)
    assert result.errors == [(1, "kind", "invalid_value")]
    rested = pa.ipc.open_stream(result.dead[0]["bytes"]).read_all()
    assert rested.to_pylist() == table.slice(1, 1).to_pylist()
    assert rested.schema.equals(table.schema, check_metadata=True)
    assert result.dead[0]["size"] == len(result.dead[0]["bytes"])


def test_invalid_utf8_in_a_column_is_a_bad_row(judged, as_arrow):
    damaged = pa.array([b"a\xff", b"b"]).view(pa.string())
    for field in ("entry_id", "kind"):
        result = judged(
            "arrow",
            as_arrow(
                columns(
                    **{
                        field: damaged
                        if field == "entry_id"
                        else pa.array([b"sale\xff", b"sale"]).view(pa.string())
                    }
                )
            ),
        )
        assert result.errors == [(0, field, "not_utf8")]
        assert len(result.rows) == 1


def test_a_body_cut_anywhere_is_refused(judged, as_arrow):
    body = as_arrow(columns(), 1)
    sink = io.BytesIO()
    pq.write_table(columns(), sink)
    for name, whole in (("arrow", body), ("parquet", sink.getvalue())):
        assert judged(name, whole).received == 2
        for cut in range(1, len(whole)):
            with pytest.raises(BodyRefused):
                judged(name, whole[:cut])


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_bytes_are_refused_or_read_and_nothing_else(judged, as_arrow, data):
    sink = io.BytesIO()
    pq.write_table(columns(), sink)
    for name, whole in (("arrow", as_arrow(columns(), 1)), ("parquet", sink.getvalue())):
        body = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 4))):
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        try:
            result = judged(name, bytes(body))
        except BodyRefused:
            continue
        assert len(result.rows) + len(result.errors) == result.received


def test_an_empty_body_or_table_is_nothing_received(judged, as_arrow):
    assert judged("arrow", b"").received == 0
    assert judged("parquet", b"").received == 0
    assert judged("arrow", as_arrow(columns().slice(0, 0))).received == 0
    sink = io.BytesIO()
    pq.write_table(columns().slice(0, 0), sink)
    assert judged("parquet", sink.getvalue()).received == 0


def test_a_text_that_comes_as_a_slice_is_read_where_it_is(judged, as_arrow):
    table = pa.concat_tables([columns(), columns()]).slice(1, 2)
    result = judged("arrow", as_arrow(table))
    assert [r["kind"] for r in result.rows] == [2, 1]
