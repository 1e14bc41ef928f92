"""What a worker had in hand when it died, remembered on disk: a record that kills it is found and named.

Before a round is sorted its offsets are noted, after it the note is removed; a round that could not be
written is noted again. A note that is there at the start tells of a death. What it names is then taken in
small shares, at last one record at a time, and a record at which the worker has died twice stops its
partition. A death by chance (kill -9, power) costs some small rounds, and stops nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger("yumai.metrics")

DEATHS_AT_ONE_RECORD = 2
SHARES = 8
"""Of what is suspected a round takes one in so many: few rounds, and few deaths until one record is found."""
Range = tuple[int, int]
"""First and last offset of a partition."""


@dataclass
class Suspect:
    """One partition's offsets that were in hand at a death; deaths by offset, of rounds of one record."""

    last: int
    deaths: dict[str, int] = field(default_factory=dict)


class Attempts:
    def __init__(self, folder: Path) -> None:
        self._note = folder / "in-hand.json"
        self.path = folder / "deaths.json"
        self._suspects: dict[int, Suspect] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for part, known in _read(self.path).items():
            self._suspects[int(part)] = Suspect(int(known["last"]), dict(known["deaths"]))
        left = _read(self._note)
        for part, (first, last) in left.items():
            suspect = self._suspects.setdefault(int(part), Suspect(int(last)))
            suspect.last = int(last)
            if first == last and len(left) == 1:
                suspect.deaths[str(first)] = suspect.deaths.get(str(first), 0) + 1
        if left:
            log.warning("the worker died with these records in hand: %s", left)
            self._keep()
            self.done()

    def begin(self, in_hand: Mapping[int, Range]) -> None:
        _write(self._note, {str(part): list(range_) for part, range_ in in_hand.items()})

    def done(self) -> None:
        self._note.unlink(missing_ok=True)

    def share(self, part: int, offset: int) -> int:
        """So many records from `offset` on are taken by themselves, for they were in hand at a death; 0: none were."""
        suspect = self._suspects.get(part)
        if suspect is None or offset > suspect.last:
            return 0
        return max(1, (suspect.last + 1 - offset) // SHARES)

    def poison(self, part: int) -> int | None:
        """The first offset at which the worker has died too often."""
        deaths = self._suspects[part].deaths if part in self._suspects else {}
        found = [int(at) for at, times in deaths.items() if times >= DEATHS_AT_ONE_RECORD]
        return min(found, default=None)

    def written(self, part: int, last: int) -> None:
        """Up to `last` the partition is in the books: nothing before it is suspected any more."""
        suspect = self._suspects.get(part)
        if suspect is not None and last >= suspect.last:
            del self._suspects[part]
            self._keep()

    def _keep(self) -> None:
        _write(
            self.path,
            {str(p): {"last": s.last, "deaths": s.deaths} for p, s in self._suspects.items()},
        )


def _read(path: Path) -> dict:
    with suppress(OSError, ValueError):
        decoded = json.loads(path.read_text())
        return decoded if isinstance(decoded, dict) else {}
    return {}


def _write(path: Path, content: dict) -> None:
    """Writes the whole file or nothing, also when the process is killed in between."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(content))
    fresh.replace(path)
