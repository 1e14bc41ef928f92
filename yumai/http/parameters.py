"""Parameters of an address, as pydantic reads them: types that both services ask with.

An empty value counts as none, lists come comma-separated or repeated, a name that nobody knows is an error.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Annotated, Any

from fastapi import Query
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_after_validator_function

from contracts.days import calendar_day
from yumai.platforms import is_platform_id

FROM_QUERY = Query()
"""Put on a model of parameters: `asked: Annotated[…, FROM_QUERY]`."""


class Asked(BaseModel):
    """The parameters of one route. `Asked` itself: it takes none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value not in ("", [""], None)}


def _listed(given: Any) -> Any:
    """The parts, each once; None where nothing is left."""
    if given is None:
        return None
    texts = [given] if isinstance(given, str) else given
    parts = [part.strip() for text in texts for part in text.split(",")]
    return list(dict.fromkeys(part for part in parts if part)) or None


Listed = BeforeValidator(_listed)
"""Put on `list[…] | None`."""


def _day(given: Any) -> date:
    try:
        return calendar_day(given)
    except ValueError:
        raise ValueError(f"{given!r} is not a day; want YYYY-MM-DD") from None


Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]


class OneOf:
    """Put on a text that is one of those. `shown`: the document lists them."""

    def __init__(self, known: Collection[str], what: str, shown: bool = True) -> None:
        self._known, self._what, self._shown = known, what, shown

    def _checked(self, text: str) -> str:
        if text not in self._known:
            raise ValueError(f"{text!r} is no {self._what}")
        return text

    def __get_pydantic_core_schema__(self, kind: Any, handler: Any) -> CoreSchema:
        return no_info_after_validator_function(self._checked, handler(kind))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return handler(schema) | ({"enum": sorted(self._known)} if self._shown else {})


def _platform(text: str) -> str:
    if not is_platform_id(text):
        raise ValueError(f"{text!r} is no platform id")
    return text


Platform = Annotated[str, AfterValidator(_platform)]
