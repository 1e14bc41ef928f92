"""What a metric of the catalogue is: named, bounded, and made when its service starts.

The names and sentences stand in `telemetry.py`; this is how they become Prometheus' instruments.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, disable_created_metrics
from prometheus_client import Counter as _Counter
from prometheus_client import Gauge as _Gauge
from prometheus_client import Histogram as _Histogram
from prometheus_client.exposition import choose_encoder

disable_created_metrics()

OTHER = "other"
"""Where a value is not one of a label's: a series too many is worse than a word too few."""
PRESET_SERIES = 64
"""A metric of so few series shows all of them from the start, so that a first increase is seen."""

UNIT_SUFFIX = {"s": "_seconds", "By": "_bytes"}
"""UCUM unit -> how a name ends. Units in braces ({record}) count things, and the name says which."""


@dataclass(frozen=True)
class Numbers:
    """A label's values: 0 to `below` - 1, as decimals."""

    below: int

    def __contains__(self, value: object) -> bool:
        text = str(value)
        return text.isdecimal() and int(text) < self.below and text == str(int(text))


Allowed = tuple[str, ...] | Numbers
Made = TypeVar("Made", _Counter, _Gauge, _Histogram)


@dataclass(eq=False)
class Metric(Generic[Made]):
    """One line of the catalogue. `by`: the services that export it. `unit` in UCUM."""

    name: str
    unit: str
    says: str
    by: tuple[str, ...]
    labels: Mapping[str, Allowed] = field(default_factory=dict)
    kind = ""
    _made: Made | None = field(default=None, repr=False)

    def _make(self) -> Made:
        raise NotImplementedError

    @property
    def made(self) -> Made:
        """The instrument in this process's registry."""
        if self._made is None:
            self._made = self._make()
        return self._made

    @property
    def series(self) -> int | None:
        """How many series there can be; None: as many as there are partitions."""
        count = 1
        for allowed in self.labels.values():
            if isinstance(allowed, Numbers):
                return None
            count *= len(allowed)
        return count

    def begin(self) -> None:
        """Makes it, with its series at 0 where they are few."""
        made = self.made
        series = self.series
        if self.labels and series is not None and series <= PRESET_SERIES:
            for values in itertools.product(*self.labels.values()):  # type: ignore[arg-type]
                made.labels(*values)

    def at(self, labels: Mapping[str, object]) -> Made:
        """The series of these labels. Raises ValueError where a label is missing or unknown."""
        if not self.labels and not labels:
            return self.made
        if labels.keys() != self.labels.keys():
            raise ValueError(f"{self.name} has labels {list(self.labels)}, not {list(labels)}")
        values = [
            text if (text := str(labels[name])) in allowed else OTHER
            for name, allowed in self.labels.items()
        ]
        return self.made.labels(*values)

    def _arguments(self) -> tuple[str, str, list[str]]:
        return self.name, self.says, list(self.labels)


class Counter(Metric[_Counter]):
    """Its name ends in `_total`."""

    kind = "counter"

    def _make(self) -> _Counter:
        return _Counter(*self._arguments())

    def inc(self, by: float = 1, **labels: object) -> None:
        self.at(labels).inc(by)


@dataclass(eq=False)
class Gauge(Metric[_Gauge]):
    """Not a number until somebody knows it: read gauges of several processes with `max`."""

    kind = "gauge"
    _known: set[str] = field(default_factory=set, repr=False)

    def _make(self) -> _Gauge:
        return _Gauge(*self._arguments())

    def begin(self) -> None:
        """Starts the metric. One with labels has no series until it is set: a 0 would be a claim."""
        if not self.labels:
            self.made.set(math.nan)

    def set(self, value: float | None, **labels: object) -> None:
        """None: it is not known."""
        self.at(labels).set(math.nan if value is None else value)

    def set_all(self, values: Mapping[str, float | None]) -> None:
        """All series there are, by the value of the one label; those of other values go."""
        (label,) = self.labels
        for gone in self._known - values.keys():
            self.made.remove(gone)
        self._known = set(values)
        for value, number in values.items():
            self.set(number, **{label: value})


@dataclass(eq=False)
class Histogram(Metric[_Histogram]):
    buckets: tuple[float, ...] = ()
    kind = "histogram"

    def _make(self) -> _Histogram:
        return _Histogram(*self._arguments(), buckets=self.buckets)

    def observe(self, value: float, **labels: object) -> None:
        self.at(labels).observe(value)


def exposition(accept: str, registry: CollectorRegistry = REGISTRY) -> tuple[bytes, str]:
    """What `/metrics` answers, and its content type, in the form that is accepted."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
