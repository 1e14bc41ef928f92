"""Pieces are the file, cut between rows."""

import csv as reader
import gzip
import io
import json as decoder
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from console import pieces
from console.pieces import NotCut
from services.ingest.formats import csv_scan

LIMIT = 120
FIELD = st.text(st.sampled_from('ab,"\n\r 渝'), max_size=9)
ROWS = st.lists(st.lists(FIELD, min_size=3, max_size=3), max_size=40)


def reading(data: bytes, step: int = 7):
    """A source that gives less than asked, as a decompressor does."""
    source = io.BytesIO(data)
    return lambda size: source.read(min(size, step))


def csv_bytes(rows: list[list[str]], end: str) -> bytes:
    text = io.StringIO()
    writer = reader.writer(text, lineterminator=end)
    writer.writerows([["x", "y", "z"], *rows])
    return text.getvalue().encode()


def csv_rows(data: bytes) -> list[list[str]]:
    return list(reader.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_csv_pieces_have_the_header_and_together_all_records(rows, end, bom) -> None:
    data = (b"\xef\xbb\xbf" if bom else b"") + csv_bytes(rows, end)
    cut = list(pieces.csv(reading(data), LIMIT))
    assert all(len(piece) <= LIMIT for piece in cut)
    header = f"x,y,z{end}".encode()
    bodies = [piece.removeprefix(header) if n else piece for n, piece in enumerate(cut)]
    assert all(piece.startswith(header) for piece in cut[1:])
    assert b"".join(bodies) == data
    found = [row for piece in cut for row in csv_rows(piece)[1:]]
    assert found == csv_rows(data)[1:]


def scanned(data: bytes) -> list[bytes]:
    """The records as the door cuts them, header included."""
    room = data.count(b"\n") + 1
    records = csv_scan.Records(
        np.empty(room, np.int64), np.empty(room, np.int64), np.zeros(room, np.uint8)
    )
    fields = csv_scan.Fields(
        np.zeros((2, room), np.int64), np.zeros((2, room), np.int32), np.zeros((2, room), np.uint8)
    )
    rows, _ = csv_scan.scan(np.frombuffer(data, np.uint8), 0, room, records, fields)
    start, end = records.start, records.end
    return [data[a:b] for a, b in zip(start[:rows], end[:rows], strict=True)]


@given(
    st.lists(st.text(st.sampled_from('ab,"\n\r '), max_size=30), max_size=60),
    st.sampled_from(["\n", "\r\n"]),
)
def test_pieces_of_broken_csv_hold_the_records_that_the_door_finds_in_the_whole(lines, end) -> None:
    """Up to a quote that closes behind the limit: nobody can tell whether it ever does."""
    data = ("x,y" + end + end.join(lines) + end).encode()
    _, *rows = scanned(data)
    if any(len(row) > 60 for row in rows):
        return
    found = [row for piece in pieces.csv(reading(data), LIMIT) for row in scanned(piece)[1:]]
    assert found == rows


def test_the_door_and_the_cut_agree_when_a_quote_never_closes() -> None:
    assert pieces.QUOTED_MAX_BYTES == csv_scan.QUOTED_MAX_BYTES


def test_a_quote_inside_a_field_quotes_nothing() -> None:
    data = b"x,y\n" + b'5" pipe,1\n' * 40
    assert all(p.endswith(b"\n") for p in pieces.csv(reading(data), LIMIT))


def test_a_quote_that_never_closes_spoils_no_cut() -> None:
    data = b'x,y\n"open,1\n' + b"a,1\n" * 90
    cut = list(pieces.csv(reading(data), LIMIT))
    assert b"".join([cut[0], *(p.removeprefix(b"x,y\n") for p in cut[1:])]) == data
    assert all(p.endswith(b"\n") for p in cut)


@given(st.lists(st.binary(max_size=50).map(lambda b: b.replace(b"\n", b"")), max_size=60))
def test_ndjson_pieces_are_the_file_cut_at_line_ends(lines) -> None:
    data = b"\n".join(lines)
    cut = list(pieces.ndjson(reading(data), LIMIT))
    assert b"".join(cut) == data
    assert all(piece.endswith(b"\n") for piece in cut[:-1])
    assert all(0 < len(piece) <= LIMIT for piece in cut)


VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(st.sampled_from('a"\\[]{},渝'), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
).filter(lambda value: len(decoder.dumps(value)) < LIMIT - 10)


@given(st.lists(VALUES, max_size=40), st.sampled_from([None, 1]))
def test_json_pieces_are_arrays_that_hold_the_same_elements(values, indent) -> None:
    data = decoder.dumps(values, indent=indent).encode()
    if indent:
        data = b"\xef\xbb\xbf \n" + data
    try:
        cut = list(pieces.json(reading(data), LIMIT))
    except NotCut:
        assert indent  # blanks made an element longer than the limit
        return
    assert all(len(piece) <= LIMIT for piece in cut)
    assert [value for piece in cut for value in decoder.loads(piece.decode("utf-8-sig"))] == values


@pytest.mark.parametrize("cut", [pieces.ndjson, pieces.csv, pieces.json])
def test_a_row_beyond_the_limit_is_an_error(cut) -> None:
    with pytest.raises(NotCut, match=r"single row|can't be cut"):
        list(cut(reading(b'["' + b"x" * 300 + b'"]'), LIMIT))


@pytest.mark.parametrize("cut", [pieces.ndjson, pieces.csv, pieces.json])
def test_an_empty_file_is_no_piece(cut) -> None:
    assert list(cut(reading(b""), LIMIT)) == []


def table(rows: int) -> pa.Table:
    names = pa.array([f"platform-{n % 5}" for n in range(rows)]).dictionary_encode()
    return pa.table({"id": [f"e{n:06}" for n in range(rows)], "n": range(rows), "platform": names})


def write_arrow(path: Path, data: pa.Table, new, step: int) -> None:
    with pa.OSFile(str(path), "wb") as sink, new(sink, data.schema) as writer:
        writer.write_table(data, max_chunksize=step)


@pytest.mark.parametrize("step", [100, 3000, 50_000])
@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
def test_arrow_pieces_are_streams_within_the_limit(tmp_path: Path, new, step: int) -> None:
    data = table(50_000)
    write_arrow(tmp_path / "a.arrow", data, new, step)
    limit = 100_000
    cut = list(pieces.pieces(tmp_path / "a.arrow", limit))
    assert len(cut) > 5
    assert max(map(len, cut)) <= limit
    read = pa.concat_tables(pa.ipc.open_stream(piece).read_all() for piece in cut)
    assert read.to_pydict() == data.to_pydict()


@pytest.mark.parametrize("step", [1000, 50_000])
def test_parquet_pieces_are_parquet_within_the_limit(tmp_path: Path, step: int) -> None:
    data = table(50_000)
    pq.write_table(data, tmp_path / "a.parquet", row_group_size=step)
    cut = list(pieces.pieces(tmp_path / "a.parquet", 200_000))
    assert len(cut) > 3
    assert max(map(len, cut)) <= 200_000
    read = pa.concat_tables(pq.read_table(io.BytesIO(piece)) for piece in cut)
    assert read.to_pydict() == data.to_pydict()


@pytest.mark.parametrize(
    "name", ["a.arrow", "a.arrows", "a.parquet", "a.json", "a.ndjson", "a.csv"]
)
def test_a_file_that_fits_is_sent_as_it_is_compressed_or_not(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(table(10), path)
    elif "arrow" in name:
        write_arrow(path, table(10), pa.ipc.new_stream, 10)
    else:
        path.write_bytes(b'[{"a": 1},\r\n {"a": 2}] ')
    body = path.read_bytes()
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(body))
    frames = [zstandard.compress(body[:9]), zstandard.compress(body[9:])]
    (tmp_path / f"{name}.zst").write_bytes(b"".join(frames))
    for suffix in ("", ".gz", ".zst"):
        assert list(pieces.pieces(tmp_path / f"{name}{suffix}")) == [body]


@pytest.mark.parametrize("name", ["a.ndjson.gz", "a.parquet.zst", "a.arrows.gz", "a.csv.zst"])
def test_a_truncated_compressed_file_is_an_error(tmp_path: Path, name: str) -> None:
    whole = (gzip if name.endswith("gz") else zstandard).compress(bytes(range(256)) * 999)
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NotCut, match="whole"):
        list(pieces.pieces(tmp_path / name))


@pytest.mark.parametrize("name", ["a.txt", "a", "a.gz", "a.xlsx.gz"])
def test_an_unknown_extension_is_an_error_that_names_the_known(name: str) -> None:
    with pytest.raises(NotCut, match="parquet"):
        pieces.format_of(Path(name))
