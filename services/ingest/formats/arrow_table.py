"""Columns of an Arrow table, whichever file carried it. Pure."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.ingest.columns import (
    CHANNELS,
    CODE,
    FIELDS,
    NULL,
    NUMBER,
    REQUIRED,
    Columns,
    Text,
    empty_flaws,
)
from services.ingest.formats.refused import BodyRefused
from services.ingest.formats.tags import TagReader
from services.ingest.kernels import codes_of_digits, codes_of_words, instants, not_utf8
from yumai.entry import KINDS

DECODED_MAX_BYTES = 1024 * 1024 * 1024
_TEXTS = tuple(
    name
    for name in FIELDS
    if name not in ("occurred_at", "amount_fen", "subsidy_fen", "scene_tags")
)


def check_schema(schema: pa.Schema) -> None:
    """Raises BodyRefused for an unknown, missing, doubled or unreadable column."""
    for name in schema.names:
        if name not in NUMBER:
            raise BodyRefused("unknown_column", name[:64], f"unknown column {name[:64]!r}")
        if schema.names.count(name) > 1:
            raise BodyRefused("unknown_column", name, f"column {name} comes twice")
    for name in FIELDS:
        if name in REQUIRED and name not in schema.names:
            raise BodyRefused("missing_column", name, f"column {name} is missing")
    for field in schema:
        if not _readable(field.name, field.type):
            raise BodyRefused(
                "column_type", field.name, f"column {field.name} is {str(field.type)[:64]}"
            )


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


def _readable(name: str, kind: pa.DataType) -> bool:
    if pa.types.is_null(kind):
        return True
    if name in ("amount_fen", "subsidy_fen"):
        return pa.types.is_integer(kind)
    if name == "occurred_at":
        zoned = pa.types.is_timestamp(kind) and kind.tz is not None
        return zoned or pa.types.is_integer(kind) or _is_text(kind)
    if name == "scene_tags":
        return _is_list(kind) and (
            pa.types.is_string(kind.value_type)
            or pa.types.is_large_string(kind.value_type)
            or pa.types.is_null(kind.value_type)
        )
    return _is_text(kind)


def read(table: pa.Table) -> Columns:
    """Raises BodyRefused where a column is damaged. The schema has been checked."""
    rows = table.num_rows
    flaw_field, flaw_code = empty_flaws(rows)
    arrays = {name: _one(table.column(name)) for name in table.schema.names}

    def flaw(name: str, mask: np.ndarray, code: str) -> None:
        mask = mask & (flaw_field > NUMBER[name])
        flaw_field[mask], flaw_code[mask] = NUMBER[name], CODE[code]

    def text(name: str) -> Text:
        if name not in arrays or pa.types.is_null(arrays[name].type):
            return Text.nulls(rows)
        return _text(arrays[name])

    for name, array in arrays.items():
        bad = _damaged_text(name, array)
        if bad is not None:
            flaw(name, bad, "not_utf8")
    texts = {name: text(name) for name in _TEXTS}
    occurred, occurred_null = _occurred(arrays["occurred_at"], flaw)
    amount, amount_null = _integers("amount_fen", arrays.get("amount_fen"), rows, flaw)
    subsidy, subsidy_null = _integers("subsidy_fen", arrays.get("subsidy_fen"), rows, flaw)
    schema = table.schema
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
        tags=_tags(arrays.get("scene_tags"), rows, flaw_field, flaw_code),
        program_id=texts["program_id"],
        subsidy_fen=subsidy,
        subsidy_null=subsidy_null,
        flaw_field=flaw_field,
        flaw_code=flaw_code,
        sent=pa.StructArray.from_arrays(
            list(arrays.values()),
            fields=[f.with_nullable(True).with_type(arrays[f.name].type) for f in schema],
        ),
        sent_schema=schema,
    )


_PLAIN = {
    pa.string_view().id: lambda kind: pa.large_string(),
    pa.list_view(pa.string()).id: lambda kind: pa.list_(kind.value_type),
    pa.large_list_view(pa.string()).id: lambda kind: pa.large_list(kind.value_type),
}


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array, dictionaries made one."""
    plain = _PLAIN.get(column.type.id)
    if plain is not None:
        # Views can't be gathered yet: they are kept as what they mean.
        column = column.cast(plain(column.type))
    if column.num_chunks == 1:
        return column.chunk(0)
    if column.num_chunks == 0:
        return pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    joined = column.combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def _text(array: pa.Array) -> Text:
    """Spans of a text column's own buffers: nothing is copied."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if len(array) == 0:
        return Text.nulls(0)
    wide = pa.types.is_large_string(array.type)
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int64 if wide else np.int32)
    bounds = bounds[array.offset : array.offset + len(array) + 1]
    start = np.ascontiguousarray(bounds[:-1], dtype=np.int64)
    size = np.diff(bounds).astype(np.int32)
    if array.null_count:
        size[array.is_null().to_numpy(zero_copy_only=False)] = NULL
    body = (
        np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    )
    return Text(body, start, size)


def _damaged_text(name: str, array: pa.Array) -> np.ndarray | None:
    """Rows whose text is not UTF-8; None where there are none. Raises BodyRefused for other damage."""
    try:
        array.validate(full=True)
        return None
    except pa.ArrowException as error:
        broken = BodyRefused("body_undecodable", name, f"column {name}: {str(error)[:200]}")
    kind = array.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise broken
    try:
        array.validate()
        array.view(pa.binary() if pa.types.is_string(kind) else pa.large_binary()).validate(
            full=True
        )
    except pa.ArrowException:
        raise broken from None
    return not_utf8(_text(array))


def _occurred(array: pa.Array, flaw) -> tuple[np.ndarray, np.ndarray]:
    null = array.is_null().to_numpy(zero_copy_only=False)
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
    values, readable = instants(_text(array))
    flaw("occurred_at", ~readable & ~null, "invalid_time")
    return values, null


def _integers(name: str, array: pa.Array | None, rows: int, flaw) -> tuple[np.ndarray, np.ndarray]:
    if array is None or pa.types.is_null(array.type):
        return np.zeros(rows, np.int64), np.ones(rows, np.bool_)
    null = array.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_uint64(array.type):
        big = pc.greater(array, pa.scalar(2**63 - 1, pa.uint64())).fill_null(False)
        mask = big.to_numpy(zero_copy_only=False)
        if mask.any():
            flaw(name, mask, "out_of_range")
            array = pc.if_else(big, pa.scalar(0, pa.uint64()), array)
    values = (array.fill_null(0) if array.null_count else array).cast(pa.int64())
    return values.to_numpy(zero_copy_only=False), null


def _tags(array: pa.Array | None, rows: int, flaw_field: np.ndarray, flaw_code: np.ndarray) -> Text:
    if array is None or pa.types.is_null(array.type) or array.null_count == rows:
        return Text.nulls(rows)
    tags = TagReader(rows, flaw_field, flaw_code)
    sizes = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    said = np.flatnonzero(sizes)
    # A list of thousands is refused before it becomes Python objects.
    for row in said[sizes[said] > 64].tolist():
        tags.wrong(row, "too_long")
    said = said[sizes[said] <= 64]
    already = flaw_field == NUMBER["scene_tags"]
    said = said[~already[said]]
    for row, values in zip(said.tolist(), array.take(pa.array(said)).to_pylist(), strict=True):
        tags.listed(row, tuple(values))
    return tags.text()
