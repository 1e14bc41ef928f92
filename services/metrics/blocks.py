"""Blocks: the log of a partition cut into 1,024 offsets; the unit of writing and of acknowledging.

A flush writes the cells of a block as totals up to its last offset, so that writing it again, or
late, changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from services.metrics.cells import BlockCells
from yumai.entry import BLOCK_OFFSETS

FUNCTION_VERSION = 2
"""Raised when the same record would give other rows; open blocks of another version are removed."""


def block_of(offset: int) -> int:
    return offset // BLOCK_OFFSETS


@dataclass(eq=False)
class OpenBlock:
    """What one block has booked so far. Money in fen."""

    epoch: int
    part: int
    number: int
    cells: BlockCells = field(default_factory=BlockCells)
    last_offset: int = -1
    entries: int = 0
    net_fen: int = 0
    receipts: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    receipts_touched: set[bytes] = field(default_factory=set)

    @property
    def complete(self) -> bool:
        return self.last_offset == (self.number + 1) * BLOCK_OFFSETS - 1

    def forget_touched(self) -> None:
        """What was booked so far is in the store: the next flush writes only what comes after."""
        self.cells.counts[2] = 0
        self.receipts_touched.clear()
