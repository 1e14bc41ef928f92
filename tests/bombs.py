"""Small bodies that become much: name -> (format, encoding, body). Each is at most some MB as it comes.

One file, since each bomb is a few lines and the list is the point.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

ROWS = 100_000
MIB = 1024 * 1024
NAMES = ("entry_id", "platform_id", "merchant_id", "occurred_at", "kind", "amount_fen")
HEADER = (",".join(NAMES)).encode()
BOMBS: dict[str, tuple[str, str, Callable[[], bytes]]] = {}


def bomb(format: str, encoding: str = "") -> Callable:
    def add(make: Callable[[], bytes]) -> Callable[[], bytes]:
        BOMBS[make.__name__] = (format, encoding, make)
        return make

    return add


def entries(rows: int, **said: pa.Array) -> pa.Table:
    """Rows that are right, all alike, some columns said otherwise."""

    def constant(value: str) -> pa.Array:
        return shared(value, rows)

    plain = {
        "entry_id": constant("e"),
        "platform_id": constant("p1"),
        "merchant_id": constant("m"),
        "occurred_at": pa.array(np.full(rows, 1_769_864_706_789)),
        "kind": constant("sale"),
        "amount_fen": pa.array(np.ones(rows, np.int64)),
    }
    return pa.table(plain | said)


def shared(text: str, rows: int, index: type = np.int8) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, index)), pa.array([text]))


def arrow(table: pa.Table, chunk: int | None = None, codec: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, chunk)
    return sink.getvalue().to_pybytes()


def parquet(table: pa.Table, **options) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


# -- Arrow --------------------------------------------------------------------------------------------


@bomb("arrow")
def arrow_null_rows() -> bytes:
    return arrow(pa.table({name: pa.nulls(ROWS) for name in NAMES}))


@bomb("arrow")
def arrow_most_null_rows() -> bytes:
    return arrow(pa.table({name: pa.nulls(2_400_000) for name in NAMES}))


@bomb("arrow")
def arrow_more_null_rows_than_allowed() -> bytes:
    batch = pa.RecordBatch.from_arrays([pa.nulls(3_000_000)] * len(NAMES), NAMES)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


@bomb("arrow", "gzip")
def arrow_dictionary_of_one_long_text() -> bytes:
    return gzip.compress(arrow(entries(60_000, program_id=shared("x" * 60_000, 60_000))))


@bomb("arrow", "gzip")
def arrow_every_column_the_same_long_text() -> bytes:
    said = {name: shared(name[0] * 60_000, 800) for name in NAMES if name != "amount_fen"}
    return gzip.compress(arrow(entries(800, **said)))


@bomb("arrow")
def arrow_refused_rows_that_share_a_text() -> bytes:
    return arrow(entries(8_000, program_id=shared("x" * 60_000, 8_000)))


@bomb("arrow", "gzip")
def arrow_views_of_one_long_text() -> bytes:
    rows, long = 60_000, 50_000
    views = np.zeros((rows, 4), np.int32)
    views[:, 0], views[:, 1] = long, int.from_bytes(b"xxxx", "little")
    buffers = [None, pa.py_buffer(views), pa.py_buffer(b"x" * long)]
    column = pa.Array.from_buffers(pa.string_view(), rows, buffers)
    return gzip.compress(arrow(entries(rows, program_id=column)))


@bomb("arrow")
def arrow_runs_of_one_long_text() -> bytes:
    ends, values = pa.array([ROWS], pa.int32()), pa.array(["x" * 50_000])
    runs = pa.RunEndEncodedArray.from_arrays(ends, values)
    return arrow(entries(ROWS, program_id=runs))


@bomb("arrow")
def arrow_most_rows_in_one_run() -> bytes:
    def run(value) -> pa.Array:
        return pa.RunEndEncodedArray.from_arrays(pa.array([2_400_000], pa.int32()), value)

    columns = {name: run(pa.array(["x"])) for name in NAMES}
    return arrow(pa.table(columns | {"amount_fen": run(pa.array([1]))}))


@bomb("arrow")
def arrow_lists_that_share_their_items() -> bytes:
    items = pa.array(["x" * 60_000] * 16)
    begins, sizes = np.zeros(ROWS, np.int32), np.full(ROWS, 16, np.int32)
    lists = pa.ListViewArray.from_arrays(pa.array(begins), pa.array(sizes), items)
    return arrow(entries(ROWS, scene_tags=lists))


@bomb("arrow")
def arrow_lists_of_a_dictionary() -> bytes:
    items = shared("x" * 60_000, 16 * ROWS)
    offsets = pa.array(np.arange(0, 16 * ROWS + 1, 16, dtype=np.int32))
    return arrow(entries(ROWS, scene_tags=pa.ListArray.from_arrays(offsets, items)), codec="zstd")


@bomb("arrow")
def arrow_fixed_size_lists_of_nothing() -> bytes:
    kind = pa.list_(pa.null(), 2**20)
    column = pa.Array.from_buffers(kind, 1, [None], children=[pa.nulls(2**20)])
    return arrow(entries(1, scene_tags=column))


@bomb("arrow", "zstd")
def arrow_most_tags() -> bytes:
    rows = 1_000_000
    items = pa.array(["t"] * 16 * rows)
    offsets = pa.array(np.arange(0, 16 * rows + 1, 16, dtype=np.int32))
    table = entries(rows, scene_tags=pa.ListArray.from_arrays(offsets, items))
    return zstandard.compress(arrow(table))[: 8 * MIB]


@bomb("arrow")
def arrow_packed_buffers() -> bytes:
    return arrow(entries(1, entry_id=pa.array(["x" * 2**28])), codec="zstd")


@bomb("arrow")
def arrow_buffer_that_claims_much() -> bytes:
    body = bytearray(arrow(entries(1_000, entry_id=pa.array(["x" * 500] * 1_000)), codec="zstd"))
    frame = body.rindex(b"\x28\xb5\x2f\xfd")
    while frame > 0:
        body[frame - 8 : frame] = (2**40).to_bytes(8, "little")
        frame = body.rfind(b"\x28\xb5\x2f\xfd", 0, frame)
    return bytes(body)


@bomb("arrow", "gzip")
def arrow_thousands_of_batches() -> bytes:
    return gzip.compress(arrow(entries(40_000), 1))


@bomb("arrow", "gzip")
def arrow_batches_with_one_large_dictionary() -> bytes:
    values = pa.array([f"{n:060d}" for n in range(400_000)])
    column = pa.DictionaryArray.from_arrays(pa.array(np.arange(4_000, dtype=np.int32)), values)
    return gzip.compress(arrow(entries(4_000, entry_id=column), 1), 1)


@bomb("arrow", "gzip")
def arrow_huge_metadata() -> bytes:
    table = entries(ROWS).replace_schema_metadata({"x": "y" * 40 * MIB})
    return gzip.compress(arrow(table))


@bomb("arrow", "gzip")
def arrow_thousands_of_columns() -> bytes:
    table = pa.table({f"c{n}": pa.nulls(1) for n in range(100_000)})
    return gzip.compress(arrow(table), 1)


@bomb("arrow")
def arrow_nested_type() -> bytes:
    kind = pa.string()
    for _ in range(60):
        kind = pa.list_(kind)
    return arrow(entries(1, scene_tags=pa.nulls(1, kind)))


@bomb("arrow", "gzip")
def arrow_wide_decimals() -> bytes:
    column = pa.array([1] * 1_000_000, pa.decimal256(76, 0))
    return gzip.compress(arrow(entries(1_000_000, amount_fen=column)), 1)


@bomb("arrow", "gzip")
def arrow_long_instants() -> bytes:
    rows = 8_000
    text = "2026-01-31T13:05:06." + "9" * 60_000 + "Z"
    return gzip.compress(arrow(entries(rows, occurred_at=shared(text, rows))))


@bomb("arrow")
def arrow_streams_in_a_row() -> bytes:
    return arrow(entries(1)) * 30_000


# -- Parquet ------------------------------------------------------------------------------------------


@bomb("parquet")
def parquet_runs_of_one_long_text() -> bytes:
    table = entries(110_000, program_id=shared("x" * 40_000, 110_000, np.int32))
    return parquet(table, compression="zstd", store_schema=False)


@bomb("parquet")
def parquet_most_null_rows() -> bytes:
    rows = 2_400_000
    return parquet(pa.table({name: pa.nulls(rows, pa.string()) for name in NAMES[:5]} | {
        "amount_fen": pa.nulls(rows, pa.int64())
    }))  # fmt: skip


@bomb("parquet")
def parquet_one_huge_text() -> bytes:
    return parquet(entries(1, entry_id=pa.array(["x" * 2**28])), compression="zstd")


@bomb("parquet")
def parquet_deltas() -> bytes:
    rows = 2_000_000
    column = pa.array([f"{n:040d}" for n in range(rows)])
    table = entries(rows, entry_id=column, amount_fen=pa.array(np.arange(rows)))
    return parquet(
        table,
        compression="zstd",
        use_dictionary=False,
        column_encoding={"entry_id": "DELTA_BYTE_ARRAY", "amount_fen": "DELTA_BINARY_PACKED"},
    )


@bomb("parquet")
def parquet_thousands_of_row_groups() -> bytes:
    return parquet(entries(3_000), row_group_size=1)


@bomb("parquet")
def parquet_huge_metadata() -> bytes:
    return parquet(entries(1).replace_schema_metadata({"x": "y" * 20 * MIB}))


@bomb("parquet")
def parquet_tags_in_runs() -> bytes:
    rows = 500_000
    items = pa.array(["t" * 64] * 16 * rows)
    offsets = pa.array(np.arange(0, 16 * rows + 1, 16, dtype=np.int32))
    table = entries(rows, scene_tags=pa.ListArray.from_arrays(offsets, items))
    return parquet(table, compression="zstd")


# -- texts --------------------------------------------------------------------------------------------


@bomb("ndjson", "gzip")
def ndjson_null_rows() -> bytes:
    return gzip.compress(b"null\n" * ROWS)


@bomb("ndjson", "gzip")
def ndjson_most_empty_objects() -> bytes:
    return gzip.compress(b"{}\n" * 2_400_000)


@bomb("ndjson", "gzip")
def ndjson_more_rows_than_allowed() -> bytes:
    return gzip.compress(b"0\n" * (32 * MIB))


@bomb("ndjson", "gzip")
def ndjson_empty_lines() -> bytes:
    return gzip.compress(b"\n" * (64 * MIB))


@bomb("ndjson", "zstd")
def ndjson_one_object_of_many_keys() -> bytes:
    return zstandard.compress(b"{" + b",".join(b'"%d":1' % n for n in range(4_500_000)) + b"}")


@bomb("ndjson", "gzip")
def ndjson_long_texts() -> bytes:
    row = b'{"entry_id":"' + b"x" * MIB + b'"}\n'
    return gzip.compress(row * 63)


@bomb("ndjson", "gzip")
def ndjson_long_tags() -> bytes:
    row = b'{"scene_tags":[' + b"0," * 500_000 + b"0]}\n"
    return gzip.compress(row * 63)


@bomb("json", "gzip")
def json_commas() -> bytes:
    return gzip.compress(b"[" + b"0," * (32 * MIB - 2) + b"0]")


@bomb("json", "gzip")
def json_commas_in_a_text() -> bytes:
    return gzip.compress(b'["' + b"," * (64 * MIB - 4) + b'"]')


@bomb("json", "gzip")
def json_nested() -> bytes:
    return gzip.compress(b"[" * (64 * MIB))


@bomb("json", "gzip")
def json_surrogates() -> bytes:
    return gzip.compress(b'["' + rb"\ud800" * (10 * MIB) + b'"]')


@bomb("json", "gzip")
def json_numbers_that_are_none() -> bytes:
    return gzip.compress(b"[" + b"NaN," * (2 * MIB) + b"NaN]")


@bomb("json", "gzip")
def json_one_object_of_one_key_again_and_again() -> bytes:
    return gzip.compress(b"{" + b'"mcc":"5812",' * (4 * MIB) + b'"mcc":"5812"}')


@bomb("json", "gzip")
def json_huge_number() -> bytes:
    return gzip.compress(b'[{"amount_fen":' + b"9" * (63 * MIB) + b"}]")


@bomb("csv", "gzip")
def csv_short_rows() -> bytes:
    return gzip.compress(HEADER + b"\n" + b"x\n" * (31 * MIB))


@bomb("csv", "gzip")
def csv_most_rows() -> bytes:
    return gzip.compress(HEADER + b"\n" + b"x\n" * 2_400_000)


@bomb("csv", "gzip")
def csv_empty_lines() -> bytes:
    return gzip.compress(b"\n" * (63 * MIB) + HEADER)


@bomb("csv", "gzip")
def csv_wide_header() -> bytes:
    return gzip.compress(b"," * (63 * MIB))


@bomb("csv", "gzip")
def csv_wide_row() -> bytes:
    return gzip.compress(HEADER + b"\n" + b"," * (63 * MIB))


@bomb("csv", "gzip")
def csv_doubled_quotes() -> bytes:
    return gzip.compress(HEADER + b"\n" + b'"""","""","""","""","""",""""\n' * 2_000_000)


@bomb("csv", "gzip")
def csv_open_quotes() -> bytes:
    return gzip.compress(HEADER + b"\n" + b'"x""\n' * 2_400_000)


@bomb("csv", "gzip")
def csv_long_tags() -> bytes:
    return gzip.compress(HEADER + b",scene_tags\ne,p1,m,1,sale,1," + b";" * (62 * MIB))


# -- encodings ----------------------------------------------------------------------------------------


@bomb("ndjson", "gzip")
def gzip_empty_members() -> bytes:
    return gzip.compress(b"", 9) * 400_000


@bomb("ndjson", "gzip")
def gzip_of_zeros() -> bytes:
    return gzip.compress(bytes(512 * MIB), 9)


@bomb("ndjson", "zstd")
def zstd_empty_frames() -> bytes:
    return zstandard.compress(b"") * 1_000_000


@bomb("ndjson", "zstd")
def zstd_of_zeros() -> bytes:
    return zstandard.compress(bytes(512 * MIB))


@bomb("ndjson", "zstd")
def zstd_skippable_frames() -> bytes:
    return b"\x50\x2a\x4d\x18\0\0\0\0" * 1_000_000


def all_bombs() -> Iterator[tuple[str, str, str, bytes]]:
    for name, (format, encoding, make) in BOMBS.items():
        yield name, format, encoding, make()
