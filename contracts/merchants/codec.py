"""The record of `merchants.v1`: a merchant's whole history of spans, as JSON. Key: see `key`.

Compacted: the last record of a key is the history. A record replaces, it never adds.
"""

from __future__ import annotations

from datetime import date

import msgspec


class Span(msgspec.Struct, frozen=True, omit_defaults=True):
    """What holds of a merchant from `valid_from` to `valid_to` (Shanghai dates, inclusive).

    `valid_to` None: until further notice. `industry` (GB/T 4754 class) goes before `mcc`.
    """

    district_code: str
    valid_from: date
    valid_to: date | None = None
    mcc: str | None = None
    industry: str | None = None
    group_id: str | None = None


class Merchant(msgspec.Struct, frozen=True):
    """Spans in order of time; no two overlap."""

    platform_id: str
    merchant_id: str
    spans: tuple[Span, ...]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Merchant)


def key(platform_id: str, merchant_id: str) -> bytes:
    return f"{platform_id}\x1f{merchant_id}".encode()


def encode(merchant: Merchant) -> bytes:
    return _encoder.encode(merchant)


def decode(value: bytes) -> Merchant:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return _decoder.decode(value)
