"""What a PromQL expression results in: which labels, in which unit; and what it can't mean. Parsed by Prometheus' grammar."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import promql_parser as promql

from deploy.check.findings import near
from deploy.render import workloads
from yumai.observability import telemetry
from yumai.observability.instruments import Counter, Gauge, Histogram, Metric, Numbers

ADDED = frozenset({"namespace", "pod"})
"""Labels that Prometheus adds to a series of ours."""
OWN = {"yumai_ingest_held_bytes", "yumai_metrics_seen_bytes", "yumai_metrics_partitions"} | {
    "yumai_gateway_subscribers"
}
"""Gauges that each process has of its own. Any other is of the whole city, and every replica says the same."""
_SERVICES = {one.name for one in workloads.SERVICES}
VALUES = {
    "namespace": {"yumai"},
    "deployment": _SERVICES,
    "container": _SERVICES,
    "cronjob": {one.name for one in workloads.JOBS if one.schedule},
}
"""Labels of a cluster whose values are ours."""
SHORTEST, LONGEST = timedelta(seconds=60), timedelta(days=30)
"""Of a range: four scrapes, else a rate has too few; no longer than Prometheus keeps."""
DAY = 86_400.0
_GROWTH, _OF_GAUGES = {"rate", "increase", "irate"}, {"predict_linear", "deriv", "delta"}
_COMPARED, _SETS = {">", "<", ">=", "<=", "==", "!="}, {"and", "or", "unless"}


@dataclass(frozen=True)
class Result:
    """`unit`: s, time (seconds since 1970), By, ratio, or none of them. `number`: of a literal. `scalar`: no series.

    `repeated`: every replica says it. `counter`: only its growth means something. `of`: the metric it began with. `over`: the range of its growth.
    """

    labels: frozenset[str] = frozenset()
    unit: str = ""
    number: float | None = None
    scalar: bool = False
    repeated: bool = False
    counter: bool = False
    of: str = ""
    over: timedelta | None = None

    def but(self, **changed: Any) -> Result:
        return replace(self, **changed)


@dataclass
class Known:
    """What may be named: our metrics, those of others (name -> labels), and what rules record."""

    others: Mapping[str, Iterable[str]]
    recorded: dict[str, Result] = field(default_factory=dict)
    ours: dict[str, Metric] = field(default_factory=dict)  # type: ignore[type-arg]

    def __post_init__(self) -> None:
        for metric in telemetry.CATALOGUE.values():
            ends = ("_bucket", "_sum", "_count") if isinstance(metric, Histogram) else ("",)
            self.ours |= {metric.name + end: metric for end in ends}

    def names(self) -> set[str]:
        return {*self.ours, *self.others, *self.recorded}

    def judge(self, text: str) -> tuple[Result, list[str]]:
        """Its result, and what is wrong with it."""
        try:
            parsed = promql.parse(text)
        except ValueError as error:
            return Result(), [f"is no PromQL: {error}"]
        reading = _Reading(self)
        return reading.of(parsed), reading.wrong


class _Reading:
    """One expression, from its leaves up."""

    def __init__(self, known: Known) -> None:
        self.known, self.wrong = known, list[str]()

    def want(self, holds: object, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)

    def of(self, expr: Any) -> Result:
        read = getattr(self, f"_{type(expr).__name__}", None)
        return read(expr) if read else self.of(expr.expr) if hasattr(expr, "expr") else Result()

    def _NumberLiteral(self, expr: Any) -> Result:
        return Result(number=expr.val, scalar=True)

    def _VectorSelector(self, expr: Any) -> Result:
        name, names = str(expr.name), self.known.names()
        if name not in names:
            where = "yumai/observability/telemetry.py lists ours, metrics-of-others.yaml the others"
            self.wrong.append(f"no metric {name}{near(name, names)}; {where}")
            return Result()
        result, ours = self._metric(name), self.known.ours.get(name)
        for matcher in expr.matchers.matchers:
            label, wanted = matcher.name, matcher.value
            have = near(label, result.labels)
            self.want(label in result.labels, f"{name} has no label {label}{have}")
            values = VALUES.get(label) or (ours.labels.get(label) if ours else None)
            if values and not isinstance(values, Numbers) and "Not" not in str(matcher.op):
                some = any(re.fullmatch(wanted, value) for value in values)
                self.want(some, f"{name}: {label} is never {wanted}{near(wanted, values)}")
        return result

    def _metric(self, name: str) -> Result:
        if name in self.known.recorded:
            return self.known.recorded[name]
        metric = self.known.ours.get(name)
        unit = metric.unit if metric else "By" if name.endswith("_bytes") else ""
        unit = "time" if re.search(r"_timestamp_seconds|_time$", name) else unit
        if metric is None:
            return Result(frozenset(self.known.others[name]), unit, of=name)
        labels = frozenset(metric.labels) | ADDED | ({"le"} if name.endswith("_bucket") else set())
        whole = isinstance(metric, Gauge) and name not in OWN
        counter = isinstance(metric, Counter | Histogram)
        return Result(labels, unit, repeated=whole, counter=counter, of=name)

    def _MatrixSelector(self, expr: Any) -> Result:
        text = f"a range of {expr.range}: want {SHORTEST} to {LONGEST}"
        self.want(SHORTEST <= expr.range <= LONGEST, text)
        return self.of(expr.vector_selector)

    def _Call(self, expr: Any) -> Result:
        name, arguments = expr.func.name, [self.of(argument) for argument in expr.args]
        vector = next((a for a in arguments if not a.scalar), Result())
        if name.startswith("absent"):
            return Result()
        if name == "time":
            return Result(unit="time", scalar=True)
        if name in _GROWTH:
            known = vector.counter or not vector.of
            self.want(known, f"{name} of {vector.of}, which is no counter")
            summed = vector.of.endswith("_sum")
            over = expr.args[0].range
            return vector.but(counter=False, unit=vector.unit if summed else "", over=over)
        if name in _OF_GAUGES:
            self._grown(vector)
            ahead = timedelta(seconds=arguments[-1].number or 0)
            self.want(ahead <= LONGEST, f"{name} for {ahead}: want {LONGEST} at most")
        if name == "histogram_quantile":
            share, metric = arguments[0].number, self.known.ours.get(vector.of)
            text = f"histogram_quantile({share}, …): want a ratio between 0 and 1"
            self.want(share is not None and 0 < share < 1, text)
            text = "histogram_quantile of what has no label le: want it in by (…)"
            self.want("le" in vector.labels, text)
            return vector.but(labels=vector.labels - {"le"}, unit=metric.unit if metric else "")
        return vector

    def _AggregateExpr(self, expr: Any) -> Result:
        inner, labels, op = self.of(expr.expr), frozenset[str](), str(expr.op)
        if expr.modifier is not None:
            named = frozenset(expr.modifier.labels)
            labels = named if "By" in str(expr.modifier.type) else inner.labels - named
            for label in sorted(named - inner.labels):
                self.wrong.append(
                    f"grouped by {label}, which nothing here has{near(label, inner.labels)}"
                )
        text = f"{op} counts every replica of who says {inner.of or 'it'}: want max by (…) first"
        self.want(not inner.repeated or op in ("max", "min"), text)
        self._grown(inner)
        return inner.but(labels=labels, repeated=inner.repeated and "pod" in labels)

    def _grown(self, result: Result) -> None:
        self.want(not result.counter, f"{result.of} is a counter: want rate or increase of it")

    def _BinaryExpr(self, expr: Any) -> Result:
        op, left, right = str(expr.op), self.of(expr.lhs), self.of(expr.rhs)
        self._paired(op, expr.modifier, left, right)
        if op in _SETS:
            either = op == "or"
            labels = left.labels & right.labels if either else left.labels
            return left.but(labels=labels, repeated=left.repeated or (either and right.repeated))
        self._grown(left)
        self._grown(right)
        if left.number is not None and right.number is not None:
            return Result(number=_value(op, left.number, right.number), scalar=True)
        vector, other = (right, left) if left.scalar else (left, right)
        if op == "/" and left.over and right.over:
            text = f"growth over {left.over} through growth over {right.over}"
            self.want(left.over == right.over, text)
        if op in _COMPARED:
            self._compared(vector, other)
            told = expr.modifier is not None and expr.modifier.return_bool
            return vector.but(unit="ratio" if told else vector.unit)
        return vector.but(unit=_unit(op, left, right))

    def _paired(self, op: str, modifier: Any, left: Result, right: Result) -> None:
        """Series of both sides go together by equal labels, unless `on` or `ignoring` says by which."""
        if modifier is not None and modifier.matching is not None:
            strange = set(modifier.matching.labels) - (left.labels | right.labels)
            self.want(not strange, f"matched on {strange}, which nothing here has")
        elif op != "or" and not (left.scalar or right.scalar):
            sides = " and ".join(str(sorted(side.labels)) for side in (left, right))
            text = f"{op} pairs nothing: its sides have the labels {sides}"
            self.want(left.labels == right.labels, text)

    def _compared(self, vector: Result, other: Result) -> None:
        number, unit = other.number, vector.unit
        if number is None:
            same = unit == other.unit or not unit or not other.unit
            self.want(same, f"compares {unit} with {other.unit}")
            return
        most = {"ratio": 1, "s": 2 * DAY, "time": 0}.get(unit, number)
        text = f"compares what is in {unit} with {number:g}: want {most:g} at most"
        self.want(number <= most, f"{text} (no per cent, no ms, time() minus a time)")


def _value(op: str, left: float, right: float) -> float | None:
    known = {"*": left * right, "+": left + right, "-": left - right}
    return left / right if op == "/" and right else known.get(op)


def _unit(op: str, left: Result, right: Result) -> str:
    """Of a sum, a difference, a product or a quotient."""
    numbers = {left.number, right.number} - {None}
    if op in ("+", "-") or numbers:
        times = left.unit == right.unit == "time"
        percent = 100 in numbers and "ratio" in (left.unit, right.unit)
        return "s" if times else "percent" if percent else left.unit or right.unit
    return "ratio" if op == "/" and left.unit == right.unit else left.unit if not right.unit else ""
