"""The walk of a chunk: requests of one kind, read already, become records and outcomes. Pure.

columns = the rows of the requests, side by side
good, platforms = validate(columns)             # the rest is refused, each for one reason
ids, merchants, content = hashes of the good
places = registry.classify(merchants)
entries = batches.records(…)                    # by partition
dead = dead_letters.records(…)                  # by platform
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from contracts.entries.codec import SLOT_FUNCTION
from contracts.receipts.codec import RowError
from services.ingest import batches, content, dead_letters
from services.ingest.classify import MerchantIndex
from services.ingest.columns import CODE, CODES, FIELDS, Columns, concat
from services.ingest.dead_letters import Allowance, RefusedRows, message
from services.ingest.validate import Platforms, validate

ERRORS_SHOWN = 100
BUREAU = "bureau"
_FIELD_NAMES = ("", *FIELDS)


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
    letters: Allowance | None = None
    """What its dead letters may keep, over all its pieces; None: the least."""

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

    def add(self, other: Outcome) -> None:
        """The rows that follow."""
        self.received += other.received
        self.accepted += other.accepted
        self.errors += other.errors[: ERRORS_SHOWN - len(self.errors)]

    def plus(self, other: Outcome) -> Outcome:
        both = Outcome(self.received, self.accepted, list(self.errors))
        both.add(other)
        return both


@dataclass
class Chunk:
    """What a chunk has become: nothing of it is durable yet."""

    entries: list[batches.EncodedRecord]
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
    who = place[bad]
    for number, count in enumerate(np.bincount(who, minlength=len(requests)).tolist()):
        outcomes[number].accepted -= count
    fields = _fields(columns, requests, bad, who, begins)
    for number in range(len(requests)):
        first_of = np.searchsorted(who, number)
        for nth in range(first_of, len(bad)):
            if who[nth] != number or nth - first_of >= ERRORS_SHOWN:
                break
            code = CODES[columns.flaw_code[bad[nth]]]
            error = RowError(int(row[bad[nth]]), fields[nth] or None, code, message(code))
            outcomes[number].errors.append(error)
    refused = RefusedRows(
        place=bad,
        request=who,
        row=row[bad],
        platform=_owners(requests, platforms, bad, who),
        code=columns.flaw_code[bad],
        field=fields,
    )
    allowed = [request.letters or Allowance(0) for request in requests]
    dead = dead_letters.records(columns, refused, receipts, allowed, now_ms)
    counts = np.bincount(refused.code, minlength=len(CODES)).tolist()
    codes = {code: rows for code, rows in zip(CODES, counts, strict=True) if rows}
    return Chunk(entries, dead, outcomes, first.recorded_on, codes, slot_function)


def _fields(
    columns: Columns, requests: list[Request], bad: np.ndarray, who: np.ndarray, begins: np.ndarray
) -> list[str]:
    """The field that each refused row is refused for; of an unknown one the name that came."""
    fields = [_FIELD_NAMES[number] for number in columns.flaw_field[bad].tolist()]
    for nth in np.flatnonzero(columns.flaw_code[bad] == CODE["unknown_field"]).tolist():
        request = int(who[nth])
        unknown = requests[request].columns.unknown
        fields[nth] = unknown.get(int(bad[nth]) - int(begins[request]), "")
    return fields


def _owners(
    requests: list[Request], platforms: Platforms, bad: np.ndarray, who: np.ndarray
) -> list[str]:
    """Whose dead letter each is: the sender's; of the bureau's rows the platform they name."""
    named = [p if ok else BUREAU for p, ok in zip(platforms.ids, platforms.allowed, strict=True)]
    named.append(BUREAU)  # −1: none was named
    senders = [request.sender for request in requests]
    codes = platforms.codes[bad].tolist()
    return [senders[w] or named[c] for w, c in zip(who.tolist(), codes, strict=True)]
