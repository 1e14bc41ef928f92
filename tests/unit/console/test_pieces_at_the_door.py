"""What `yumai send` cuts is taken by the door's own reading, however many rows a file has."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from console import pieces
from services.ingest import formats
from services.ingest.formats import compression
from tests.bombs import arrow, entries, shared


def sold(rows: int, **said: pa.Array) -> pa.Table:
    """Entries with ids that follow one another: nothing true is packed better."""
    ids = pa.array([f"e{n:07d}" for n in range(rows)])
    return entries(rows, **{"entry_id": ids, **said})


def plain(table: pa.Table) -> pa.Table:
    texts = {
        name: table.column(name).cast(pa.string())
        for name in ("platform_id", "merchant_id", "kind")
    }
    for name, column in texts.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def taken(path: Path) -> int:
    """Rows that the door finds in all pieces. Raises BodyRefused where it would."""
    form, encoding = pieces.format_of(path)
    rows = 0
    for body in pieces.pieces(path):
        content, packed_as = pieces.compressed(body, encoding)
        unpacked = compression.decompress(packed_as or "", content)
        assert unpacked == body
        rows += formats.read(form.name, unpacked, len(content)).rows
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("compressed", ["zstd", "none"])
def test_a_parquet_of_millions_of_rows_goes_through(tmp_path, compressed):
    path = tmp_path / "day.parquet"
    pq.write_table(plain(sold(3_000_000)), path, compression=compressed)
    assert taken(path) == 3_000_000


@pytest.mark.parametrize("name", ["day.parquet", "day.arrow", "day.arrow.zst"])
def test_rows_of_less_than_a_byte_each_go_through(tmp_path, name):
    """All alike but for the id, which is alike too: as many rows as the door takes for nothing, thrice."""
    rows, path = 400_000, tmp_path / name
    table = plain(entries(rows))
    if name == "day.parquet":
        pq.write_table(table, path, compression="zstd")
    else:
        body = arrow(table, codec="zstd")
        encoding = pieces.format_of(path)[1]
        path.write_bytes(pieces.compressed(body, encoding)[0] if encoding else body)
    assert taken(path) == rows


def test_rows_that_share_long_texts_go_through(tmp_path):
    rows, path = 1_200_000, tmp_path / "day.arrow"
    ids = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array(["e" * 64]))
    many = {name: shared("m" * 64, rows) for name in ("merchant_id", "refers_to", "program_id")}
    many |= {"platform_id": shared("p" * 64, rows), "channel": shared("c" * 300, rows)}
    path.write_bytes(arrow(entries(rows, entry_id=ids, **many)))
    assert taken(path) == rows


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["day.csv", "day.csv.gz", "day.csv.zst", "day.ndjson", "day.ndjson.zst"]
)
def test_texts_of_short_rows_go_through(tmp_path, name):
    path = tmp_path / name
    if ".csv" in name:
        header = b"entry_id,platform_id,merchant_id,occurred_at,kind,amount_fen\n"
        row, rows = b"e,p1,m,1769864706789,sale,1\n", 2_600_000
    else:
        header = b""
        row = b'{"entry_id":"e","platform_id":"p1","merchant_id":"m","occurred_at":1769864706789,"kind":"sale","amount_fen":1}\n'
        rows = 700_000
    body = header + row * rows
    encoding = pieces.format_of(path)[1]
    if encoding == "gzip":
        import gzip

        body = gzip.compress(body, 1)
    elif encoding:
        import zstandard

        body = zstandard.ZstdCompressor().compress(body)
    path.write_bytes(body)
    assert taken(path) == rows
