"""Bodies of requests: read up to a limit, and as the models that the document shows, with every problem named."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)
from starlette.requests import Request

from contracts.days import FIRST_DAY, LAST_DAY, SHANGHAI, book_day, looks_like_day
from yumai.http.refusals import Refused
from yumai.sharing.bodies import Bodies

TEXT_MOST = 2_000
BODY_MOST = 1 << 20
MISSING = object()


class Body(BaseModel):
    """A JSON object; nothing is made of another type, and a field that nobody knows is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


Model = TypeVar("Model", bound=Body)


async def taken(request: Request, most: int = BODY_MOST) -> bytes:
    """The body, never more of it than `most`. Raises Refused, TooMuch, TooLarge, NeverCame."""
    if request.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise Refused("unsupported_media_type", "content-encoding", "want the body unpacked")
    bodies: Bodies = request.app.state.bodies
    return await bodies.read(request, request.state.in_work, most)


def parsed(raw: bytes, empty: Any = MISSING) -> Any:
    """JSON of a body. Raises Refused."""
    if not raw.strip() and empty is not MISSING:
        return empty
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused("body_undecodable", None, f"not JSON: {error}") from error


def read(model: type[Model], body: Any, index: int | None = None, **context: Any) -> Model:
    """Raises Refused with all problems; `index`: of the row that the body is."""
    try:
        return model.model_validate(body, context=context)
    except ValidationError as error:
        raise Refused.all(_wrong(problem, model, index) for problem in error.errors()) from None


def _wrong(problem: Any, model: type[Body], index: int | None) -> Refused:
    field, where = "", list(problem["loc"])
    if where and isinstance(where[-1], int):
        where.pop()  # of a list's item the field is the list
    for part in where:
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else part
    detail = problem["msg"]
    if problem["type"] == "value_error":
        detail = str(problem["ctx"]["error"])
    elif problem["type"] == "model_type":
        detail = "want a JSON object"
    elif problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
        known = (f.alias or name for name, f in model.model_fields.items())
        detail = f"unknown field; known are {', '.join(known)}"
    return Refused("invalid_field", field or None, detail, index)


def _day(text: Any) -> date:
    try:
        return book_day(text.strip())
    except (ValueError, AttributeError):
        raise ValueError(
            f"{text!r} is not a day from {FIRST_DAY} to {LAST_DAY}; want YYYY-MM-DD"
        ) from None


class Until:
    """An instant with its offset, or a day that counts to its end."""

    def __init__(self, text: Any) -> None:
        """Raises ValueError."""
        self.text = text.strip() if isinstance(text, str) else ""
        if looks_like_day(self.text):
            day = _day(self.text)
            try:
                self.at = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI) + timedelta(1)
            except OverflowError:
                raise ValueError("too far away") from None
            return
        try:
            at = datetime.fromisoformat(self.text) if looks_like_day(self.text[:10]) else None
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            raise ValueError(f"{text!r} is neither a day nor an RFC 3339 instant with an offset")
        self.at = at


def _nothing_is_none(text: str | None) -> str | None:
    return text or None


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_MOST)]
"""A text that is needed, without space around it."""
NONE_IF_EMPTY = AfterValidator(_nothing_is_none)
Stripped = Annotated[str, StringConstraints(strip_whitespace=True, max_length=TEXT_MOST)]
MaybeText = Annotated[Stripped | None, NONE_IF_EMPTY]
_DAY = {"type": "string", "format": "date"}
Day = Annotated[date, BeforeValidator(_day), WithJsonSchema(_DAY)]
MaybeDay = Annotated[
    date | None,
    BeforeValidator(lambda given: None if given in (None, "") else _day(given)),
    WithJsonSchema({"anyOf": [_DAY, {"type": "null"}]}),
]
UntilGiven = Annotated[
    Any,
    BeforeValidator(Until),
    WithJsonSchema(
        {"type": "string", "description": "An RFC 3339 instant, or a day that counts to its end"}
    ),
]
