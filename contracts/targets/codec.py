"""The record of `targets.v1`: one annual target as it was last set. Key: year/district/sector.

Compacted: the last record of a key holds. `sector` null (an empty part of the key) means all
services: S01 to S12 and S99.
"""

from __future__ import annotations

import msgspec

CITY = "city"


class Target(msgspec.Struct, omit_defaults=False):
    """`value` in fen (form amount) or a fraction (growth, share); `at` in epoch ms."""

    year: int
    district: str
    """Six-digit code, or `city`."""
    sector: str | None = None
    form: str = "amount"
    """amount | growth | share (the city only)."""
    value: float | int = 0
    target_fen: int | None = None
    """What it comes to, fixed when it was set; null for a share."""
    basis: str | None = None
    by: str | None = None
    at: int | None = None

    @property
    def key(self) -> str:
        return key_of(self.year, self.district, self.sector)


def key_of(year: int, district: str, sector: str | None) -> str:
    return f"{year}/{district}/{sector or ''}"


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Target)


def encode(target: Target) -> bytes:
    return _encoder.encode(target)


def decode(value: bytes) -> Target:
    """Raises msgspec.ValidationError or msgspec.DecodeError. Unknown fields are let through."""
    return _decoder.decode(value)
