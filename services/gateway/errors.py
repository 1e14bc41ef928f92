"""What a request is refused with. One shape for all: `{"errors": [{index, field, code, message}]}`."""

from __future__ import annotations

import orjson
from starlette.responses import Response

from contracts.reasons import REASONS
from yumai import printable
from yumai.observability import telemetry
from yumai.sharing.bodies import TooMuch

RETRY_SECONDS = 2
FIELD_MOST, MESSAGE_MOST = 100, 1_000
"""Characters: what is echoed of a request is bounded, and fit for eyes."""


class Refused(Exception):
    """A request that gets no answer: `code` of contracts/reasons, the parameter, and why."""

    retry_seconds: int | None = None

    def __init__(self, code: str, field: str | None = None, message: str | None = None) -> None:
        reason = REASONS[code]
        self.status = reason.status
        if field is not None:
            field = printable.line(field, FIELD_MOST)
        message = printable.line(message or reason.en, MESSAGE_MOST)
        self.errors = [{"index": None, "field": field, "code": code, "message": message}]
        super().__init__(f"{code} {field or ''} {message or ''}")

    @classmethod
    def all(cls, refusals: list[Refused]) -> Refused:
        """Several wrong parameters in one answer."""
        first = refusals[0]
        first.errors = [error for refusal in refusals for error in refusal.errors]
        return first


class Unavailable(Exception):
    """The store or the broker is away: the reader should try again."""


def spent(of: TooMuch, retry_seconds: int | None = None) -> Refused:
    """A budget that is used up: one's own (429), or that of all (503)."""
    telemetry.HTTP_OVER_BUDGET.inc(budget=of.budget, whose="own" if of.own else "all")
    code = "too_many" if of.own else "unavailable"
    reason = REASONS[code]
    refused = Refused(code, None, f"{reason.en} / {reason.zh} ({of.budget})")
    refused.retry_seconds = retry_seconds
    return refused


def response(refused: Refused) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else {}
    if refused.status in (429, 503):
        headers["Retry-After"] = str(refused.retry_seconds or RETRY_SECONDS)
    return Response(
        orjson.dumps({"errors": refused.errors}),
        refused.status,
        headers,
        media_type="application/json",
    )


def unavailable(error: Unavailable) -> Response:
    body = {
        "errors": [
            {
                "index": None,
                "field": None,
                "code": "unavailable",
                "message": f"the store can't be read now, try again: {error}",
            }
        ]
    }
    return Response(
        orjson.dumps(body),
        503,
        {"Retry-After": str(RETRY_SECONDS)},
        media_type="application/json",
    )
