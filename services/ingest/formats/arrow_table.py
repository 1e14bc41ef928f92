"""Columns of the plain batches that Arrow and Parquet become (`decoder/plain.py`). Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.ingest.columns import (
    CHANNELS,
    CODE,
    FIELDS,
    NULL,
    NUMBER,
    Columns,
    Text,
    empty_flaws,
)
from services.ingest.decoder.decode import SENT
from services.ingest.formats.pieces import NOTHING, Read
from services.ingest.formats.tags import TagReader
from services.ingest.kernels import codes_of_digits, codes_of_words, instants, not_utf8
from yumai.entry import KINDS, SCENE_TAGS_MAX

_TEXTS = tuple(
    name
    for name in FIELDS
    if name not in ("occurred_at", "amount_fen", "subsidy_fen", "scene_tags")
)
_TAGS = pa.large_list(pa.large_binary())
_AS_TEXT = {pa.binary(): pa.string(), pa.large_binary(): pa.large_string()}


def read(stream: pa.Buffer, rows: int) -> Read:
    """`stream`: what `decoder.decode` wrote. Who wrote it is not trusted: all is checked again."""
    if not rows:
        return NOTHING

    def pieces() -> Iterator[Columns]:
        with pa.ipc.open_stream(stream) as reader:
            sent = pa.ipc.read_schema(pa.py_buffer(reader.schema.metadata[SENT]))
            for batch in reader:
                batch.validate(full=True)
                yield columns(batch, sent)

    return Read(rows, pieces)


def columns(batch: pa.RecordBatch, sent_schema: pa.Schema) -> Columns:
    """The columns of a plain batch."""
    rows = batch.num_rows
    flaw_field, flaw_code = empty_flaws(rows)
    arrays = dict(zip(batch.schema.names, batch.columns, strict=True))

    def flaw(name: str, mask: np.ndarray, code: str) -> None:
        mask = mask & (flaw_field > NUMBER[name])
        flaw_field[mask], flaw_code[mask] = NUMBER[name], CODE[code]

    texts = {}
    for name in _TEXTS:
        array = arrays.get(name)
        if array is None or pa.types.is_null(array.type):
            texts[name] = Text.nulls(rows)
        else:
            texts[name] = _text(array)
            flaw(name, _damaged(array), "not_utf8")
    tags = _tags(arrays.get("scene_tags"), rows, flaw_field, flaw_code)
    occurred, occurred_null = _occurred(arrays["occurred_at"], flaw)
    amount, amount_null = _integers("amount_fen", arrays.get("amount_fen"), rows, flaw)
    subsidy, subsidy_null = _integers("subsidy_fen", arrays.get("subsidy_fen"), rows, flaw)
    kept = [_as_text(array) for array in arrays.values()]
    fields = [
        field.with_nullable(True).with_type(array.type)
        for field, array in zip(sent_schema, kept, strict=True)
    ]
    return Columns(
        rows=rows,
        entry_id=texts["entry_id"],
        platform_id=texts["platform_id"],
        merchant_id=texts["merchant_id"],
        occurred_ms=occurred,
        occurred_null=occurred_null,
        kind=codes_of_words(texts["kind"], KINDS),
        amount_fen=amount,
        amount_null=amount_null,
        refers_to=texts["refers_to"],
        district=codes_of_digits(texts["district_code"], 6),
        mcc=codes_of_digits(texts["mcc"], 4),
        channel=codes_of_words(texts["channel"], CHANNELS),
        tags=tags,
        program_id=texts["program_id"],
        subsidy_fen=subsidy,
        subsidy_null=subsidy_null,
        flaw_field=flaw_field,
        flaw_code=flaw_code,
        sent=pa.StructArray.from_arrays(kept, fields=fields),
        sent_schema=sent_schema,
    )


def _null(array: pa.Array) -> np.ndarray:
    return array.is_null().to_numpy(zero_copy_only=False)


def _text(array: pa.Array) -> Text:
    """Spans of a column's own buffers: nothing is copied, a dictionary's values stand once."""
    if not pa.types.is_dictionary(array.type):
        return _spans(array)
    values = _spans(array.dictionary)
    if len(array.dictionary) == 0:
        return Text.nulls(len(array))
    places = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
    size = values.size[places]
    size[_null(array.indices)] = NULL
    return Text(values.data, values.start[places], size)


def _spans(array: pa.Array) -> Text:
    if len(array) == 0:
        return Text.nulls(0)
    wide = pa.types.is_large_binary(array.type)
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int64 if wide else np.int32)
    bounds = bounds[array.offset : array.offset + len(array) + 1]
    start = np.ascontiguousarray(bounds[:-1], dtype=np.int64)
    size = np.diff(bounds).astype(np.int32)
    if array.null_count:
        size[_null(array)] = NULL
    body = (
        np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    )
    return Text(body, start, size)


def _damaged(array: pa.Array) -> np.ndarray:
    """Rows whose text is not UTF-8."""
    if not pa.types.is_dictionary(array.type):
        return not_utf8(_spans(array))
    if len(array.dictionary) == 0:
        return np.zeros(len(array), np.bool_)
    bad = not_utf8(_spans(array.dictionary))
    places = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
    return bad[places] & ~_null(array.indices)


def _as_text(array: pa.Array) -> pa.Array:
    """Bytes that are meant as text, said so. A row that is not UTF-8 carries its flaw by now."""
    if array.type in _AS_TEXT:
        return array.view(_AS_TEXT[array.type])
    if pa.types.is_dictionary(array.type):
        values = array.dictionary.view(_AS_TEXT[array.dictionary.type])
        return pa.DictionaryArray.from_arrays(array.indices, values)
    if array.type == _TAGS:
        validity, offsets = array.buffers()[:2]
        items = array.values.view(pa.large_string())
        kind = pa.large_list(pa.large_string())
        buffers = [validity, offsets]
        return pa.Array.from_buffers(
            kind, len(array), buffers, offset=array.offset, children=[items]
        )
    return array


def _occurred(array: pa.Array, flaw) -> tuple[np.ndarray, np.ndarray]:
    null = _null(array)
    kind = array.type
    if pa.types.is_null(kind):
        return np.zeros(len(array), np.int64), null
    if pa.types.is_integer(kind):
        values, _ = _integers("occurred_at", array, len(array), flaw)
        return values, null
    if pa.types.is_timestamp(kind):
        ticks = array.view(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        per_ms = {"us": 1_000, "ns": 1_000_000}.get(kind.unit)
        if per_ms:
            return ticks // per_ms, null
        if kind.unit == "s":
            far = np.abs(ticks) > 10**14
            flaw("occurred_at", far & ~null, "out_of_range")
            return np.where(far, 0, ticks) * 1000, null
        return np.array(ticks), null
    flaw("occurred_at", _damaged(array), "not_utf8")
    text = _text(array)
    null = text.size < 0
    if pa.types.is_dictionary(kind) and len(array.dictionary):
        # A long text that all rows share is read once.
        each, could = instants(_spans(array.dictionary))
        places = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
        values, readable = each[places], could[places]
    else:
        values, readable = instants(text)
    flaw("occurred_at", ~readable & ~null, "invalid_time")
    return values, null


def _integers(name: str, array: pa.Array | None, rows: int, flaw) -> tuple[np.ndarray, np.ndarray]:
    if array is None or pa.types.is_null(array.type):
        return np.zeros(rows, np.int64), np.ones(rows, np.bool_)
    null = _null(array)
    if pa.types.is_uint64(array.type):
        outside = pc.greater(array, pa.scalar(2**63 - 1, pa.uint64()))
    elif pa.types.is_decimal(array.type):
        array = array.cast(pa.decimal256(76, 0))
        outside = pc.greater(pc.abs(array), pa.scalar(2**63 - 1, pa.decimal256(76, 0)))
    else:
        outside = None
    if outside is not None:
        outside = outside.fill_null(False)
        mask = outside.to_numpy(zero_copy_only=False)
        if mask.any():
            flaw(name, mask, "out_of_range")
            array = pc.if_else(outside, pa.scalar(0, array.type), array)
    values = (array.fill_null(0) if array.null_count else array).cast(pa.int64())
    return values.to_numpy(zero_copy_only=False), null


def _tags(array: pa.Array | None, rows: int, flaw_field: np.ndarray, flaw_code: np.ndarray) -> Text:
    if array is None or pa.types.is_null(array.type) or array.null_count == rows:
        return Text.nulls(rows)
    tags = TagReader(rows, flaw_field, flaw_code)
    sizes = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    said = np.flatnonzero(sizes)
    # A long list is refused before it becomes Python objects.
    for row in said[sizes[said] > SCENE_TAGS_MAX].tolist():
        tags.wrong(row, "too_long")
    said = said[sizes[said] <= SCENE_TAGS_MAX]
    broken = np.zeros(rows, np.bool_)
    owners = np.repeat(np.arange(rows), sizes)
    items = array.flatten()
    broken[owners[_damaged(items)]] = True
    for row in np.flatnonzero(broken).tolist():
        tags.wrong(row, "not_utf8")
    said = said[~broken[said]]
    texts = array.take(pa.array(said)).cast(pa.large_list(pa.large_string())).to_pylist()
    for row, values in zip(said.tolist(), texts, strict=True):
        tags.listed(row, tuple(values))
    return tags.text()
