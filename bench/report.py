"""What was measured: a table for people, `build/bench.json` for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

BARS = {
    "metrics.columnar": (">=", 700_000.0),
    "metrics.columnar.cpu": ("<=", 2.4),
    "metrics.on_20m": (">=", 700_000.0),
    "metrics.on_20m.cpu": ("<=", 2.4),
    "metrics.on_20m.cpu_to_empty": ("<=", 1.3),
    "metrics.on_20m.rss": ("<=", 1_500.0),
    "metrics.columnar.rss": ("<=", 1_500.0),
    "metrics.history": (">=", 450_000.0),
    "metrics.history.rss": ("<=", 1_500.0),
    "ingest.ndjson": (">=", 250_000.0),
    "ingest.arrow": (">=", 600_000.0),
    "ingest.kafka_json": (">=", 80_000.0),
    "freshness.p99_s": ("<=", 2.0),
    "tracing.off": ("<=", 2.0),
    "fair.bodies_p99_s": ("<=", 1.0),
    "fair.pages_p99_s": ("<=", 2.0),
}
"""The bars of the issue, on 2 quiet cores; a small run reaches none of them."""


@dataclass(frozen=True)
class Result:
    """`cpu_seconds`: what the measured processes used for it. `answer_ok`: the figures were right."""

    name: str
    value: float
    unit: str
    cpu_seconds: float
    answer_ok: bool

    @property
    def bar(self) -> str:
        kind, bar = BARS.get(self.name, ("", 0.0))
        return f"{kind} {_number(bar)}" if kind else ""

    @property
    def reached(self) -> str:
        kind, bar = BARS.get(self.name, ("", 0.0))
        if not kind:
            return ""
        return "yes" if (self.value >= bar if kind == ">=" else self.value <= bar) else "no"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"


def table(results: Sequence[Result], with_bars: bool) -> str:
    heads = ("name", "value", "unit", "cpu s", "answer", *(("bar", "reached") if with_bars else ()))
    lines = [heads]
    for r in results:
        bars = (r.bar, r.reached) if with_bars else ()
        answer = "ok" if r.answer_ok else "WRONG"
        lines.append((r.name, _number(r.value), r.unit, f"{r.cpu_seconds:.1f}", answer, *bars))
    widths = [max(len(line[n]) for line in lines) for n in range(len(heads))]
    right = {"value", "cpu s", "bar"}
    return "\n".join(
        "  ".join(
            text.rjust(width) if head in right else text.ljust(width)
            for text, width, head in zip(line, widths, heads, strict=True)
        ).rstrip()
        for line in lines
    )


def write(results: Sequence[Result], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = [
        asdict(r) | {"value": round(r.value, 4), "cpu_seconds": round(r.cpu_seconds, 2)}
        for r in results
    ]
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rounded) + "\n]\n")
