"""All targets as `targets.v1` tells them, with every version each ever had. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta

import msgspec

from contracts.days import SHANGHAI
from contracts.targets.codec import CITY, Target, Version
from yumai.targets.plan import plan_shares
from yumai.targets.versions import Key, holding, merged


class Held:
    """Key -> versions, oldest first."""

    def __init__(self) -> None:
        self._versions: dict[Key, tuple[Version, ...]] = {}
        self.torn: set[Key] = set()
        """Whose last record does not say all its versions: two wrote at once (see `merged`)."""
        self.changes = 0
        """Grows with every record: what was derived from targets before is stale then."""

    def take(
        self, record_key: str, target: Target | None, sent_ms: int | None = None
    ) -> Key | None:
        """A record of the topic; None takes the key away. The key that changed, if one did.

        `sent_ms`: when it was written, for the oldest records, which do not say it.
        """
        self.changes += 1
        if target is None:
            year, _, rest = record_key.partition("/")
            district, _, sector = rest.partition("/")
            key: Key | None = (int(year), district, sector or None) if year.isdigit() else None
            if key is None or key not in self._versions:
                return None
            del self._versions[key]
            self.torn.discard(key)
            return key
        held = (target.year, target.district, target.sector or None)
        said = target.versions
        if not target.history and target.at is None:
            said = tuple(msgspec.structs.replace(version, at=sent_ms) for version in said)
        versions = merged(self._versions.get(held, ()), said)
        self._versions[held] = versions
        (self.torn.discard if versions == said else self.torn.add)(held)
        return held

    def of(self, key: Key, as_of: date | None = None) -> tuple[Version, ...]:
        """Versions set by the end of a Shanghai day (None: all), oldest first."""
        versions = self._versions.get(key, ())
        if as_of is None:
            return versions
        end = end_of_day_ms(as_of)
        return tuple(v for v in versions if (v.at or 0) < end)

    def ordered(self) -> list[Key]:
        """By year, the city after the districts, all services before the sectors."""
        return sorted(self._versions, key=lambda k: (k[0], k[1], k[2] or ""))

    def years(self) -> list[int]:
        return sorted({key[0] for key in self._versions})

    def amounts(self, year: int, as_of: date | None = None) -> dict[tuple[str, str | None], int]:
        """(district, sector) -> target in fen, of one year."""
        found = {}
        for key in self._versions:
            if key[0] == year:
                version = holding(self.of(key, as_of), "amount")
                if version is not None and version.target_fen is not None:
                    found[key[1], key[2]] = version.target_fen
        return found

    def share(self, year: int, as_of: date | None = None) -> float | None:
        """The city's share of services in all retail that this year asks for."""
        version = holding(self.of((year, CITY, None), as_of), "share")
        # The plan is older than any record of it.
        return plan_shares().get(year) if version is None else float(version.value)

    def copy(self) -> Held:
        """A copy of the present state, for another thread."""
        return self._kept(lambda version: True)

    def as_set_by(self, instant: datetime) -> Held:
        """The targets that held at an instant."""
        until = int(instant.timestamp() * 1000)
        return self._kept(lambda version: version.at is None or version.at <= until)

    def _kept(self, keep: Callable[[Version], bool]) -> Held:
        found = Held()
        for key, versions in self._versions.items():
            if kept := tuple(filter(keep, versions)):
                found._versions[key] = kept
        return found

    def clear(self) -> None:
        self._versions.clear()
        self.torn.clear()
        self.changes += 1


def end_of_day_ms(day: date) -> int:
    """First instant after a Shanghai day, epoch ms."""
    begin = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)
    return int((begin + timedelta(days=1)).timestamp() * 1000)
