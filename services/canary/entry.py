"""What a round sends: one entry a door, each in a cell of its own. Pure.

A cell is an hour of the last year, drawn by lot: the round knows its entry again by what the cell
gained, to the fen, although other rounds (of `yumai canary` beside the service) may be under way.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.days import SHANGHAI
from yumai import canary
from yumai.observability.telemetry import CANARY_DOORS

KAFKA = "kafka"
MEDIA_TYPES = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
    "file": "text/csv",
}
"""The HTTP door, once for each format, and a file as `yumai send day.csv.gz` sends it."""
DOORS = CANARY_DOORS
YEAR_HOURS = 365 * 24
MOST_FEN = 1_000_000_00


@dataclass(frozen=True)
class Sent:
    """One door's entry. `hour`: start of its cell."""

    door: str
    entry_id: str
    hour: datetime
    amount_fen: int

    def fields(self) -> dict[str, Any]:
        return {
            "entry_id": self.entry_id,
            "platform_id": canary.PLATFORM,
            "merchant_id": canary.MERCHANT,
            "occurred_at": (self.hour + timedelta(minutes=30)).isoformat(),
            "kind": "sale",
            "amount_fen": self.amount_fen,
            "mcc": canary.MCC,
        }

    def body(self) -> bytes:
        """The entry as the body that its door takes."""
        fields = self.fields()
        if self.door in ("csv", "file"):
            text = io.StringIO()
            writer = csv.DictWriter(text, list(fields))
            writer.writeheader()
            writer.writerow(fields)
            body = text.getvalue().encode()
            return gzip.compress(body) if self.door == "file" else body
        if self.door in ("arrow", "parquet"):
            table = pa.Table.from_pylist([fields])
            sink = pa.BufferOutputStream()
            if self.door == "arrow":
                with pa.ipc.new_stream(sink, table.schema) as writer:
                    writer.write_table(table)
            else:
                pq.write_table(table, sink)
            return sink.getvalue().to_pybytes()
        return json.dumps([fields] if self.door == "json" else fields).encode()


def draw(now: datetime, doors: tuple[str, ...] = DOORS) -> list[Sent]:
    """One entry a door, in different hours before today."""
    midnight = now.astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
    hours = random.SystemRandom().sample(range(1, YEAR_HOURS), len(doors))
    return [
        Sent(
            door,
            secrets.token_hex(12),
            midnight - timedelta(hours=h),
            secrets.randbelow(MOST_FEN) + 1,
        )
        for door, h in zip(doors, hours, strict=True)
    ]


@dataclass(frozen=True)
class Cell:
    entries: int = 0
    net_fen: int = 0


def judge(sent: Sent, before: Cell, now: Cell) -> str | None:
    """ "" when the cell gained this entry and nothing else, None while it gained nothing, else what is wrong."""
    gained = Cell(now.entries - before.entries, now.net_fen - before.net_fen)
    if gained == Cell():
        return None
    if gained == Cell(1, sent.amount_fen):
        return ""
    return (
        f" {gained.entries} entries and {gained.net_fen} fen"
        f" where 1 and {sent.amount_fen} were sent"
    )
