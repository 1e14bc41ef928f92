"""The record of `alerts.v1`: one step in an alert's life, with the figures as they were.

Key: the alert's id, `year-district`. (id, seq) names a step: of two records that name the same, the
first in the log holds, so that a worker that comes late changes nothing.

`Step` is what anybody may read; `StepRecord` adds what only its writer needs. Fields that a later version
added have defaults, so that every record ever written is read for ever.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Kind = Literal[
    "watched",
    "opened",
    "worsened",
    "eased",
    "reminded",
    "acknowledged",
    "explained",
    "silenced",
    "escalated",
    "resolved",
    "withdrawn",
    "reopened",
    "missed",
]
State = Literal[
    "ok", "watch", "open", "acknowledged", "explained", "resolved", "withdrawn", "missed"
]
Level = Literal["green", "blue", "yellow", "red"]

SYSTEM = "system"
LIVE = ("open", "acknowledged", "explained")
"""States of an alert that somebody can act on."""
ENDED = ("resolved", "withdrawn", "missed")
QUIET_KINDS = ("watched", "eased")
"""Never told."""
HELD_BACK = ("worsened", "reminded")
"""Not told while a silence lasts."""


class Sector(msgspec.Struct, omit_defaults=False):
    """One sector with a target inside the alert."""

    sector: str
    level: str | None = None
    pace: float | None = None
    attained_fen: int | None = None


class Silence(msgspec.Struct, omit_defaults=False):
    by: str
    until: str
    """As it was given: an instant, or a day that counts to its end."""
    until_ms: int
    reason: str


class Step(msgspec.Struct, omit_defaults=False):
    """`at` in epoch ms; `seq` from 1, without holes in one alert. All but kind and text: after it."""

    id: str
    seq: int
    at: int
    year: int
    district: str
    kind: Kind
    state: State
    level: Level | None
    figures: dict[str, Any]
    """A progress row of `/v1/progress`: of all services, or of the worst sector without such a target."""
    by: str = SYSTEM
    text: str | None = None
    sectors: list[Sector] = []
    opened_at: int | None = None
    """When it was last opened or reopened."""
    escalated_at: int | None = None
    silence: Silence | None = None
    work_item_id: str | None = None


class StepRecord(Step, omit_defaults=False):
    """The whole record of `alerts.v1`: a Step, and the fields that only alerts itself reads."""

    tell: list[str] = []
    """Whom it is told: `office/subscription`. The outbox is made from this."""
    action: str | None = None
    """The action of `actions.v1` that caused it."""
    explanation: str | None = None
    measure: str | None = None
    due_date: str | None = None
    opened_on: str | None = None
    """The day (Shanghai) as of which it was last opened."""
    told_at: int | None = None
    """When it was last told that it lags."""
    seen_levels: list[str] = []
    """Levels and sectors since it was last opened: a subscription that was told of one is told of its end."""
    seen_sectors: list[str] = []


def alert_id(year: int, district: str) -> str:
    return f"{year}-{district}"


def district_of(alert: str) -> str:
    """The district in an alert's id."""
    return alert.partition("-")[2]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Step)
_whole = msgspec.json.Decoder(StepRecord)


def encode(step: Step) -> bytes:
    return _encoder.encode(step)


def decode(value: bytes) -> Step:
    """Raises msgspec.ValidationError or msgspec.DecodeError. Unknown fields are let through."""
    return _decoder.decode(value)


def decode_whole(value: bytes) -> StepRecord:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return _whole.decode(value)
