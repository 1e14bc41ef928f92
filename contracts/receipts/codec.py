"""The record of `receipts.v1`: what ingest acknowledged, one JSON record a request, key = id.

It is written after every entry and dead letter of the request is durable, and before the 200.
"""

from __future__ import annotations

import msgspec


class RowError(msgspec.Struct, omit_defaults=False):
    index: int | None
    field: str | None
    code: str
    message: str


class Receipt(msgspec.Struct, omit_defaults=False):
    """`at` in epoch ms. `errors`: the first 100, in row order. Hashes are hex."""

    receipt_id: str
    platform_id: str
    """Who sent it: a platform, or `bureau`."""
    received: int
    accepted: int
    rejected: int
    errors: list[RowError]
    errors_truncated: bool
    format: str
    at: int
    key_hash: str = ""
    """SHA-256 of sender 0x1F Idempotency-Key; empty without the header."""
    body_hash: str = ""
    """SHA-256 of the decompressed body (and Recorded-On); set with the header only."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Receipt)


def encode(receipt: Receipt) -> bytes:
    return _encoder.encode(receipt)


def decode(value: bytes) -> Receipt:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return _decoder.decode(value)
