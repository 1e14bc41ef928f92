"""Which columns a body may have, and of which types. Pure."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from services.ingest.columns import FIELDS, NUMBER, REQUIRED
from services.ingest.refused import BodyRefused

METADATA_MAX_BYTES = 4 * 1024
"""Metadata of a schema is kept up to here: it goes with every dead letter."""


def check(schema: pa.Schema) -> None:
    """Raises BodyRefused for an unknown, missing, doubled or unreadable column."""
    names = schema.names
    for name in names:
        if name not in NUMBER:
            raise BodyRefused("unknown_column", name[:64], f"unknown column {name[:64]!r}")
        if names.count(name) > 1:
            raise BodyRefused("unknown_column", name, f"column {name} comes twice")
    for name in FIELDS:
        if name in REQUIRED and name not in names:
            raise BodyRefused("missing_column", name, f"column {name} is missing")
    for field in schema:
        if not _readable(field.name, field.type):
            shown = str(field.type)[:64]
            raise BodyRefused("column_type", field.name, f"column {field.name} is {shown}")


def without_large_metadata(schema: pa.Schema) -> pa.Schema:
    """The schema as it came, its metadata left out where they are large."""
    told = [schema.metadata, *(field.metadata for field in schema)]
    if sum(len(k) + len(v) for one in told if one for k, v in one.items()) > METADATA_MAX_BYTES:
        return pa.schema([field.remove_metadata() for field in schema])
    return schema


def is_text(kind: pa.DataType) -> bool:
    """Of one text a value, not encoded."""
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


def is_encoded(kind: pa.DataType) -> bool:
    return pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind)


def _readable(name: str, kind: pa.DataType) -> bool:
    if name in ("amount_fen", "subsidy_fen"):
        return _is(_integer, kind)
    if name == "occurred_at":
        return _is(lambda k: _zoned(k) or pa.types.is_integer(k) or is_text(k), kind)
    if name == "scene_tags":
        return pa.types.is_null(kind) or (is_list(kind) and _is(is_text, kind.value_type))
    return _is(is_text, kind)


def _is(allowed: Callable[[pa.DataType], bool], kind: pa.DataType) -> bool:
    """Whether the values are of such a type, however they are encoded."""
    if is_encoded(kind):
        kind = kind.value_type
    return pa.types.is_null(kind) or allowed(kind)


def _integer(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0)


def _zoned(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) and kind.tz is not None
