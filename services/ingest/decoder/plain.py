"""A strange array becomes a plain one, checked in full before anything follows its offsets. Pure.

| came as | is handed on as |
|---|---|
| a text of any kind | binary or large_binary: whether it is UTF-8 is judged by row |
| a dictionary or runs of texts | a dictionary of them, int32, with the values in use |
| a dictionary or runs of other values | those values |
| a list of any kind | large_list of large_binary |
| integers, decimals, timestamps, nulls | as they came |

No text is repeated for every row that says it, and `Said` counts what the rows would say in all.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.ingest.decoder.schema import is_list
from services.ingest.refused import BodyRefused

SAID_MAX_BYTES = 512 * 1024 * 1024
"""Of all rows' texts, each counted as often as it is said: what judging them costs."""
_SPREAD_MAX_BYTES = 64 * 1024 * 1024
"""What shared texts may become where they have to be written out (views, encoded items of lists)."""


class Said:
    """Counts the bytes that a body's rows say. Raises BodyRefused (413)."""

    def __init__(self) -> None:
        self._bytes = 0

    def count(self, more: int) -> None:
        self._bytes += more
        if self._bytes > SAID_MAX_BYTES:
            raise BodyRefused("too_large", None, "its rows say more than 512 MiB of text")


def plain(array: pa.Array, said: Said, known: LastDictionary | None = None) -> pa.Array:
    """Raises pa.ArrowException for a damaged array, BodyRefused for one that is too large."""
    array.validate()
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _dictionary(array, said, known)
    if pa.types.is_run_end_encoded(kind):
        return _runs(array, said)
    if is_list(kind):
        return _list(array, said)
    made = _values(array)
    if _is_bytes(made.type):
        said.count(int(_sizes(made).sum()))
    return made


class LastDictionary:
    """A column's last dictionary, checked: the same one comes again with every batch."""

    def __init__(self) -> None:
        self._of: tuple[object, ...] = ()
        self._values: tuple[pa.Array, np.ndarray | None] | None = None

    def values(self, dictionary: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
        """(values, bytes of each where they are texts)."""
        found = tuple(b and (b.address, b.size) for b in dictionary.buffers())
        of = (len(dictionary), dictionary.offset, *found)
        if self._values is None or of != self._of:
            self._of, self._values = of, _measured(_values(dictionary))
        return self._values


def _measured(values: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    return values, _sizes(values) if _is_bytes(values.type) else None


def compact(array: pa.DictionaryArray) -> pa.DictionaryArray:
    """Only the values in use."""
    if not len(array.dictionary) or not len(array):
        return pa.DictionaryArray.from_arrays(array.indices, array.dictionary.slice(0, 0))
    indices = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
    used, places = np.unique(indices, return_inverse=True)
    if len(used) == len(array.dictionary):
        return array
    codes = pa.array(places.astype(np.int32), mask=_nulls(array.indices))
    return pa.DictionaryArray.from_arrays(codes, array.dictionary.take(pa.array(used)))


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


_AS_BYTES = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}


def _values(array: pa.Array) -> pa.Array:
    """Values that are not encoded, checked in full; texts as bytes."""
    array.validate()
    if array.type in _AS_BYTES:
        array = array.view(_AS_BYTES[array.type])
    array.validate(full=True)
    if array.type == pa.binary_view():
        return _written_out(array)
    return array


def _written_out(views: pa.Array) -> pa.Array:
    """Views as large_binary. Many may show the same bytes."""
    lengths = np.frombuffer(views.buffers()[1], np.int32)[::4][views.offset :][: len(views)]
    shown = int(lengths[~_nulls(views)].astype(np.int64).sum())
    held = sum(buffer.size for buffer in views.buffers() if buffer is not None)
    _check_spread(shown, held)
    return views.cast(pa.large_binary())


def _check_spread(becomes: int, held: int) -> None:
    if becomes > _SPREAD_MAX_BYTES and becomes > held:
        raise BodyRefused("too_large", None, "shared texts would become more than 64 MiB")


def _nulls(array: pa.Array) -> np.ndarray:
    return array.is_null().to_numpy(zero_copy_only=False)


def _sizes(array: pa.Array) -> np.ndarray:
    """Bytes of each value; a null has none."""
    sizes = pc.binary_length(array).fill_null(0)
    return sizes.to_numpy(zero_copy_only=False).astype(np.int64)


def _dictionary(array: pa.DictionaryArray, said: Said, known: LastDictionary | None) -> pa.Array:
    values, sizes = (known or LastDictionary()).values(array.dictionary)
    indices = array.indices
    indices.validate(full=True)
    return _encoded(indices, values, sizes, said)


def _encoded(indices: pa.Array, values: pa.Array, sizes: np.ndarray | None, said: Said) -> pa.Array:
    """Values by their places: a dictionary of texts, anything else written out."""
    bounds = pc.min_max(indices)
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    if low is not None and (low < 0 or high >= len(values)):
        raise pa.ArrowInvalid("a dictionary's index is out of bounds")
    indices = indices.cast(pa.int32())
    if sizes is None:
        return values.take(indices)
    if len(values):
        places = indices.drop_null().to_numpy(zero_copy_only=False)
        said.count(int(sizes[places].sum()))
    return compact(pa.DictionaryArray.from_arrays(indices, values))


def _runs(array: pa.Array, said: Said) -> pa.Array:
    ends = array.run_ends
    values, sizes = _measured(_values(array.values))
    ends.validate(full=True)
    bounds = ends.to_numpy(zero_copy_only=False).astype(np.int64)
    rows = np.arange(array.offset, array.offset + len(array), dtype=np.int64)
    if len(rows):
        rising = len(bounds) and bounds[0] > 0 and (np.diff(bounds) > 0).all()
        if ends.null_count or not rising or bounds[-1] <= rows[-1] or len(values) < len(bounds):
            raise pa.ArrowInvalid("ends of runs that don't cover the rows")
    places = np.searchsorted(bounds, rows, side="right").astype(np.int32)
    return _encoded(pa.array(places), values, sizes, said)


def _list(array: pa.Array, said: Said) -> pa.Array:
    """large_list of large_binary, the items of each row behind those of the row before."""
    begins, sizes = _spans(array)
    null = _nulls(array)
    sizes = np.where(null, 0, sizes)
    items = array.values
    if pa.types.is_null(items.type):
        items = pa.nulls(0, pa.large_binary())
        sizes = np.minimum(sizes, 0)
    else:
        items = plain(items, Said())
    if (
        len(sizes)
        and ((sizes < 0) | (begins < 0) | (begins + sizes > len(items)))[sizes != 0].any()
    ):
        raise pa.ArrowInvalid("a list's items are out of bounds")
    count = int(sizes.sum())
    if count > len(items) + _SPREAD_MAX_BYTES // 8:
        raise BodyRefused("too_large", None, "shared items of lists would become too many")
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    places = np.arange(count, dtype=np.int64) + np.repeat(begins - offsets[:-1], sizes)
    if pa.types.is_dictionary(items.type):
        becomes = (
            int(
                _sizes(items.dictionary)[
                    items.indices.fill_null(0).to_numpy(zero_copy_only=False)[places]
                ].sum()
            )
            if len(items.dictionary)
            else 0
        )
        held = items.dictionary.nbytes
    else:
        becomes = int(_sizes(items)[places].sum())
        held = items.nbytes
    _check_spread(becomes, held)
    said.count(becomes)
    taken = items.take(pa.array(places))
    if pa.types.is_dictionary(taken.type):
        taken = taken.dictionary_decode()
    made = taken.cast(pa.large_binary())
    validity = None if not null.any() else pa.array(~null).buffers()[1]
    buffers = [validity, pa.py_buffer(offsets)]
    kind = pa.large_list(pa.large_binary())
    return pa.Array.from_buffers(kind, len(sizes), buffers, children=[made])


def _spans(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(where each list begins in `values`, its items)."""
    kind, rows = array.type, len(array)
    if pa.types.is_fixed_size_list(kind):
        begins = (np.arange(rows, dtype=np.int64) + array.offset) * kind.list_size
        return begins, np.full(rows, kind.list_size, np.int64)
    views = pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)
    wide = pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind)
    width = np.dtype(np.int64 if wide else np.int32)
    buffers = array.buffers()

    def numbers(buffer: pa.Buffer | None, count: int) -> np.ndarray:
        if buffer is None or buffer.size < (array.offset + count) * width.itemsize:
            if rows:
                raise pa.ArrowInvalid("a list without its offsets")
            return np.zeros(count, np.int64)
        found = np.frombuffer(buffer, width, count, array.offset * width.itemsize)
        return found.astype(np.int64)

    if views:
        return numbers(buffers[1], rows), numbers(buffers[2], rows)
    offsets = numbers(buffers[1], rows + 1)
    return offsets[:-1], np.diff(offsets)
