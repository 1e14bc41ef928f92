"""What answers have in common: units, errors, health, and what every answer says about itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

Fen = Annotated[int, Field(description="Integer fen (1/100 yuan), exact also beyond 64 bits")]
Instant = Annotated[str, Field(description="RFC 3339 with offset")]
Day = Annotated[str, Field(description="YYYY-MM-DD, Asia/Shanghai")]
EpochMs = Annotated[int, Field(description="Milliseconds since 1970")]
District = Annotated[str, Field(description="GB/T 2260 code; 000000: not known; city: all")]
Sector = Annotated[str, Field(description="S01 to S12, S99, G00 (goods), X00, U00")]
Ratio = Annotated[float, Field(description="1.0 is 100 %")]


class Error(TypedDict):
    """`code` of contracts/reasons.py; `index`: of the row or null for the request; message in en / zh."""

    index: int | None
    field: str | None
    code: str
    message: str


class Errors(TypedDict):
    errors: list[Error]


class Health(TypedDict):
    """`waiting_for`: each thing that it lacks, and why; `about`: more for its operator."""

    service: str
    status: Literal["live", "ready", "not_ready"]
    waiting_for: dict[str, str]
    about: dict[str, Any]


class Freshness(TypedDict):
    """`through`: everything that was recorded before is in the figures."""

    lag_seconds: float | None
    through: Instant | None


class Meta(TypedDict):
    """What every answer of figures says about itself. `as_of_closed`: the last day that is known for ever."""

    as_of_closed: Day | None
    freshness: Freshness
    basis: Literal["transaction_estimate"]
    currency: Literal["CNY"]
    unit: Literal["fen"]
    generated_at: Instant


class CountedMeta(Meta):
    count: int
