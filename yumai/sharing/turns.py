"""Whose turn it is, and how much one sender may have at once. Pure.

Turns   least served first: who has had the least of a scarce thing is next (start-time fair queueing,
        Goyal, Vin and Cheng 1996). Cost is charged after it is known, so nobody has to guess it.
Budget  amounts that are held: bounded for each sender and for all together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

_REMEMBERED = 1_024


class Turns:
    """What each sender has had, in any one unit (rows, seconds).

    A sender that was away gains no credit by it: it begins at the level of the sender served last.
    """

    def __init__(self) -> None:
        self._had: dict[str, float] = {}
        self._level = 0.0

    def next(self, waiting: Iterable[str]) -> str | None:
        """The sender whose turn it is; of equals the first named. None: nobody waits."""
        best: str | None = None
        least = 0.0
        for sender in waiting:
            had = max(self._had.get(sender, 0.0), self._level)
            if best is None or had < least:
                best, least = sender, had
        if best is not None:
            self._level = least
            if len(self._had) > 2 * _REMEMBERED:
                # Who had the most has the most to gain by being forgotten.
                most = sorted(self._had.items(), key=lambda one: -one[1])
                self._had = {who: had for who, had in most[:_REMEMBERED] if had > self._level}
        return best

    def charge(self, sender: str, cost: float) -> None:
        self._had[sender] = max(self._had.get(sender, 0.0), self._level) + max(cost, 0.0)


class Spent(Exception):
    """`own`: it is the sender's own budget that is used up, not that of all."""

    def __init__(self, own: bool) -> None:
        super().__init__("own" if own else "all")
        self.own = own


class Budget:
    """Amounts held by each sender and in all. Nobody may take more than `each`, nor the last half
    of what is free: so there is room for the next sender, however many send as much as they can.
    """

    def __init__(self, total: int, each: int) -> None:
        self.total, self.each = total, each
        self.held = 0
        self._of: dict[str, int] = {}

    def of(self, sender: str) -> int:
        return self._of.get(sender, 0)

    def take(self, sender: str, amount: int) -> None:
        """Raises Spent; then nothing is taken."""
        own = self.of(sender) + amount
        if own > self.each:
            raise Spent(own=True)
        if own > self.total - self.held - amount:
            raise Spent(own=self.of(sender) > 0)
        self.held += amount
        self._of[sender] = own

    def give(self, sender: str, amount: int) -> None:
        own = self.of(sender) - amount
        assert own >= 0
        self.held -= amount
        if own:
            self._of[sender] = own
        else:
            self._of.pop(sender, None)


class Rate:
    """At most `most` within any `seconds`, for each sender."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._taken: dict[str, deque[float]] = {}

    def take(self, sender: str, now: float) -> float:
        """0: taken. Else nothing is taken, and there is room after so many seconds."""
        taken = self._taken.setdefault(sender, deque())
        while taken and taken[0] <= now - self._seconds:
            taken.popleft()
        if len(taken) >= self._most:
            return taken[0] + self._seconds - now
        taken.append(now)
        return 0.0
