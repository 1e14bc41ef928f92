"""Answers about targets and the way to them."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from contracts.http.words import CountedMeta, Day, District, Fen, Instant, Ratio, Sector

Form = Literal["amount", "growth", "share"]


class TargetVersion(TypedDict):
    """`value`: as it was written; `target_fen`: what it comes to; `base_approximate`: the division changed."""

    form: Form
    value: Annotated[str | int | float, Field(description="Fen, or a ratio as text")]
    target_fen: Fen | None
    base_fen: Fen | None
    base_approximate: bool
    basis: str | None
    note: str | None
    version: int
    by: str
    at: Instant | None


class Target(TargetVersion):
    """`sector` null: all services. The version that holds, and all that there were."""

    year: int
    district: District
    sector: Sector | None
    history: NotRequired[list[TargetVersion]]


class TargetsMeta(TypedDict):
    count: int
    as_of: Day | None
    currency: Literal["CNY"]
    unit: Literal["fen"]
    generated_at: Instant


class Targets(TypedDict):
    meta: TargetsMeta
    data: list[Target]


class TargetsSetMeta(TypedDict):
    """`set`: how many were new; what holds already makes no version."""

    count: int
    set: int
    currency: Literal["CNY"]
    unit: Literal["fen"]


class TargetsSet(TypedDict):
    meta: TargetsSetMeta
    data: list[Target]


class Progress(TypedDict):
    """`comparable_fen`: of the platforms that are compared with last year; pace = comparable / expected.

    `raw_level`: the day's own; `level`: after hysteresis and guards. null: not known, or not shown.
    """

    district: District
    sector: Sector | None
    year: int
    at: str
    target_fen: Fen | None
    attained_fen: Fen | None
    comparable_fen: Fen | None
    expected_fen: Fen | None
    pace: Ratio | None
    nowcast_fen: Fen | None
    nowcast_low_fen: Fen | None
    nowcast_high_fen: Fen | None
    p_meet: Ratio | None
    required_growth: Ratio | None
    raw_level: str | None
    level: str | None
    guards: list[str]
    approximate: bool
    share: NotRequired[Ratio | None]
    share_path: NotRequired[Ratio | None]
    share_gap: NotRequired[Ratio | None]
    suppressed: NotRequired[bool]
    """To a district alone: something is left out of `attained_fen`."""


class ProgressMeta(CountedMeta):
    """`approximate`: districts whose last year is not exactly known."""

    year: int
    at: str
    as_of: Day | None
    method: str
    approximate: list[District]


class ProgressRows(TypedDict):
    meta: ProgressMeta
    data: list[Progress]
