"""Who is told and how that went: the records of `subscriptions.v1`, `deliveries.v1` and `feeds.v1`."""

from __future__ import annotations

import base64
import hashlib
from typing import Literal

import msgspec

Channel = Literal["inbox", "email", "dingtalk", "wecom", "feishu", "webhook"]
DeliveryState = Literal["pending", "held", "delivered", "given_up"]
FeedState = Literal["ok", "silent", "broken", "late", "rejecting"]
LEVELS = ("blue", "yellow", "red")
BUREAU = "bureau"
SECRET_PREFIX = "whsec_"


class QuietHours(msgspec.Struct, rename={"from_": "from"}):
    """`HH:MM` in Shanghai, to `24:00`; over midnight where `to` is before `from`."""

    from_: str
    to: str


class Subscription(msgspec.Struct, omit_defaults=False):
    """One address of an office. `sectors` null: all."""

    id: str
    channel: Channel
    address: str = ""
    levels: list[str] = msgspec.field(default_factory=lambda: list(LEVELS))
    sectors: list[str] | None = None
    language: Literal["zh", "en"] = "zh"
    quiet_hours: QuietHours | None = None
    secret: str | None = None
    """Of a webhook: `whsec_` and base64, as the public libraries take it."""


class Subscriptions(msgspec.Struct, omit_defaults=False):
    """All of one office; the key is the office: `bureau` or `district:CODE`. The last record holds."""

    office: str
    subscriptions: list[Subscription]
    by: str
    at: int


class Delivery(msgspec.Struct, omit_defaults=False):
    """One message to one subscription, as its last attempt left it. Key: its id. Instants in epoch ms.

    `source`: what is told: `alert/2026-500101/3`, `feed/p1/2`, `test/ACTION`.
    """

    id: str
    office: str
    subscription: str
    source: str
    alert_id: str | None
    seq: int | None
    state: DeliveryState
    attempts: int
    last_error: str | None
    created_at: int
    at: int
    next_at: int
    since: int
    """Giving up counts from here: when it was made, or when its quiet hours ended."""


class FeedStep(msgspec.Struct, omit_defaults=False):
    """A feed went from one state to another. Key: the platform."""

    platform_id: str
    seq: int
    at: int
    state: FeedState
    last_entry_at: str | None = None
    districts: list[str] = []
    tell: list[str] = []


def target(office: str, subscription: str) -> str:
    """How a step names whom it is told."""
    return f"{office}/{subscription}"


def split_target(text: str) -> tuple[str, str]:
    office, _, subscription = text.partition("/")
    return office, subscription


def delivery_id(office: str, subscription: str, source: str) -> str:
    """The same for ever: what a receiver tells repetitions by (`webhook-id`)."""
    named = "\x1f".join((office, subscription, source)).encode()
    return "msg_" + base64.b32encode(hashlib.sha256(named).digest()[:15]).decode().lower()


def office_of(role: str, code: str) -> str:
    return BUREAU if role == BUREAU else f"{role}:{code}"


_encoder = msgspec.json.Encoder()
_subscriptions = msgspec.json.Decoder(Subscriptions)
_delivery = msgspec.json.Decoder(Delivery)
_feed = msgspec.json.Decoder(FeedStep)


def encode(record: Subscriptions | Delivery | FeedStep) -> bytes:
    return _encoder.encode(record)


def decode_subscriptions(value: bytes) -> Subscriptions:
    """This and the next two raise msgspec.ValidationError or msgspec.DecodeError."""
    return _subscriptions.decode(value)


def decode_delivery(value: bytes) -> Delivery:
    return _delivery.decode(value)


def decode_feed(value: bytes) -> FeedStep:
    return _feed.decode(value)
