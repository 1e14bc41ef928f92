"""A unit of work that fails twice is set aside and named, and everything else goes on.

A unit of work is an action, an alert, a message, a work item or a district's judging. It is tried again when what
it rests on is another (`of`), after an hour, and by whoever judges next. A store or a broker that is away is no
such failure.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import get_args

from aiokafka.errors import MessageSizeTooLargeError

from services.alerts.away import AWAY
from services.alerts.lifecycle import Ended
from yumai.observability import telemetry
from yumai.observability.telemetry import SetAsideKind

log = logging.getLogger("yumai.alerts")

TRIES = 2
AGAIN_SECONDS = 3_600.0
_GOES_THROUGH: tuple[type[Exception], ...] = (*AWAY, Ended)


@dataclass
class _Failed:
    of: Hashable
    times: int
    reason: str
    at: float


class SetAside:
    """Counts failures of units by kind and id. Used from the loop and from the judging thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[tuple[SetAsideKind, str], _Failed] = {}

    def has(self, kind: SetAsideKind, id_: str, of: Hashable = None) -> bool:
        """It failed twice while it rested on the same."""
        known = self._failed.get((kind, id_))
        if known is None or known.of != of or known.times < TRIES:
            return False
        return self._clock() - known.at < AGAIN_SECONDS

    @contextmanager
    def guard(
        self, kind: SetAsideKind, id_: str, of: Hashable = None, *, whole: bool = True
    ) -> Iterator[None]:
        """Counts a failure inside the block against this unit; `whole`: the block is all of the unit's work.

        Raises AWAY and Ended; nothing else goes through.
        """
        try:
            yield
        except MessageSizeTooLargeError as error:  # of the broker's errors the one that is ours
            self.failed(kind, id_, of, error)
        except _GOES_THROUGH:
            raise
        except Exception as error:
            self.failed(kind, id_, of, error)
        else:
            if whole:
                self.done(kind, id_)

    def failed(
        self, kind: SetAsideKind, id_: str, of: Hashable, error: Exception, times: int = 1
    ) -> None:
        """`times`: as so many failures."""
        known = self._failed.get((kind, id_))
        before = known.times if known is not None and known.of == of else 0
        times += before
        reason = f"{type(error).__name__}: {error}"[:200]
        self._failed[kind, id_] = _Failed(of, times, reason, self._clock())
        if before < TRIES <= times:
            log.error("%s %s is set aside: %s", kind, id_, reason, exc_info=error)
        elif times < TRIES:
            log.warning("%s %s failed and is tried again: %s", kind, id_, reason)

    def done(self, kind: SetAsideKind, id_: str) -> None:
        self._failed.pop((kind, id_), None)

    def clear(self) -> None:
        """Everything is tried again."""
        self._failed.clear()

    def now(self) -> dict[str, str]:
        """`kind id` -> why, of all that is set aside; they are counted in the metric as well."""
        known = list(self._failed.items())  # the judging thread may add one meanwhile
        aside = {key: one for key, one in known if one.times >= TRIES}
        counts = Counter(kind for kind, _ in aside)
        telemetry.ALERTS_SET_ASIDE.set_all({k: counts[k] for k in get_args(SetAsideKind)})
        return {f"{kind} {id_}": one.reason for (kind, id_), one in aside.items()}
