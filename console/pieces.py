"""Cuts a file into bodies that the HTTP door takes, always between rows and always in the same places.

The same file (also compressed otherwise) gives the same pieces, so that a piece's content can be its
Idempotency-Key. A file that fits is one piece, as it is. At most two pieces are in memory.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from console.unpacking import on_disk, opened
from services.ingest.refused import ROWS_FREE

LIMIT = 64 * 2**20
"""What the door takes in one request, after decompression."""

ROWS_MOST = ROWS_FREE
"""Of a piece of Arrow or Parquet: so few rows go through however well they are packed or share their texts."""

ROW_LEAST_BYTES = 20
"""No true entry takes less, before it is packed."""

QUOTED_MAX_BYTES = 2**20
"""A quoted CSV field that goes on for longer counts as never closed, there and here."""

Read = Callable[[int], bytes]


class NotCut(Exception):
    """The file can't be read or cut; the text says why."""


class Format(NamedTuple):
    name: str
    media_type: str


_JSON = Format("json", "application/json")
_NDJSON = Format("ndjson", "application/x-ndjson")
_CSV = Format("csv", "text/csv")
_ARROW = Format("arrow", "application/vnd.apache.arrow.stream")
_PARQUET = Format("parquet", "application/vnd.apache.parquet")
FORMATS = {
    ".json": _JSON,
    ".ndjson": _NDJSON,
    ".jsonl": _NDJSON,
    ".csv": _CSV,
    ".arrow": _ARROW,
    ".arrows": _ARROW,
    ".ipc": _ARROW,
    ".parquet": _PARQUET,
}
ENCODINGS = {".gz": "gzip", ".zst": "zstd"}


def format_of(path: Path) -> tuple[Format, str | None]:
    """The format and Content-Encoding that a file's name tells. Raises NotCut."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    encoding = ENCODINGS.get(suffixes[-1]) if suffixes else None
    if encoding:
        suffixes.pop()
    if not suffixes or suffixes[-1] not in FORMATS:
        raise NotCut(f"{path}: want one of {' '.join(FORMATS)}, each also with .gz or .zst")
    return FORMATS[suffixes[-1]], encoding


def pieces(path: Path, limit: int = LIMIT) -> Iterator[bytes]:
    """The bodies of a file, decompressed. Raises NotCut, OSError."""
    form, encoding = format_of(path)
    try:
        if form in (_ARROW, _PARQUET):
            cut = arrow if form is _ARROW else parquet
            with on_disk(path, encoding) as file:
                yield from cut(file, limit)
        else:
            with opened(path, encoding) as source:
                text = {"json": json, "ndjson": ndjson, "csv": csv}[form.name]
                yield from text(source.read, limit)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NotCut(f"{path}: not a whole {encoding} file: {error}") from error
    except NotCut as error:
        raise NotCut(f"{path}: {error}") from error


def ndjson(read: Read, limit: int) -> Iterator[bytes]:
    rest = b""
    while True:
        text = rest + _fill(read, limit + 1 - len(rest))
        if len(text) <= limit:
            if text:
                yield text
            return
        end = text.rfind(b"\n", 0, limit) + 1
        if not end:
            raise NotCut(_too_long(limit))
        yield text[:end]
        rest = text[end:]


def csv(read: Read, limit: int) -> Iterator[bytes]:
    """Every piece after the first begins with the header again."""
    text = _fill(read, limit + 1)
    header = b""
    while len(text) > limit:
        end = csv_end(text, limit, len(header))
        if not end:
            raise NotCut(_too_long(limit))
        yield text[:end]
        if not header:
            header = text[: _csv_header(text)].removeprefix(b"\xef\xbb\xbf")
        text = header + text[end:]
        text += _fill(read, limit + 1 - len(text))
    if len(text) > len(header) or not header:
        yield from [text] if text else []


def _csv_header(text: bytes) -> int:
    """The end of the first line that is not blank."""
    start = len(text) - len(text.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n\t "))
    return text.find(b"\n", start) + 1 or len(text)


_FIELD = rb'(?:"[^"]*+(?:""[^"]*+)*+"(?=,|\r?\n)\r?|[^",\n][^,\n]*+)?'
_RECORDS = re.compile(rb"(?:" + _FIELD + rb"(?:," + _FIELD + rb")*+\n)*+")
_FIELDS = re.compile(rb"(?:" + _FIELD + rb",)*+")
_CLOSING = re.compile(rb'"[^"]*+(?:""[^"]*+)*+"')


def csv_end(text: bytes, limit: int, start: int = 0) -> int:
    """The end of the last whole CSV record within `limit` bytes and behind `start`, 0 without one.

    As the door reads it: quotes open at a field's start only, a line break in quotes ends no record,
    and a quote that never closes, or closes in the middle of a field, spoils its own line only.
    """
    text = text[:limit]
    record = start
    while True:
        record = _end(_RECORDS, text, record)
        field = _end(_FIELDS, text, record)
        if text[field : field + 1] != b'"':
            break  # the record goes on behind the limit
        closing = _CLOSING.match(text, field, field + 1 + QUOTED_MAX_BYTES)
        if closing is None and len(text) <= field + QUOTED_MAX_BYTES:
            break  # so may the quotes
        if closing is not None and text[closing.end() : closing.end() + 2] in (b"", b"\r"):
            break
        line = text.find(b"\n", record)
        if line < 0:
            break
        record = line + 1
    return record if record > start else text.find(b"\n", start) + 1


def _end(pattern: re.Pattern[bytes], text: bytes, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start


_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_PLAIN = rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+"
# An entry is an object with at most arrays in it: one match. Anything else goes token by token.
_TOKEN = re.compile(
    rb'\{(?:[^"{}\[\]]++|' + _STRING + rb"|\[" + _PLAIN + rb"\])*+\}|" + _STRING + rb'|[\[\]{},"]',
    re.DOTALL,
)


def json(read: Read, limit: int) -> Iterator[bytes]:
    """An array is cut between its elements; each piece is an array."""
    text = _fill(read, limit + 1)
    if len(text) <= limit:
        if text:
            yield text
        return
    text = text.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] != b"[":
        raise NotCut(f"more than {limit >> 20} MiB and no array: can't be cut")
    rest = text[1:]
    while True:
        text = rest + _fill(read, limit - len(rest))
        if len(text) < limit:  # with its bracket it fits, and there is no more
            yield b"[" + text
            return
        end = _last_comma(text, limit - 2)
        if end < 0:
            raise NotCut(_too_long(limit))
        yield b"[" + text[:end] + b"]"
        rest = text[end + 1 :]


def _last_comma(text: bytes, limit: int) -> int:
    depth, last = 0, -1
    for token in _TOKEN.finditer(text, 0, limit + 1):
        character = text[token.start()]
        if token.end() - token.start() > 1:
            continue
        if character in b"[{":
            depth += 1
        elif character in b"]}":
            depth -= 1
            if depth < 0:
                break
        elif character == ord('"'):
            break  # a text that goes on behind the limit
        elif depth == 0:
            last = token.start()
    return last


def arrow(path: Path, limit: int) -> Iterator[bytes]:
    """A stream by batches; Arrow's file format becomes a stream, which is what the door reads."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        is_file = source.size() > 6 and source.read(6) == b"ARROW1"
        source.seek(0)
        if not is_file and source.size() <= limit and _is_taken_whole(source, limit):
            source.seek(0)
            if source.size():
                yield source.read()
            return
        source.seek(0)
        try:
            reader: Any = (pa.ipc.open_file if is_file else pa.ipc.open_stream)(source)
            batches = (
                (reader.get_batch(n) for n in range(reader.num_record_batches))
                if is_file
                else iter(reader)
            )
            room = limit - _stream(reader.schema, [])[1] - 4096
            for group in _groups(batches, room, _arrow_size):
                yield _stream(reader.schema, group)[0]
        except pa.ArrowException as error:
            raise NotCut(f"not read as Arrow IPC: {error}") from error


def _is_taken_whole(source: Any, limit: int) -> bool:
    """Whether a stream goes through as it is; one that can't be read does, for the door to say why."""
    import pyarrow as pa

    rows = size = 0
    try:
        with pa.ipc.open_stream(source) as reader:
            shares = any(_shares(kind) for kind in reader.schema.types)
            for batch in reader:
                rows, size = rows + batch.num_rows, size + batch.nbytes
                if rows > ROWS_MOST and (shares or size > limit or size < rows * ROW_LEAST_BYTES):
                    return False
    except (pa.ArrowException, OSError, ValueError):
        return True
    return True


def _shares(kind: Any) -> bool:
    """Whether many rows may say the same bytes."""
    import pyarrow as pa

    plain = pa.types.is_primitive, pa.types.is_string, pa.types.is_large_string, pa.types.is_null
    return not any(is_kind(kind) for is_kind in plain)


def _stream(schema: Any, batches: list[Any]) -> tuple[bytes, int]:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    body = sink.getvalue().to_pybytes()
    return body, len(body)


def _arrow_size(batch: Any) -> int:
    import pyarrow as pa

    # A batch's dictionaries are written before it, whole, and 256 bytes around each.
    dictionaries = (c.dictionary.nbytes + 256 for c in batch.columns if hasattr(c, "dictionary"))
    return pa.ipc.get_record_batch_size(batch) + sum(dictionaries)


def parquet(path: Path, limit: int) -> Iterator[bytes]:
    """By rows, a row group at a time; a piece's columns take at most the limit uncompressed too."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.stat().st_size == 0:
        return
    try:
        with pq.ParquetFile(path) as file:
            groups = range(file.num_row_groups)
            sizes = sum(file.metadata.row_group(n).total_byte_size for n in groups)
            is_short = file.metadata.num_rows <= ROWS_MOST
            if is_short and max(path.stat().st_size, sizes) <= limit:
                yield path.read_bytes()
                return
            batches = file.iter_batches(batch_size=65_536)
            for group in _groups(batches, limit * 3 // 4, lambda batch: batch.nbytes):
                sink = pa.BufferOutputStream()
                pq.write_table(pa.Table.from_batches(group), sink, compression="zstd")
                yield sink.getvalue().to_pybytes()
    except pa.ArrowException as error:
        if path.stat().st_size > limit:
            raise NotCut(f"not read as Parquet: {error}") from error
        yield path.read_bytes()  # the door says what is wrong with it


def _groups(batches: Iterator[Any], room: int, size: Callable[[Any], int]) -> Iterator[list[Any]]:
    """Batches together as far as they fit; a batch too large is halved until its parts do."""
    group: list[Any] = []
    used = rows = 0
    for batch in batches:
        for part in _halves(batch, room, size):
            part_size = size(part)
            if group and (used + part_size > room or rows + part.num_rows > ROWS_MOST):
                yield group
                group, used, rows = [], 0, 0
            group.append(part)
            used, rows = used + part_size, rows + part.num_rows
    if group:
        yield group


def _halves(batch: Any, room: int, size: Callable[[Any], int]) -> Iterator[Any]:
    if batch.num_rows <= ROWS_MOST and size(batch) <= room:
        yield batch
        return
    if batch.num_rows < 2:
        raise NotCut(_too_long(room))
    middle = batch.num_rows // 2
    yield from _halves(batch.slice(0, middle), room, size)
    yield from _halves(batch.slice(middle), room, size)


def compressed(body: bytes, encoding: str | None) -> tuple[bytes, str | None]:
    """A piece in its file's Content-Encoding, or plain where it would have too many rows for its bytes."""
    packed = body
    if encoding == "gzip":
        packed = gzip.compress(body, 1, mtime=0)
    elif encoding == "zstd":
        import zstandard

        packed = zstandard.ZstdCompressor(level=3).compress(body)
    if len(body) // ROW_LEAST_BYTES > ROWS_FREE + len(packed):
        return body, None
    return packed, encoding


def _fill(read: Read, size: int) -> bytes:
    """Exactly `size` bytes, or what is left."""
    parts, missing = [], size
    while missing > 0 and (part := read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _too_long(limit: int) -> str:
    return f"a single row takes more than {limit:,} bytes"
