"""`python -m bench.sizing`: what a volume needs, and a simulated day of it. Pure arithmetic; nothing is measured here.

A fluid model in steps of 10 s: entries arrive by the profile of a day, each worker takes what is in
its partitions up to its capacity. At the peak a worker is killed: its partitions wait until the group
notices and another worker has loaded what they remember (Seen), then catch up.

What was measured stands below with its source (2 cores, `make bench`); what is assumed says so.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

# -- measured (docs/decisions, docs/engines.md) --
CPU_US_AN_ENTRY = 2.2
"""All processes, door to books, columnar."""
LOG_BYTES = (36, 79)
"""An entry in `entries.v1`, before replication: columnar, and JSON as it came."""
LEDGER_BYTES = 37
SEEN_BYTES = 3.0
"""An id, over all workers together."""
LOAD_IDS_A_SECOND = 10_000_000
"""Ids of the ledger streamed into a worker's filter."""
LOOKUP_SECONDS, LOOKUP_ROWS, LOOKUP_CORES = 0.1, 20_000_000, 2
"""One question of a flush to the ledger's skip index. It reads the whole index: it grows with the rows."""
PARTITION_CAPACITY = 910_000 / 4
"""Entries/s, of 910,000 in four partitions on two cores."""

# -- assumed --
WORKER_CAPACITY = 300_000
"""Entries/s of a worker that has two cores of its own: a third of what two cores did in all."""
HEADROOM = 3.0
"""Capacity over the highest expected load."""
SESSION_SECONDS = 10.0
KAFKA_REPLICAS, STORE_REPLICAS = 3, 2
SHARD_CORES = 32
WORKER_GB = 64
"""Of a worker's memory, what Seen may fill."""
PARTITIONS_A_WORKER = 4

# Share of the day's entries by hour, as of a city's consumption (console/simulate): lunch and evening.
HOURS = (1, 1, 0.5, 0.3, 0.3, 0.5, 1.5, 3, 4, 4.5, 5, 7, 8, 6, 5, 4.5, 5, 7, 9, 9, 7.5, 5.5, 3, 1.9)
STEP = 10


@dataclass(frozen=True)
class Size:
    """A deployment for so many entries a day; the busiest second has `peak` times the busiest hour's rate."""

    entries_a_day: float
    peak: float = 3.0
    years: float = 1.0

    @property
    def mean(self) -> float:
        return self.entries_a_day / 86_400

    @property
    def highest(self) -> float:
        return self.entries_a_day * max(HOURS) / sum(HOURS) / 3_600 * self.peak

    @property
    def workers(self) -> int:
        """By speed and by memory, and two at least, so that one may die."""
        by_speed = self.highest * HEADROOM / WORKER_CAPACITY
        return max(2, math.ceil(by_speed), math.ceil(self.seen_gb / WORKER_GB))

    @property
    def partitions(self) -> int:
        """A power of two, four a worker: a worker that dies is shared out among the others.

        And a multiple of the shards (`yumai/store/layout.py`).
        """
        return max(power_of_two(self.workers * PARTITIONS_A_WORKER), self.shards)

    @property
    def rows(self) -> float:
        return self.entries_a_day * 365 * self.years

    @property
    def seen_gb(self) -> float:
        return self.rows * SEEN_BYTES / 1e9

    @property
    def shards(self) -> int:
        """So many that the question of a flush is answered within a second."""
        a_core = LOOKUP_SECONDS / LOOKUP_ROWS * LOOKUP_CORES
        return power_of_two(math.ceil(self.rows * a_core / SHARD_CORES))

    def lookup_seconds(self, shards: int) -> float:
        return self.rows / shards * LOOKUP_SECONDS / LOOKUP_ROWS * LOOKUP_CORES / SHARD_CORES

    def log_tb(self, bytes_: int) -> float:
        return self.rows * bytes_ * KAFKA_REPLICAS / 1e12

    @property
    def ledger_tb(self) -> float:
        return self.rows * LEDGER_BYTES * STORE_REPLICAS / 1e12

    @property
    def load_seconds(self) -> float:
        """Until those who inherit a worker's partitions, one each, remember its ids."""
        heirs = max(min(PARTITIONS_A_WORKER, self.workers - 1), 1)
        return self.rows / self.workers / heirs / LOAD_IDS_A_SECOND


@dataclass(frozen=True)
class Day:
    highest_lag: float
    """Entries."""
    worst_seconds: float
    """How old the oldest entry was at its worst."""
    caught_up_seconds: float
    """From the kill until nothing waits."""
    busiest: float
    """Share of the workers' capacity in the busiest step."""


def simulate(size: Size, kill_hour: float = 19.0) -> Day:
    """A day in which one worker is killed at `kill_hour`, at the peak."""
    per_second = [h / sum(HOURS) * size.entries_a_day / 3_600 for h in HOURS]
    share = 1 / size.workers
    stopped = SESSION_SECONDS + size.load_seconds
    waiting = highest = busiest = 0.0
    caught_up: float | None = None
    for step in range(2 * 86_400 // STEP):
        now = step * STEP
        hour = now / 3_600 % 24
        rate = per_second[int(hour)] * (size.peak if abs(hour - kill_hour) < 0.25 else 1.0)
        since = now - kill_hour * 3_600
        is_down = 0 <= since < stopped
        orphaned = rate * share if since >= 0 else 0.0
        others = rate - orphaned
        if is_down:
            waiting += orphaned * STEP
        # The living workers share the orphaned partitions; the capacity left over drains the backlog.
        alive = size.workers - 1 if since >= 0 else size.workers
        free = alive * WORKER_CAPACITY - others - (0 if is_down else orphaned)
        if not is_down and since >= 0:
            # A partition is one sequence: it drains no faster than it can be read.
            fastest = PARTITION_CAPACITY * size.partitions * share - orphaned
            waiting = max(0.0, waiting - max(0.0, min(free, fastest)) * STEP)
            if waiting == 0 and caught_up is None:
                caught_up = since
        busiest = max(busiest, 1 - free / (alive * WORKER_CAPACITY))
        highest = max(highest, waiting)
    return Day(highest, stopped, caught_up if caught_up is not None else float("inf"), busiest)


def table(sizes: list[Size]) -> list[str]:
    lines = [
        "| entries a day | mean / highest per s | partitions | workers × memory for Seen | shards × replicas"
        " | log, 3 replicas | ledger, 2 replicas |",
        "|---|---|---|---|---|---|---|",
    ]
    for s in sizes:
        lines.append(
            f"| {s.entries_a_day:,.0f} | {s.mean:,.0f} / {s.highest:,.0f} | {s.partitions}"
            f" | {s.workers} × {amount(s.seen_gb / s.workers)} | {s.shards} × {STORE_REPLICAS}"
            f" | {amount(s.log_tb(LOG_BYTES[0]) * 1e3)}–{amount(s.log_tb(LOG_BYTES[1]) * 1e3)} | {amount(s.ledger_tb * 1e3)} |"
        )
    return lines


def power_of_two(wanted: int) -> int:
    """The lowest that is not below."""
    return 1 << max(wanted - 1, 0).bit_length()


def amount(gb: float) -> str:
    return (
        f"{gb / 1e3:,.1f} TB"
        if gb >= 1_000
        else f"{gb:,.1f} GB"
        if gb >= 1
        else f"{gb * 1e3:,.0f} MB"
    )


def report(size: Size) -> list[str]:
    lines = [
        f"{size.entries_a_day:,.0f} entries a day, peak × {size.peak:g}: {size.mean:,.0f}/s on average,"
        f" {size.highest:,.0f}/s at most, {size.highest * CPU_US_AN_ENTRY / 1e6:.1f} cores at most"
    ]
    for days in (30, 365, 3 * 365):
        s = Size(size.entries_a_day, size.peak, days / 365)
        day = simulate(s)
        lines.append(
            f"after {days:>5} days: {s.rows / 1e9:7,.0f} G rows, Seen {amount(s.seen_gb):>8} over all workers,"
            f" log {amount(s.log_tb(LOG_BYTES[1]) * 1e3):>8}, ledger {amount(s.ledger_tb * 1e3):>8};"
            f" {s.shards} shards of {SHARD_CORES} cores answer a flush's question in {s.lookup_seconds(s.shards):.1f} s;"
            f" a killed worker's partitions wait {day.worst_seconds:,.0f} s, {day.highest_lag / 1e6:,.1f} M entries pile up,"
            f" caught up {day.caught_up_seconds:,.0f} s after the kill ({s.workers} workers, busiest {day.busiest:.0%})"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=float, default=1e9, help="a day")
    parser.add_argument("--peak", type=float, default=3.0)
    args = parser.parse_args()
    print("\n".join(table([Size(n) for n in (1e6, 1e7, 1e8, 1e9)])))
    print("\n".join(["", *report(Size(args.entries, args.peak))]))


if __name__ == "__main__":
    main()
