"""What a PromQL expression results in: which labels, in which unit; and what it can't mean. Parsed by Prometheus' grammar."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
_COUNTED = {"rate", "increase", "irate", "absent", "absent_over_time", "resets"}
_OF_GAUGES = {"predict_linear", "deriv", "delta", "idelta"}
_COMPARED = {">", "<", ">=", "<=", "==", "!="}
_SETS = {"and", "or", "unless"}


@dataclass(frozen=True)
class Result:
    """`unit`: s, time (seconds since 1970), By, ratio, or none of them. `number`: of a literal. `scalar`: no series.

    `repeated`: every replica says it. `counter`: only its growth means something. `of`: the metric, where it is one.
    """

    labels: frozenset[str] = frozenset()
    unit: str = ""
    number: float | None = None
    scalar: bool = False
    repeated: bool = False
    counter: bool = False
    of: str = ""

    def but(self, **changed: Any) -> Result:
        return Result(**{**self.__dict__, **changed})


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


def names_in(expr: Any) -> set[str]:
    """Metrics that a parsed expression asks for."""
    if isinstance(expr, promql.VectorSelector):
        return {expr.name}
    parts = [getattr(expr, p, None) for p in ("expr", "lhs", "rhs", "vector_selector")]
    return set().union(
        *(names_in(p) for p in [*parts, *getattr(expr, "args", [])] if p is not None)
    )


class _Reading:
    def __init__(self, known: Known) -> None:
        self.known, self.wrong = known, list[str]()

    def of(self, expr: Any) -> Result:
        read = getattr(self, f"_{type(expr).__name__}", None)
        return read(expr) if read else self.of(expr.expr) if hasattr(expr, "expr") else Result()

    def _NumberLiteral(self, expr: Any) -> Result:
        return Result(number=expr.val, scalar=True)

    def _VectorSelector(self, expr: Any) -> Result:
        name, known = str(expr.name), self.known
        matchers = {m.name: m.value for m in expr.matchers.matchers if str(m.op) in _POSITIVE}
        for label, wanted in matchers.items():
            values: Any = VALUES.get(
                label, known.ours[name].labels.get(label) if name in known.ours else None
            )
            if values and not isinstance(values, Numbers):
                if not any(re.fullmatch(wanted, value) for value in values):
                    self.wrong.append(f"{name}: {label} is never {wanted}{near(wanted, values)}")
        if name not in known.names():
            where = "yumai/observability/telemetry.py lists ours, deploy/metrics-of-others.yaml the others"
            self.wrong.append(f"no metric {name}{near(name, known.names())}; {where}")
            return Result()
        result = self._metric(name)
        for label in {m.name for m in expr.matchers.matchers} - result.labels:
            self.wrong.append(f"{name} has no label {label}{near(label, result.labels)}")
        return result

    def _metric(self, name: str) -> Result:
        if name in self.known.recorded:
            return self.known.recorded[name]
        metric = self.known.ours.get(name)
        unit = metric.unit if metric else "By" if name.endswith("_bytes") else ""
        unit = "time" if re.search(r"_timestamp_seconds|_time$", name) else unit
        if metric is None:
            return Result(frozenset(self.known.others[name]), unit, of=name)
        le = {"le"} if name.endswith("_bucket") else set()
        counter = isinstance(metric, Counter | Histogram)
        whole = isinstance(metric, Gauge) and name not in OWN
        labels = frozenset(metric.labels) | ADDED | le
        return Result(labels, unit, repeated=whole, counter=counter, of=name)

    def _MatrixSelector(self, expr: Any) -> Result:
        self._range(expr.range)
        return self.of(expr.vector_selector)

    def _SubqueryExpr(self, expr: Any) -> Result:
        self._range(expr.range)
        return self.of(expr.expr)

    def _range(self, length: timedelta) -> None:
        if not SHORTEST <= length <= LONGEST:
            self.wrong.append(f"a range of {length}: want {SHORTEST} to {LONGEST}")

    def _Call(self, expr: Any) -> Result:
        name = expr.func.name
        arguments = [self.of(argument) for argument in expr.args]
        vector = next((a for a in arguments if not a.scalar), Result())
        if name in _COUNTED:
            if vector.of and not vector.counter and not name.startswith("absent"):
                self.wrong.append(f"{name} of {vector.of}, which is no counter")
            vector = vector.but(counter=False, unit="")
        elif name in _OF_GAUGES and vector.counter:
            self.wrong.append(f"{name} of {vector.of}, which is a counter")
        elif name == "histogram_quantile":
            share = arguments[0].number
            if share is None or not 0 < share < 1:
                self.wrong.append(f"histogram_quantile({share}, …): want a ratio between 0 and 1")
            if "le" not in vector.labels:
                self.wrong.append("histogram_quantile of what has no label le: want it in by (…)")
            metric = self.known.ours.get(next(iter(names_in(expr)), ""))
            unit = metric.unit if metric else ""
            return vector.but(labels=vector.labels - {"le"}, unit=unit, counter=False)
        if name.startswith("absent"):
            return Result()
        if name == "time":
            return Result(unit="time", scalar=True)
        return vector.but(of="")

    def _AggregateExpr(self, expr: Any) -> Result:
        inner, labels = self.of(expr.expr), frozenset[str]()
        if expr.modifier is not None:
            named = frozenset(expr.modifier.labels)
            by = "By" in str(expr.modifier.type)
            labels = named if by else inner.labels - named
            for label in sorted(named - inner.labels):
                near_to = near(label, inner.labels)
                self.wrong.append(f"grouped by {label}, which nothing here has{near_to}")
        if inner.repeated and str(expr.op) in ("sum", "count", "avg", "stddev"):
            text = f"{expr.op} counts every replica of who says {inner.of or 'it'}: want max by (…) first"
            self.wrong.append(text)
        self._growth(inner)
        return inner.but(labels=labels, repeated=inner.repeated and "pod" in labels, counter=False)

    def _growth(self, result: Result) -> None:
        if result.counter:
            self.wrong.append(f"{result.of} is a counter: want rate or increase of it")

    def _BinaryExpr(self, expr: Any) -> Result:
        op, left, right = str(expr.op), self.of(expr.lhs), self.of(expr.rhs)
        if op not in _SETS:
            self._growth(left)
            self._growth(right)
        self._matched(op, expr.modifier, left, right)
        if left.number is not None and right.number is not None:
            return Result(number=_value(op, left.number, right.number), scalar=True)
        vector, other = (right, left) if left.scalar else (left, right)
        if op in _COMPARED:
            self._compared(vector, other)
            told = expr.modifier is not None and expr.modifier.return_bool
            return vector.but(unit="ratio" if told else vector.unit, of="")
        if op in _SETS:
            labels = left.labels & right.labels if op == "or" else left.labels
            return left.but(labels=labels, repeated=left.repeated or right.repeated and op == "or")
        return vector.but(unit=_unit(op, left, right), of="")

    def _matched(self, op: str, modifier: Any, left: Result, right: Result) -> None:
        """Series of both sides are paired by equal labels, unless `on` or `ignoring` says which."""
        named = modifier is not None and modifier.matching is not None
        if named:
            for label in set(modifier.matching.labels) - (left.labels | right.labels):
                self.wrong.append(f"matched on {label}, which nothing here has")
        elif op != "or" and not (left.scalar or right.scalar) and left.labels != right.labels:
            sides = " and ".join(str(sorted(side.labels)) for side in (left, right))
            self.wrong.append(f"{op} pairs nothing: its sides have the labels {sides}")

    def _compared(self, vector: Result, other: Result) -> None:
        number, unit = other.number, vector.unit
        if number is None:
            if unit != other.unit and unit and other.unit:
                self.wrong.append(f"compares {unit} with {other.unit}")
        elif unit == "ratio" and abs(number) > 1:
            self.wrong.append(f"compares a ratio with {number:g}: want 0 to 1, no per cent")
        elif unit == "s" and number >= 2 * DAY:
            self.wrong.append(f"compares seconds with {number:g}: milliseconds, or a time?")
        elif unit == "time" and number > 0:
            self.wrong.append(f"compares a time with {number:g}: want time() minus it")


_POSITIVE = {"MatchOp.Equal", "MatchOp.Re"}


def _value(op: str, left: float, right: float) -> float | None:
    known = {"*": left * right, "+": left + right, "-": left - right}
    return left / right if op == "/" and right else known.get(op)


def _unit(op: str, left: Result, right: Result) -> str:
    """Of a sum, a difference, a product or a quotient."""
    if op in ("+", "-"):
        return "s" if (left.unit, right.unit) == ("time", "time") else left.unit or right.unit
    number = left.number if left.number is not None else right.number
    if number is not None:
        unit = left.unit or right.unit
        return "percent" if unit == "ratio" and number in (100, 0.01) else unit
    return "ratio" if op == "/" and left.unit == right.unit else ""
