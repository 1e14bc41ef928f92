"""What waits to be judged, by sender and kind, and which of it makes the next chunk. Pure.

Group commit: small requests of one kind share a chunk, also of several senders. The chunk's first sender is the
one that had the fewest rows; of the others each adds at most SHARE, so that nobody's rows make
its neighbours wait. What is larger than a SHARE goes with its own sender's only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from yumai.sharing.turns import Turns

T = TypeVar("T")

CHUNK_ROWS = 131_072
CHUNK_BYTES = 256 * 1024 * 1024
SHARE_ROWS = 8_192
SHARE_BYTES = 16 * 1024 * 1024
_REQUEST_ROWS = 16
"""What a request costs besides its rows, in rows."""


@dataclass
class _Item(Generic[T]):
    number: int
    item: T
    rows: int
    size: int


@dataclass
class Chunk(Generic[T]):
    sender: str
    """Whose turn it was."""
    items: list[T]


class Queue(Generic[T]):
    def __init__(self) -> None:
        self._turns = Turns()
        self._waiting: dict[str, dict[Hashable, deque[_Item[T]]]] = {}
        self._number = 0
        self._length = 0
        self.rows = 0

    def __len__(self) -> int:
        return self._length

    def add(self, sender: str, kind: Hashable, item: T, rows: int, size: int) -> None:
        self._number += 1
        kinds = self._waiting.setdefault(sender, {})
        kinds.setdefault(kind, deque()).append(_Item(self._number, item, rows, size))
        self.rows += rows
        self._length += 1

    def chunk(self, busy: Collection[str] = ()) -> Chunk[T] | None:
        """The next chunk; None: only senders who are `busy` wait, or nobody."""
        leader = self._turns.next(sender for sender in self._waiting if sender not in busy)
        if leader is None:
            return None
        kinds = self._waiting[leader]
        kind = min(kinds, key=lambda k: kinds[k][0].number)
        others = [s for s in self._waiting if s != leader and kind in self._waiting[s]]
        first = kinds[kind][0]
        alone = not others or first.rows > SHARE_ROWS or first.size > SHARE_BYTES
        chunk: Chunk[T] = Chunk(leader, [])
        rows = size = 0
        for sender in (leader, *(() if alone else others)):
            most_rows = CHUNK_ROWS if alone else min(SHARE_ROWS, CHUNK_ROWS - rows)
            most_size = CHUNK_BYTES if alone else min(SHARE_BYTES, CHUNK_BYTES - size)
            taken_rows, taken_size = self._take(chunk, sender, kind, most_rows, most_size)
            rows, size = rows + taken_rows, size + taken_size
        return chunk

    def _take(
        self, chunk: Chunk[T], sender: str, kind: Hashable, most_rows: int, most_size: int
    ) -> tuple[int, int]:
        """From the front of one sender's; the first item of a chunk always."""
        waiting = self._waiting[sender][kind]
        rows = size = cost = 0
        while waiting:
            one = waiting[0]
            if chunk.items and (rows + one.rows > most_rows or size + one.size > most_size):
                break
            waiting.popleft()
            self._length -= 1
            chunk.items.append(one.item)
            rows, size, cost = rows + one.rows, size + one.size, cost + one.rows + _REQUEST_ROWS
        if not waiting:
            del self._waiting[sender][kind]
            if not self._waiting[sender]:
                del self._waiting[sender]
        self.rows -= rows
        self._turns.charge(sender, cost)
        return rows, size
