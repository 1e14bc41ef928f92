"""The walk of a chunk: requests of one kind, read already, become records and outcomes. Pure.

columns = the rows of the requests, side by side
good, platforms = validate(columns)             # the rest is refused, each for one reason
ids, merchants, content = hashes of the good
places = registry.classify(merchants)
entries = batches.records(…)                    # by partition
dead = dead_letters.records(…)                  # by platform
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from contracts.entries.codec import SLOT_FUNCTION
from contracts.receipts.codec import RowError
from services.ingest import batches, content, dead_letters
from services.ingest.classify import MerchantIndex
from services.ingest.columns import CODES, FIELDS, Columns, concat
from services.ingest.dead_letters import Refused, message
from services.ingest.validate import validate

ERRORS_SHOWN = 100
BUREAU = "bureau"


@dataclass
class Request:
    """Rows of one receipt, read. `sender` None: the bureau. `row`: their numbers, else 0, 1, …"""

    receipt: bytes
    sender: str | None
    format: str
    columns: Columns
    header: str = ""
    recorded_on: str | None = None
    parents: tuple[str, ...] = ()
    """Traces that it belongs to (`contracts/traces.py`)."""
    row: np.ndarray | None = None

    @property
    def kind(self) -> tuple[object, ...]:
        """Requests of one kind may share records."""
        schema = self.columns.sent_schema
        whole = None if schema is None else schema.serialize().to_pybytes()
        return (self.format, self.header, whole, self.recorded_on)


@dataclass
class Outcome:
    received: int
    accepted: int
    errors: list[RowError] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        return self.received - self.accepted


@dataclass
class Chunk:
    """What a chunk has become: nothing of it is durable yet."""

    entries: list[batches.Record]
    dead: Iterable[tuple[str, pa.Buffer]]
    """Made as it is read, since it takes long where many rows are refused."""
    outcomes: list[Outcome]
    recorded_on: str | None
    refused: dict[str, int]
    """Code -> rows."""
    slot_function: str = SLOT_FUNCTION


def judge(
    requests: list[Request],
    index: MerchantIndex,
    partitions: int,
    now_ms: int,
    slot_function: str = SLOT_FUNCTION,
) -> Chunk:
    """All of `requests` have one kind. Uses up their columns' flaws: judge them once."""
    sizes = [request.columns.rows for request in requests]
    columns = concat([request.columns for request in requests])
    place = np.repeat(np.arange(len(requests), dtype=np.int32), sizes)
    row = np.concatenate(
        [
            np.arange(size, dtype=np.uint32) if request.row is None else request.row
            for size, request in zip(sizes, requests, strict=True)
        ]
    )
    good, platforms = validate(columns, place, [request.sender for request in requests], now_ms)
    ids = content.hashes(platforms.ids, platforms.codes, columns.entry_id, good)
    merchants = content.hashes(platforms.ids, platforms.codes, columns.merchant_id, good)
    placed = index.classify(merchants, columns.occurred_ms, columns.district, columns.mcc, good)
    judged = batches.Judged(
        good=good,
        ids=ids,
        slot_numbers=content.slot_numbers(
            slot_function, platforms.ids, platforms.codes, columns.entry_id, good, ids
        ),
        content=content.content(columns, good),
        request=place,
        row=row,
        platform=platforms.codes,
        platform_ids=platforms.ids,
        merchant=merchants,
        district=placed.district,
        sector=placed.sector,
        decided=placed.decided,
        map_version=placed.map_version,
    )
    first = requests[0]
    metadata = {"format": first.format}
    if first.header:
        metadata["header"] = first.header
    receipts = [request.receipt for request in requests]
    traced = any(request.parents for request in requests)
    entries = list(batches.records(columns, judged, receipts, partitions, metadata, traced))
    bad = np.flatnonzero(~good)
    begins = np.cumsum([0, *sizes])
    outcomes = [Outcome(size, size) for size in sizes]
    refused = []
    for at in bad.tolist():
        who = int(place[at])
        request, outcome = requests[who], outcomes[who]
        outcome.accepted -= 1
        code = CODES[columns.flaw_code[at]]
        number = int(columns.flaw_field[at])
        if number:
            name = FIELDS[number - 1]
        else:
            name = request.columns.unknown.get(at - int(begins[who]), "")
        if len(outcome.errors) < ERRORS_SHOWN:
            outcome.errors.append(RowError(int(row[at]), name or None, code, message(code)))
        refused.append(
            Refused(at, request.receipt, int(row[at]), _owner(request, platforms, at), code, name)
        )
    dead = dead_letters.records(columns, refused, now_ms)
    codes = Counter(one.code for one in refused)
    return Chunk(entries, dead, outcomes, first.recorded_on, dict(codes), slot_function)


def _owner(request: Request, platforms, at: int) -> str:
    """Whose dead letter it is: the sender's; of the bureau's rows the platform they name."""
    if request.sender is not None:
        return request.sender
    code = int(platforms.codes[at])
    return platforms.ids[code] if code >= 0 and platforms.allowed[code] else BUREAU
