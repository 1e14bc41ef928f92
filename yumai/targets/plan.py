"""The plan's shares of services in all retail, a year each, and the city's targets that follow. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from contracts.targets.codec import CITY, Target, Version, key_of, of_versions

SYSTEM = "system"


@cache
def plan_shares() -> dict[int, float]:
    """The city's share a year: the plan's points, and the logit-linear path between and before them.

    The plan names no base year and no base is published, so the line is drawn back to the plan's own
    year as it runs between its two points.
    """
    points, issued = _plan()
    (first, low), *_, (last, high) = sorted(points.items())
    found = {}
    for year in range(issued, last + 1):
        if year in points:
            found[year] = points[year]
            continue
        slope = (_logit(high) - _logit(low)) / (last - first)
        found[year] = round(1.0 / (1.0 + math.exp(-(_logit(low) + slope * (year - first)))), 12)
    return found


def plan_targets(at_ms: int) -> list[Target]:
    """The records that are there from the start."""
    points, _ = _plan()
    return [
        of_versions(
            year,
            CITY,
            None,
            (
                Version(
                    1,
                    "share",
                    share,
                    basis="plan" if year in points else "path",
                    by=SYSTEM,
                    at=at_ms,
                ),
            ),
        )
        for year, share in plan_shares().items()
    ]


@cache
def _plan() -> tuple[dict[int, float], int]:
    """Year -> share, and the year in which the plan was issued."""
    text = (files("yumai") / "reference" / "plan.yaml").read_text(encoding="utf-8")
    plan = yaml.load(text, yaml.CSafeLoader)
    points = {target["by"]: float(target["value"]) for target in plan["targets"]}
    return points, date.fromisoformat(plan["document"]["date"]).year


def _logit(share: float) -> float:
    return math.log(share / (1.0 - share))


def missing(held: Mapping[str, Any] | Iterable[str], seeds: Iterable[Target]) -> list[Target]:
    """Seeds whose keys the topic does not hold yet."""
    known = set(held)
    return [seed for seed in seeds if key_of(seed.year, seed.district, seed.sector) not in known]
