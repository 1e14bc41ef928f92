"""Follows `commits.v1` from its end on: what is new for the stream, and from before how far each partition is told."""

from __future__ import annotations

from collections.abc import Callable

from aiokafka import ConsumerRecord

from contracts import traces
from contracts.commits.codec import Commit, decode
from yumai.broker.reader import Reader
from yumai.broker.security import Bootstrap
from yumai.topics import COMMITS

BEHIND = 256
"""Commits read again at the start, to learn how far each partition is told."""


class Follower:
    """`committed`: what is new, with its traces. `learned`: what lay there at the start.

    `whole`: the commits are read from the first on.
    """

    def __init__(
        self,
        bootstrap: Bootstrap,
        committed: Callable[[Commit, tuple[str, ...]], None],
        learned: Callable[[Commit], object],
        whole: Callable[[], None],
    ) -> None:
        self._committed, self._learned, self._whole = committed, learned, whole
        self._reader = Reader(bootstrap, [COMMITS], self._take, "yumai-gateway", back=BEHIND)

    @property
    def problem(self) -> str:
        return self._reader.problem

    async def run(self) -> None:
        """Runs until cancelled."""
        await self._reader.run(self._opened)

    def _opened(self) -> None:
        if self._reader.first[COMMITS.name] == 0:
            self._whole()

    def _take(self, record: ConsumerRecord) -> None:
        if record.value is None:
            return
        commit = decode(record.value)
        if record.offset >= self._reader.ended[COMMITS.name]:
            self._committed(commit, traces.of_kafka(record.headers))
        else:
            self._learned(commit)
