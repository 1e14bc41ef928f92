"""What a request is refused with: one family and one shape for every service.

    {"errors": [{"index", "field", "code", "message"}]}

Code and status are those of contracts/reasons.py; the message says it in English and in Chinese, and then
what was met. What is echoed of a request is bounded, and fit for eyes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from contracts.reasons import REASONS
from contracts.receipts.codec import RowError
from yumai import printable
from yumai.observability import telemetry
from yumai.sharing.asking import asker
from yumai.sharing.bodies import Brake, NeverCame, TooLarge, TooMuch

RETRY_SECONDS = 2
FIELD_MOST, DETAIL_MOST = 100, 1_000
_encode = msgspec.json.Encoder().encode


def error(
    code: str, field: str | None = None, detail: str = "", index: int | None = None
) -> RowError:
    """One error of an answer. `index`: of the row that it is about."""
    reason = REASONS[code]
    said = f"{reason.en} / {reason.zh}"
    return RowError(
        index,
        None if field is None else printable.line(field, FIELD_MOST),
        code,
        f"{said} ({printable.line(detail, DETAIL_MOST)})" if detail else said,
    )


class Refused(Exception):
    """A request that is not done: `code` of contracts/reasons.py, the field it is about, and what was met."""

    def __init__(
        self,
        code: str,
        field: str | None = None,
        detail: str = "",
        index: int | None = None,
        *,
        status: int | None = None,
        retry_seconds: int = RETRY_SECONDS,
    ) -> None:
        super().__init__(detail or code)
        self.status = status or REASONS[code].status
        self.retry_seconds = retry_seconds
        self.errors = [error(code, field, detail, index)]

    @classmethod
    def all(cls, refusals: Iterable[Refused]) -> Refused:
        """Several in one answer; the first one's status."""
        first, *others = refusals
        return first.with_errors(e for refused in (first, *others) for e in refused.errors)

    @classmethod
    def rows(cls, errors: Iterable[RowError]) -> Refused:
        """422: rows of a body, each with an error of its own."""
        return cls("invalid_field").with_errors(errors)

    def with_errors(self, errors: Iterable[RowError]) -> Refused:
        self.errors = list(errors)
        return self


class Unavailable(Refused):
    """The store or the broker is away: who asked should try again."""

    def __init__(self, detail: str) -> None:
        super().__init__("unavailable", None, detail)


def spent(of: TooMuch, retry_seconds: int = RETRY_SECONDS) -> Refused:
    """A budget that is used up: one's own (429), or that of all (503)."""
    telemetry.HTTP_OVER_BUDGET.inc(budget=of.budget, whose="own" if of.own else "all")
    code = "too_many" if of.own else "unavailable"
    return Refused(code, None, f"{of.budget} in work", retry_seconds=retry_seconds)


def response(refused: Refused) -> Response:
    headers = {}
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if refused.status in (429, 503):
        headers["Retry-After"] = str(refused.retry_seconds)
    body = _encode({"errors": refused.errors})
    return Response(body, refused.status, headers, media_type="application/json")


def install(app: FastAPI, brake: Brake, bug: str = "internal") -> None:
    """Every exception that ends a request becomes a refusal. `bug`: the reason where the fault is ours."""

    async def refused(_: Request, error: Any) -> Response:
        return response(error)

    async def too_much(_: Request, error: Any) -> Response:
        if error.own:
            await brake.hold(asker())
        return response(spent(error))

    async def too_large(_: Request, error: Any) -> Response:
        return response(Refused("too_large", None, str(error)))

    async def never_came(_: Request, error: Any) -> Response:
        detail = f"the body did not come to its end: {error}"
        return response(Refused("body_undecodable", None, detail))

    async def invalid(_: Request, error: Any) -> Response:
        return response(Refused.all(map(_parameter, error.errors())))

    async def no_such(_: Request, error: Any) -> Response:
        """No such path, or a method that it does not take."""
        detail = "" if error.status_code == 404 else str(error.detail)
        answer = response(Refused("not_found", None, detail, status=error.status_code))
        answer.headers.update(error.headers or {})
        return answer

    async def failed(_: Request, error: Any) -> Response:
        """Its stack goes to the log, never to who asked."""
        return response(Refused(bug))

    for kind, handler in (
        (Refused, refused),
        (TooMuch, too_much),
        (TooLarge, too_large),
        (NeverCame, never_came),
        (RequestValidationError, invalid),
        (HTTPException, no_such),
        (Exception, failed),
    ):
        app.add_exception_handler(kind, handler)


def _parameter(found: dict[str, Any]) -> Refused:
    """One of FastAPI's complaints about a parameter; of a list's item the field is the list."""
    where = [part for part in found["loc"][1:] if isinstance(part, str)]
    if found["type"] == "extra_forbidden":
        detail = "unknown parameter"
    elif found["type"] == "value_error":
        detail = str(found["ctx"]["error"])
    else:
        detail = str(found["msg"])
    return Refused("invalid_parameter", ".".join(where) or None, detail)
