"""A body of Arrow or Parquet as plain batches: all of it is checked before any is handed on. Pure."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from services.ingest.columns import PIECE_ROWS
from services.ingest.decoder import schema as columns
from services.ingest.decoder.plain import LastDictionary, Said, compact, plain
from services.ingest.refused import BodyRefused, check_rows

PIECE_BYTES = 32 * 1024 * 1024
DECODED_MAX_BYTES = 160 * 1024 * 1024
_SMALL_ROWS, _SMALL_BYTES = 4_096, 16 * 1024
_OPTIONS = pa.ipc.IpcReadOptions(use_threads=False)
SENT = b"sent"
"""Metadata of the batches' schema: the sender's own, serialised."""
_END = b"\xff\xff\xff\xff\0\0\0\0"
_END_OLD = b"\0\0\0\0"
_SEAM = re.compile(rb"PAR1PAR1")
"""Where a Parquet file ends and another begins."""
_BROKEN = (pa.ArrowException, OSError, ValueError, EOFError, OverflowError)


Batches = Iterator[pa.RecordBatch | pa.Schema]
"""The schema, then the batches."""


def decode(name: str, body: pa.Buffer, came: int, sink: pa.NativeFile) -> int:
    """Writes an Arrow stream of plain batches into `sink`; the number of rows.

    `came`: the body's bytes as they came, packed.

    Raises BodyRefused, and MemoryError where there is not enough of it.
    """
    if not body.size:
        return 0
    try:
        batches = _stream(body) if name == "arrow" else _parquet(body, came)
        return _write(batches, came, sink)
    except MemoryError:
        raise
    except _BROKEN as error:
        what = "an Arrow stream" if name == "arrow" else "Parquet"
        said = f"not {what}: {str(error)[:200]}"
        raise BodyRefused("body_undecodable", None, said) from error


def _write(batches: Batches, came: int, sink: pa.NativeFile) -> int:
    schema = next(batches)
    columns.check(schema)
    said, known = Said(), [LastDictionary() for _ in schema.names]
    rows = 0
    writer: pa.ipc.RecordBatchStreamWriter | None = None
    waiting: list[list[pa.Array]] = []
    waiting_rows = waiting_bytes = 0

    def flush() -> None:
        nonlocal writer, waiting, waiting_rows, waiting_bytes
        arrays = [_joined(chunks) for chunks in zip(*waiting, strict=True)]
        if writer is None:
            sent = columns.without_large_metadata(schema).serialize().to_pybytes()
            kinds = zip(schema.names, (array.type for array in arrays), strict=True)
            writer = pa.ipc.new_stream(sink, pa.schema(list(kinds), {SENT: sent}))
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema.names))
        waiting, waiting_rows, waiting_bytes = [], 0, 0
        _check_size(sink.tell())

    for batch in _gathered(batches, all(map(_is_simple, schema.types))):
        rows += batch.num_rows
        check_rows(rows, came)
        for begin in range(0, batch.num_rows, PIECE_ROWS):
            part = batch.slice(begin, PIECE_ROWS)
            arrays = [plain(a, said, k) for a, k in zip(part.columns, known, strict=True)]
            size = sum(array.nbytes for array in arrays)
            if waiting and (
                waiting_rows + part.num_rows > PIECE_ROWS or waiting_bytes + size > PIECE_BYTES
            ):
                flush()
            _check_size(sink.tell() + size)
            waiting.append(arrays)
            waiting_rows, waiting_bytes = waiting_rows + part.num_rows, waiting_bytes + size
    if waiting:
        flush()
    if writer is not None:
        writer.close()
    return rows


def _is_simple(kind: pa.DataType) -> bool:
    """Whether arrays of it that are valid can be joined as they are."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return not (columns.is_list(kind) or columns.is_encoded(kind) or pa.types.is_string_view(kind))


def _gathered(batches: Batches, simple: bool) -> Iterator[pa.RecordBatch]:
    """Small batches that are wholly valid as larger ones: what follows costs by batch."""
    small: list[pa.RecordBatch] = []
    rows = size = 0

    def joined() -> Iterator[pa.RecordBatch]:
        if small:
            yield from pa.Table.from_batches(small).combine_chunks().to_batches()

    for batch in batches:
        if simple and _is_small(batch):
            small.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows < PIECE_ROWS and size < PIECE_BYTES:
                continue
            yield from joined()
        else:
            yield from joined()
            yield batch
        small, rows, size = [], 0, 0
    yield from joined()


def _is_small(batch: pa.RecordBatch) -> bool:
    """And wholly valid."""
    if batch.num_rows >= _SMALL_ROWS:
        return False
    dictionaries = [c.dictionary for c in batch.columns if pa.types.is_dictionary(c.type)]
    if any(dictionary.nbytes > _SMALL_BYTES for dictionary in dictionaries):
        return False
    try:
        batch.validate(full=True)
    except pa.ArrowException:
        return False
    return True


def _check_size(size: int) -> None:
    if size > DECODED_MAX_BYTES:
        raise BodyRefused("too_large", None, "more than 160 MiB of columns: send it in parts")


def _joined(chunks: tuple[pa.Array, ...]) -> pa.Array:
    if len(chunks) == 1:
        return chunks[0]
    if pa.types.is_dictionary(chunks[0].type):
        unified = pa.chunked_array(chunks).unify_dictionaries()
        return compact(pa.concat_arrays(unified.chunks))
    return pa.concat_arrays(chunks)


def _stream(body: pa.Buffer) -> Batches:
    """The schema, then all batches. Streams that follow one another are one, if they say the same.

    A stream has to say that it ends: one that was cut between two batches looks whole otherwise.
    """
    view = memoryview(body).cast("B")
    # Streams of before Arrow 0.15 have no continuation marker, and another end.
    end = _END if view[:4] == _END[:4] else _END_OLD
    first: pa.Schema | None = None
    at = 0
    while at < body.size:
        source = pa.BufferReader(body.slice(at))
        try:
            reader = pa.ipc.open_stream(source, options=_OPTIONS)
        except _BROKEN as error:
            if first is None or isinstance(error, MemoryError):
                raise
            left = body.size - at
            raise BodyRefused(
                "body_undecodable", None, f"{left:,} bytes after the end of the Arrow stream"
            ) from error
        with reader:
            if first is None:
                first = reader.schema
                yield first
            elif not reader.schema.equals(first):
                raise BodyRefused(
                    "body_undecodable", None, "two Arrow streams of different columns in one body"
                )
            yield from reader
        at += source.tell()
        if view[at - len(end) : at] != end:
            raise BodyRefused(
                "body_undecodable", None, "the Arrow stream has no end: it was cut off"
            )


def _parquet(body: pa.Buffer, came: int) -> Batches:
    _check_one_file(body)
    with pq.ParquetFile(
        pa.BufferReader(body), page_checksum_verification=True, pre_buffer=False
    ) as file:
        check_rows(file.metadata.num_rows, came)
        schema = file.schema_arrow
        yield schema
        told = rows = 0
        for number in range(file.num_row_groups):
            told += file.metadata.row_group(number).num_rows
        for batch in file.iter_batches(PIECE_ROWS, use_threads=False):
            rows += batch.num_rows
            yield batch
        if rows != told or rows != file.metadata.num_rows:
            raise pa.ArrowInvalid(f"{rows:,} rows where its footer tells of others")


def _check_one_file(body: pa.Buffer) -> None:
    """A footer counts from the file's beginning: of two files in a row the first would be read."""
    whole = memoryview(body)
    seam = _SEAM.search(whole)
    if seam and seam.start() >= 8:
        at = seam.start()
        (footer,) = struct.unpack("<I", whole[at - 4 : at])
        if footer <= at - 8:
            raise BodyRefused("body_undecodable", None, "two Parquet files in one body")
