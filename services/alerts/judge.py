"""Who judges: an evaluation of a year as progress rows, behind one small interface. Pure.

Lagging is not missing: with books of which nobody knows how far they are, nobody is judged.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from yumai.evaluation.rows import ProgressRow
from yumai.targets.held import Held


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
        self, year: int, targets: Held, districts: Collection[str] | None, at: datetime
    ) -> Evaluation:
        """Rows of `districts` (None: all) with a target in that year, as at `at` or as far as the books are.

        All entries known now count. After the year: as at its end. More districts than asked are welcome.
        """
        ...
