"""The record of `targets.v1`: an annual target with every version it ever had. Key: year/district/sector.

Compacted: the last record of a key holds, and carries the key's whole history, so that compaction
loses nothing. `sector` null (an empty part of the key) means all services: S01 to S12 and S99.
"""

from __future__ import annotations

import msgspec

CITY = "city"


class Version(msgspec.Struct, frozen=True, omit_defaults=False):
    """A target as it was set once. `value` in fen (amount) or a fraction (growth, share); `at` in epoch ms."""

    version: int
    """1, 2, … for each key."""
    form: str
    """amount | growth | share (the city only)."""
    value: float | int
    target_fen: int | None = None
    """What it comes to, fixed when it was set; null for a share."""
    base_fen: int | None = None
    """What a growth was applied to."""
    base_approximate: bool = False
    """The base came through the crosswalk of the division change."""
    basis: str | None = None
    note: str | None = None
    by: str | None = None
    at: int | None = None


class Target(msgspec.Struct, omit_defaults=False):
    """The version that holds, and in `history` all of them, oldest first (this one too).

    A record without `history` (an older writer) is its own only version: see `versions`.
    """

    year: int
    district: str
    """Six-digit code, or `city`."""
    sector: str | None = None
    form: str = "amount"
    value: float | int = 0
    target_fen: int | None = None
    basis: str | None = None
    by: str | None = None
    at: int | None = None
    base_fen: int | None = None
    base_approximate: bool = False
    note: str | None = None
    version: int = 1
    history: list[Version] = []

    @property
    def key(self) -> str:
        return key_of(self.year, self.district, self.sector)

    @property
    def versions(self) -> tuple[Version, ...]:
        """Every version, oldest first."""
        if self.history:
            return tuple(self.history)
        return (
            Version(
                self.version,
                self.form,
                self.value,
                self.target_fen,
                self.base_fen,
                self.base_approximate,
                self.basis,
                self.note,
                self.by,
                self.at,
            ),
        )


def of_versions(
    year: int, district: str, sector: str | None, versions: tuple[Version, ...]
) -> Target:
    """The record that says these versions; the last holds."""
    last = versions[-1]
    return Target(
        year,
        district,
        sector,
        last.form,
        last.value,
        last.target_fen,
        last.basis,
        last.by,
        last.at,
        last.base_fen,
        last.base_approximate,
        last.note,
        last.version,
        list(versions),
    )


def key_of(year: int, district: str, sector: str | None) -> str:
    return f"{year}/{district}/{sector or ''}"


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Target)


def encode(target: Target) -> bytes:
    return _encoder.encode(target)


def decode(value: bytes) -> Target:
    """Raises msgspec.ValidationError or msgspec.DecodeError. Unknown fields are let through."""
    return _decoder.decode(value)
