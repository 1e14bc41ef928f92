"""What a record of `entries.v1` may hold: all that the books can keep, and nothing else. Pure.

The door that writes a record and the worker that books it ask the same function, so that nothing that
was acknowledged can turn out to be more than a key, a column or a kernel has room for.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.entries.codec import JUDGED
from yumai.districts import districts
from yumai.entry import AMOUNT_MAX_FEN, BATCH_MAX_ENTRIES, KINDS
from yumai.sectors import SECTOR_CODES

HOUR_MS = 3_600_000
OCCURRED_BELOW_MS = (1 << 20) * HOUR_MS
"""An hour's number has 20 bits: until August 2089."""


def _known(numbers: Iterable[int], below: int) -> np.ndarray:
    known = np.zeros(below, np.bool_)
    known[list(numbers)] = True
    return known


_DISTRICTS = _known({0, *map(int, districts())}, 1_000_000)
_SECTORS = _known(SECTOR_CODES, 128)
_KIND, _AMOUNT, _OCCURRED, _DISTRICT, _SECTOR = map(
    JUDGED.get_field_index, ("kind", "amount_fen", "occurred_at", "district", "sector")
)


def fault(batch: pa.RecordBatch) -> str:
    """Why this batch, with the columns of JUDGED, can't be booked; empty where it can."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        return f"damaged: {str(error)[:200]}"
    if batch.num_rows > BATCH_MAX_ENTRIES:
        return f"{batch.num_rows} rows, at most {BATCH_MAX_ENTRIES}"
    for column, name in zip(batch.columns, JUDGED.names, strict=True):
        # A null may also be a code that names a null of the dictionary.
        if column.null_count or (
            pa.types.is_dictionary(column.type) and column.dictionary.null_count
        ):
            return f"a null in {name}"
    if not batch.num_rows:
        return ""
    for at, least, most in (
        (_KIND, 1, len(KINDS)),
        (_AMOUNT, 1, AMOUNT_MAX_FEN),
        (_OCCURRED, 0, OCCURRED_BELOW_MS - 1),
    ):
        found = pc.min_max(batch.column(at))
        if found["min"].as_py() < least or found["max"].as_py() > most:
            return f"{JUDGED.names[at]} beyond {least} to {most}"
    for at, allowed in ((_DISTRICT, _DISTRICTS), (_SECTOR, _SECTORS)):
        values = batch.column(at).to_numpy()
        if not 0 <= values.min() <= values.max() < len(allowed) or not allowed[values].all():
            return f"a {JUDGED.names[at]} that is none"
    return ""
