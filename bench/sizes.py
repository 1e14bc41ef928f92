"""How much of everything a run pushes: the full bench, and the small one that only proves that it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Numbers of entries, but for the last four."""

    push: int
    """Drained in each of the metrics parts."""
    ledger: int
    """Booked before `metrics.on_20m` and `metrics.history` begin."""
    ndjson: int
    arrow: int
    kafka: int
    body_rows: int
    """Of a request to a door that is measured."""
    merchants: int
    live_rate: int
    """Entries a second, all clients together."""
    live_seconds: int


FULL = Sizes(
    push=10_000_000,
    ledger=20_000_000,
    ndjson=3_600_000,
    arrow=9_000_000,
    kafka=1_200_000,
    body_rows=10_000,
    merchants=500_000,
    live_rate=10_000,
    live_seconds=30,
)
SMALL = Sizes(
    push=200_000,
    ledger=400_000,
    ndjson=60_000,
    arrow=120_000,
    kafka=20_000,
    body_rows=5_000,
    merchants=20_000,
    live_rate=2_000,
    live_seconds=6,
)
