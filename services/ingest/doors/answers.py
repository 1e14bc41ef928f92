"""Answers of the HTTP door: JSON, and every refusal in one shape."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from contracts.reasons import REASONS
from yumai import printable

_encode = msgspec.json.Encoder().encode
RETRY_SECONDS = 2
FIELD_MOST, DETAIL_MOST = 100, 1_000


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(_encode(body), status, headers, media_type="application/json")


class Refusal(Exception):
    """The request as a whole is refused: `code` of contracts/reasons.py says with which status."""

    def __init__(
        self, code: str, detail: str = "", field: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(detail or code)
        # What is echoed of a request is bounded, and fit for eyes.
        self.code, self.detail = code, printable.line(detail, DETAIL_MOST)
        self.field = None if field is None else printable.line(field, FIELD_MOST)
        self.status = status or REASONS[code].status

    def response(self) -> Response:
        reason = REASONS[self.code]
        said = f"{reason.en} / {reason.zh}"
        message = f"{said} ({self.detail})" if self.detail else said
        headers = {}
        if self.status in (429, 503):
            headers["Retry-After"] = str(RETRY_SECONDS)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        error = {"index": None, "field": self.field, "code": self.code, "message": message}
        return answer({"errors": [error]}, self.status, headers)
