"""The record of `commits.v1`: what has become queryable in one partition. Key: epoch/partition.

At least once: the same commit may come twice. A reader looks at `last_offset` and `cells`.
"""

from __future__ import annotations

import msgspec


class Change(msgspec.Struct, array_like=True):
    """Cells touched in one district and sector, and what the flush added to them (fen, entries)."""

    district: str
    sector: str
    net_fen: int
    entries: int


class Commit(msgspec.Struct, omit_defaults=False):
    """Instants in epoch ms. `changes`: net of this flush, at most a row a district × sector."""

    epoch: int
    partition: int
    block: int
    last_offset: int
    entries: int
    duplicates: int
    conflicts: int
    net_fen: int
    recorded_from: int
    """Append time of the oldest record in it: freshness = committed_at − recorded_from."""
    committed_at: int
    through: int
    """Every record appended before this instant is booked."""
    complete: bool
    worker: str
    changes: list[Change]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Commit)


def encode(commit: Commit) -> bytes:
    return _encoder.encode(commit)


def decode(value: bytes) -> Commit:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return _decoder.decode(value)
