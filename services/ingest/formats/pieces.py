"""What reading a body gives: its rows, checked as a whole, made into columns a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from services.ingest.columns import Columns, concat


@dataclass(frozen=True)
class Read:
    """Every call of `pieces` begins with the first. What refuses a whole body is found before the first piece."""

    rows: int
    pieces: Callable[[], Iterator[Columns]]
    header: str = ""

    @property
    def columns(self) -> Columns | None:
        """All rows side by side; None where there are none."""
        return concat(list(self.pieces())) if self.rows else None


NOTHING = Read(0, lambda: iter(()))
