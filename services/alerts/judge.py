"""Who judges: an evaluation of a year as progress rows, behind one small interface. Pure.

Lagging is not missing: with books of which nobody knows how far they are, nobody is judged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from contracts.targets.codec import Target, of_versions
from yumai.evaluation.rows import ProgressRow

Targets = Mapping[str, Target]
"""By key: each record carries every version it ever had."""


@dataclass(frozen=True)
class Evaluation:
    """`rows`: as `/v1/progress` says them, of districts (not of `city`); `feeds`: as `/v1/feeds` does."""

    at: datetime
    """As of when: the books, not the clock."""
    rows: list[ProgressRow] = field(default_factory=list)
    feeds: list[dict[str, Any]] | None = None
    """None: nothing is known of feeds."""
    guard: str = ""
    """Why nobody could be judged: asked again soon."""


class Judge(Protocol):
    """Blocking; used by one thread at a time. Raises STORE_ERRORS."""

    def evaluate(
        self, year: int, targets: Targets, districts: Collection[str] | None, at: datetime
    ) -> Evaluation:
        """Rows of `districts` (None: all) with a target in that year, as at `at` or as far as the books are.

        All entries known now count. After the year: as at its end. More districts than asked are welcome.
        """
        ...


def as_set_by(targets: Targets, instant: datetime) -> dict[str, Target]:
    """The targets that held at an instant."""
    until = int(instant.timestamp() * 1000)
    found: dict[str, Target] = {}
    for key, target in targets.items():
        versions = tuple(v for v in target.versions if v.at is None or v.at <= until)
        if versions:
            found[key] = of_versions(target.year, target.district, target.sector, versions)
    return found
