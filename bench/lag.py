"""How far behind the cells are, read from `commits.v1`: a message a flush, which costs the system nothing.

The lag is end minus announced, as in `yumai status`. After a restart an open block is read again, so
entries are no measure of progress, but offsets are.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from contracts.commits import codec
from yumai.store.client import connect
from yumai.topics import COMMITS, ENTRIES

Points = list[tuple[float, float]]
"""(monotonic seconds, share done from 0 to 1), both ascending."""


@dataclass(frozen=True)
class Slope:
    """The straight part of a drain: from the first flush at which 90 % of the lag were left to that at which 10 % were.

    Between two flushes nothing is interpolated: the first of them comes after a start and a re-reading
    that are no part of the slope. `share`: how much of the backlog went in between.
    """

    since: float
    until: float
    share: float

    def rate(self, entries: int) -> float:
        return self.share * entries / max(self.until - self.since, 1e-6)


def slope(points: Points) -> Slope:
    first = next(n for n, (_, done) in enumerate(points) if done >= 0.1)
    last = next(n for n, (_, done) in enumerate(points) if done >= 0.9)
    if first == last:  # a small run: all of it in one flush
        first = max(last - 1, 0)
    return Slope(points[first][0], points[last][0], points[last][1] - points[first][1])


def first_seconds(points: Points) -> float:
    """How long it took until anything new was done."""
    return next((at for at, done in points if done > 0), points[-1][0]) - points[0][0]


@dataclass
class Backlog:
    """What waits in `entries.v1`; followed until it is announced."""

    kafka: Mapping[str, Any]
    """Options of a client that may read `commits.v1` and describe `entries.v1`."""
    dsn: str
    ends: dict[int, int] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._consumer = KafkaConsumer(**self.kafka, enable_auto_commit=False)
        commits = TopicPartition(COMMITS.name, 0)
        self._consumer.assign([commits])
        self._consumer.seek_to_end(commits)
        self._consumer.position(commits)  # from here on, not from the first poll
        self.ends = self._ends()
        self.starts = dict.fromkeys(self.ends, 0) | self._announced()
        self._done = dict(self.starts)

    def _ends(self) -> dict[int, int]:
        parts = [TopicPartition(ENTRIES.name, n) for n in range(ENTRIES.partitions)]
        return {tp.partition: end for tp, end in self._consumer.end_offsets(parts).items()}

    def _announced(self) -> dict[int, int]:
        client = connect(self.dsn)
        try:
            sql = "SELECT part, max(last_offset) + 1 FROM blocks GROUP BY part"
            return {int(part): int(end) for part, end in client.query(sql).result_rows}
        finally:
            client.close()

    @property
    def records(self) -> int:
        return sum(max(end - self.starts[part], 0) for part, end in self.ends.items())

    def drain(self, seconds: float, begun: float | None = None) -> Points:
        """Waits until all of it can be queried; `begun`: since when. Raises TimeoutError."""
        points: Points = [(begun or time.monotonic(), 0.0)]
        total, last = self.records, ("", 0)
        deadline = time.monotonic() + seconds
        while total and points[-1][1] < 1.0:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{(1 - points[-1][1]):.0%} of {total:,} records not booked after {seconds:.0f} s"
                )
            for records in self._consumer.poll(timeout_ms=200).values():
                for record in records:
                    commit = codec.decode(record.value)
                    known = self._done.get(commit.partition, 0)
                    self._done[commit.partition] = max(known, commit.last_offset + 1)
                    left = sum(max(end - self._done[part], 0) for part, end in self.ends.items())
                    # A flush says so once a partition, but all of it could be queried by the first.
                    flush = (commit.worker, commit.committed_at)
                    at = points[-1][0] if flush == last else time.monotonic()
                    if flush == last:
                        points.pop()
                    points.append((at, 1 - left / total))
                    last = flush
        return points

    def close(self) -> None:
        self._consumer.close()
