"""The record of `alerts.v1`: one step in an alert's life, with the figures as they were.

Key: the alert's id, `year-district`. (id, seq) names a step: reading one twice changes nothing.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["opened", "worsened", "eased", "resolved", "reopened"]
State = Literal["open", "resolved"]
Level = Literal["green", "yellow", "red"]


class Figures(msgspec.Struct, omit_defaults=False):
    """Year to date of all services (S01–S12, S99) as judged; `at` in epoch ms."""

    target_fen: int
    attained_fen: int
    expected_fen: int
    """What the target asks for by `at`: target × expected share of the year."""
    pace: float
    """attained / expected."""
    at: int


class Step(msgspec.Struct, omit_defaults=False):
    """`at` in epoch ms; `seq` from 1, without holes in one alert."""

    id: str
    seq: int
    at: int
    year: int
    district: str
    kind: Kind
    state: State
    level: Level
    figures: Figures


def alert_id(year: int, district: str) -> str:
    return f"{year}-{district}"


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Step)


def encode(step: Step) -> bytes:
    return _encoder.encode(step)


def decode(value: bytes) -> Step:
    """Raises msgspec.ValidationError or msgspec.DecodeError. Unknown fields are let through."""
    return _decoder.decode(value)
