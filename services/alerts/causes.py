"""Which traces led to a step of judging: those of the commits that changed its district.

    commits.v1 ─▶ heard ─▶ begin: span `judge` ─▶ tell: each step in its own district's traces
                    └────── announced while it judged ─────────┘

The store has a commit's figures before its announcement is read here, so a round may judge what it has
not heard of yet. Such a trace goes on without a span `judge` of that round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, zip_longest

from contracts.traces import bounded, trace_id
from yumai.observability import tracing

ByDistrict = dict[str, list[str]]
"""District -> parents, of TRACES_MOST traces at most."""


class Causes:
    """The traces behind the changes that one round judges."""

    def __init__(self) -> None:
        self._heard: ByDistrict = {}
        self._judged: ByDistrict = {}
        self._work = tracing.NOTHING
        self._telling = False

    def heard(self, districts: Iterable[str], parents: Sequence[str]) -> None:
        """A commit of these traces changed these districts."""
        for district in districts if parents else ():
            self._heard[district] = bounded([*self._heard.get(district, ()), *parents])

    def begin(self) -> None:
        """A round begins to judge what was heard."""
        self._judged, self._heard = self._heard, {}
        self._work = tracing.work("judge", _fair(self._judged), "consumer")

    def tell(self) -> tracing.Work:
        """The round has judged; within this, `of` knows its steps' parents."""
        self._telling = True
        return self._work

    def of(self, district: str) -> list[str]:
        """Parents of a step of judging; none where it is people or time that act."""
        if not self._telling:
            return []
        judged = self._judged.get(district, [])
        known = self._work.parents_of({trace_id(parent) for parent in judged})
        had = {trace_id(parent) for parent in known}
        others = chain(judged, self._heard.get(district, ()))
        return bounded([*known, *(p for p in others if trace_id(p) not in had)])

    def again(self) -> None:
        """It could not judge: the next round is for the same commits too."""
        later, self._heard = self._heard, self._judged
        for district, parents in later.items():
            self.heard([district], parents)

    def end(self, why: str | None = None) -> None:
        if not self._telling:
            self._work.end(why)
        self._judged, self._work, self._telling = {}, tracing.NOTHING, False


def _fair(parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Traces of all districts in turn, so that each district has its share."""
    return bounded(p for row in zip_longest(*parents.values()) for p in row if p is not None)
