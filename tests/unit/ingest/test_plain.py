"""Arrow and Parquet as other programs write them: what means a text is one, what is damaged is refused."""

import io
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.ingest.refused import BodyRefused

MS = 1_769_864_706_789
BAD = pa.array([b"p1", b"p\xff"]).view(pa.string())


def table(**said):
    plain = {
        "entry_id": pa.array(["a", "b"]),
        "platform_id": pa.array(["p1", "p1"]),
        "merchant_id": pa.array(["m", "m"]),
        "occurred_at": pa.array([MS, MS]),
        "kind": pa.array(["sale", "refund"]),
        "amount_fen": pa.array([1, 2]),
        "scene_tags": pa.array([["t", "u"], None]),
    }
    return pa.table(plain | said)


def dictionary(index, values, codes=(0, 1)):
    return pa.DictionaryArray.from_arrays(pa.array(codes, index), values)


def runs(values, ends=(1, 2)):
    return pa.RunEndEncodedArray.from_arrays(pa.array(ends, pa.int32()), values)


VIEWS = pa.array(["sale", "refund"], pa.string_view())


@pytest.mark.parametrize(
    "said",
    [
        {"kind": dictionary(pa.uint32(), pa.array(["sale", "refund"], pa.large_string()))},
        {"kind": dictionary(pa.uint32(), VIEWS)},
        {"kind": dictionary(pa.uint8(), VIEWS)},
        {"kind": dictionary(pa.uint64(), pa.array(["refund", "sale"]), (1, 0))},
        {"kind": VIEWS},
        {"kind": runs(pa.array(["sale", "refund"]))},
        {"kind": runs(VIEWS)},
        {"platform_id": runs(pa.array(["p1"]), (2,))},
        {"amount_fen": dictionary(pa.int8(), pa.array([1, 2]))},
        {"amount_fen": runs(pa.array([1, 2], pa.int16()))},
        {"amount_fen": pa.array([1, 2], pa.decimal128(20, 0))},
        {"amount_fen": pa.array([1, 2], pa.decimal256(60, 0))},
        {"occurred_at": dictionary(pa.int8(), pa.array([MS]), (0, 0))},
        {"occurred_at": runs(pa.array([MS], pa.timestamp("ms", "UTC")), (2,))},
        {"scene_tags": pa.array([["t", "u"], None], pa.large_list(pa.string_view()))},
        {"scene_tags": pa.array([["u", "t"], []], pa.list_view(pa.string()))},
        {"scene_tags": pa.array([["u", "t"], None], pa.large_list_view(pa.large_string()))},
        {"scene_tags": pa.array([["u", "t"], None], pa.list_(pa.string(), 2))},
        {
            "scene_tags": pa.ListArray.from_arrays(
                pa.array([0, 2, 2]), dictionary(pa.uint32(), pa.array(["t", "u"]))
            )
        },
    ],
)
def test_what_means_the_same_is_read_as_the_same(said, judged, as_arrow):
    plain = judged("arrow", as_arrow(table()))
    assert plain.errors == []
    for body in (as_arrow(table(**said)), as_arrow(table(**said), 1)):
        result = judged("arrow", body)
        assert result.errors == []
        assert [r["content"] for r in result.rows] == [r["content"] for r in plain.rows]


@pytest.mark.parametrize(
    "said",
    [
        {"amount_fen": pa.array([1.0, 2.0])},
        {"amount_fen": pa.array([1, 2], pa.decimal128(20, 2))},
        {"amount_fen": dictionary(pa.int8(), pa.array([1.0, 2.0]))},
        {"amount_fen": pa.array([True, False])},
        {"kind": dictionary(pa.int8(), pa.array([1, 2]))},
        {"occurred_at": pa.array([MS, MS], pa.date64())},
        {"scene_tags": pa.array([[["t"]], None])},
    ],
)
def test_another_type_is_refused_with_its_columns_name(said, judged, as_arrow):
    with pytest.raises(BodyRefused) as refused:
        judged("arrow", as_arrow(table(**said)))
    assert (refused.value.code, refused.value.field) == ("column_type", next(iter(said)))


@pytest.mark.parametrize(
    ("field", "column"),
    [
        ("merchant_id", BAD),
        ("merchant_id", BAD.view(pa.binary()).cast(pa.large_binary()).view(pa.large_string())),
        ("merchant_id", dictionary(pa.int8(), BAD)),
        ("scene_tags", pa.ListArray.from_arrays(pa.array([0, 1, 2]), BAD)),
        ("scene_tags", pa.ListArray.from_arrays(pa.array([0, 1, 2]), dictionary(pa.int8(), BAD))),
    ],
)
def test_invalid_utf8_spoils_only_the_rows_that_say_it(field, column, judged, as_arrow):
    for chunk in (None, 1):
        result = judged("arrow", as_arrow(table(**{field: column}), chunk))
        assert result.errors == [(1, field, "not_utf8")]
        assert len(result.rows) == 1


def test_a_number_that_no_int64_holds_is_out_of_range(judged, as_arrow):
    for kind in (pa.uint64(), pa.decimal128(30, 0)):
        body = as_arrow(table(amount_fen=pa.array([1, 2**63], kind)))
        assert judged("arrow", body).errors == [(1, "amount_fen", "out_of_range")]


def test_streams_in_a_row_are_one_and_anything_else_behind_the_end_is_refused(judged, as_arrow):
    first, second = as_arrow(table()), as_arrow(table(entry_id=pa.array(["c", "d"])))
    result = judged("arrow", first + second)
    assert (result.received, [row["row"] for row in result.rows]) == (4, [0, 1, 2, 3])
    other = as_arrow(table().select(table().column_names[:6]))
    for behind in (other, b"\0", b"junk", first[:-8], b"\xff\xff\xff\xff\0\0\0\0"):
        with pytest.raises(BodyRefused) as refused:
            judged("arrow", first + behind)
        assert refused.value.code == "body_undecodable"


def test_two_parquet_files_in_a_row_are_refused(judged):
    sink = io.BytesIO()
    pq.write_table(table(), sink)
    assert judged("parquet", sink.getvalue()).received == 2
    for body in (sink.getvalue() * 2, sink.getvalue() + b"\0", b"junk" + sink.getvalue()):
        with pytest.raises(BodyRefused) as refused:
            judged("parquet", body)
        assert refused.value.code == "body_undecodable"


def offsets_of(body: bytes, texts: list[str]) -> int:
    """Where the int32 offsets of such a column stand."""
    bounds = np.cumsum([0, *(len(text) for text in texts)]).astype(np.int32).tobytes()
    return body.index(bounds)


@pytest.mark.parametrize("shift", [1, 64, 1_000, 10**6, 2**30, -1, -5])
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("encode", [False, True])
def test_an_offset_that_points_elsewhere_is_refused_before_it_is_followed(
    shift, which, encode, judged, as_arrow
):
    texts = ["alpha", "beta-beta"]
    column = pa.array(texts)
    body = bytearray(as_arrow(table(entry_id=column.dictionary_encode() if encode else column)))
    at = offsets_of(bytes(body), texts) + 4 * which
    (value,) = struct.unpack_from("<i", body, at)
    struct.pack_into("<i", body, at, value + shift)
    try:
        result = judged("arrow", bytes(body))
    except BodyRefused:
        return
    # A shift by little may still lie within the column: then its own bytes are read.
    assert result.received == 2
    assert abs(shift) <= 5


def test_a_dictionarys_index_beyond_its_values_is_refused(judged, as_arrow):
    for codes in ((0, 2), (0, -1), (0, 127)):
        index = pa.array(codes, pa.int8())
        column = pa.DictionaryArray.from_arrays(index, pa.array(["sale", "refund"]), safe=False)
        with pytest.raises(BodyRefused) as refused:
            judged("arrow", as_arrow(table(kind=column)))
        assert refused.value.code == "body_undecodable"


def test_a_long_text_in_a_dead_letter_is_cut_and_large_metadata_are_left_out(judged, as_arrow):
    long = dictionary(pa.int8(), pa.array(["x" * 60_000]), (0, 0))
    said = table(program_id=long).replace_schema_metadata({"a": "b" * 10_000})
    result = judged("arrow", as_arrow(said))
    assert [error[1:] for error in result.errors] == [("program_id", "too_long")] * 2
    row = pa.ipc.open_stream(result.dead[0]["bytes"]).read_all()
    assert row.column("program_id").to_pylist() == ["x" * 1_024]
    assert row.schema.types == said.schema.types
    assert row.schema.metadata is None
