"""What a round is made of: where its partitions stand, what its flush writes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from services.metrics.blocks import OpenBlock
from services.metrics.cells import DISTRICT_CODES
from services.metrics.ledger import LedgerBuffer
from services.metrics.seen import Seen


@dataclass
class Verdict:
    """A duplicate or a conflict: `row` of the request, `record_row` of the record."""

    receipt: bytes
    row: int
    verdict: int
    platform: str
    off: int
    recorded_at: int
    record_row: int = 0


@dataclass
class Foreign:
    """A record that is not ours, to the dead letters with its bytes."""

    part: int
    offset: int
    timestamp: int
    value: bytes


@dataclass
class ConflictLetter:
    """The row stands undecoded in `value`, a record's: many may share one long text."""

    receipt: bytes
    row: int
    platform: str
    value: bytes
    record_row: int


@dataclass
class PartitionState:
    """Where one partition stands, and what it has seen."""

    epoch: int
    part: int
    next_offset: int
    seen: Seen
    written: int = -1
    """Up to here the store holds everything already: read again for memory's sake, not written."""
    block: OpenBlock | None = None
    last_timestamp: int = 0
    stopped: str = ""
    poison: tuple[int, str] | None = None
    """An offset that must not be touched, and what to say there."""


@dataclass
class Round:
    """What one flush writes."""

    ledger: LedgerBuffer
    number: int
    blocks: list[OpenBlock] = field(default_factory=list)
    cells: list[tuple[OpenBlock, int, dict[str, np.ndarray]]] = field(default_factory=list)
    bookings: list[tuple[bytes, OpenBlock, int, int]] = field(default_factory=list)
    written: list[tuple[OpenBlock, int, int, int, bool]] = field(default_factory=list)
    verdicts: list[tuple[int, Verdict]] = field(default_factory=list)
    letters: list[ConflictLetter] = field(default_factory=list)
    foreign: list[Foreign] = field(default_factory=list)
    parts: dict[int, PartRound] = field(default_factory=dict)
    completed: list[tuple[int, int]] = field(default_factory=list)
    """(partition, last offset) of blocks that are complete once this round is written."""
    platforms: list[str] = field(default_factory=list)
    records: int = 0
    rows: int = 0


@dataclass
class PartRound:
    """One partition's share of a round, for its commit."""

    state: PartitionState
    last_offset: int = -1
    first_timestamp: int = 0
    last_timestamp: int = 0
    entries: int = 0
    duplicates: int = 0
    conflicts: int = 0
    net_fen: int = 0
    traces: frozenset[str] = frozenset()
    """Ids of the traces of its records; no row depends on them."""
    changes: np.ndarray = field(
        default_factory=lambda: np.zeros((len(DISTRICT_CODES), 128, 2), dtype=np.int64)
    )
