"""The records of `actions.v1`: what people ask of an alert, and what came of it.

An action has an id of its own; its verdict (key `ID/verdict`) follows it in the same partition. An action
without a verdict is still to be done, by the next reader of the log: it is done once, whatever dies between.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["acknowledge", "explain", "silence", "test"]
Result = Literal["applied", "unchanged", "refused"]


class Action(msgspec.Struct, omit_defaults=False, tag="action", tag_field="record"):
    """`at` in epoch ms; what its kind does not need is null. `test`: of one subscription of `office`."""

    id: str
    kind: Kind
    at: int
    by: str
    alert_id: str | None = None
    note: str | None = None
    text: str | None = None
    measure: str | None = None
    due_date: str | None = None
    until: str | None = None
    until_ms: int | None = None
    reason: str | None = None
    office: str | None = None
    subscription: str | None = None


class Verdict(msgspec.Struct, omit_defaults=False, tag="verdict", tag_field="record"):
    """`seq`: the alert's last step when it was judged. `code` of contracts/reasons where refused."""

    action: str
    at: int
    result: Result
    alert_id: str | None = None
    seq: int = 0
    code: str | None = None

    @property
    def key(self) -> str:
        return f"{self.action}/verdict"


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Action | Verdict)


def encode(record: Action | Verdict) -> bytes:
    return _encoder.encode(record)


def decode(value: bytes) -> Action | Verdict:
    """Raises msgspec.ValidationError or msgspec.DecodeError. Unknown fields are let through."""
    return _decoder.decode(value)
