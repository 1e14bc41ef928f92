"""One run of the bench: the system under test, what it must hold by now, and what was measured."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench import lag, push, recount
from bench.cpu import Sampler
from bench.expected import Expected
from bench.report import Result
from bench.rows import Plan
from bench.sizes import Sizes
from bench.system import HOST, System
from contracts.days import DAY_MS, SHANGHAI_MS

HISTORY_DAYS = 730
SLOWEST = 20_000
"""Entries a second below which nobody waits any longer."""


@dataclass
class Run:
    system: System
    sampler: Sampler
    sizes: Sizes
    bodies: Path
    """Where request bodies wait."""
    now_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    results: list[Result] = field(default_factory=list)
    next_row: int = 0
    sample_rows: tuple[int, int] | None = None
    """First row and count of what the sample's platform took part in."""
    registered: bool = False
    keys: dict[str, str] = field(default_factory=dict)
    cpu_of_empty: float = 0.0
    columnar: float = 0.0

    def __post_init__(self) -> None:
        today = (self.now_ms + SHANGHAI_MS) // DAY_MS
        self.expected = Expected(today - HISTORY_DAYS - 1, today + 1)

    def plan(self, first_ms: int, last_ms: int, **more: bool) -> Plan:
        return Plan(first_ms, last_ms, self.sizes.merchants, **more)

    def one_day(self, **more: bool) -> Plan:
        """Few cells: what a platform sends in a day."""
        return self.plan(self.now_ms - DAY_MS, self.now_ms, **more)

    def two_years(self) -> Plan:
        return self.plan(self.now_ms - HISTORY_DAYS * DAY_MS, self.now_ms)

    def take_rows(self, count: int) -> int:
        """The first of so many rows that nobody else sends."""
        first = self.next_row
        self.next_row += count
        return first

    def push(self, plan: Plan, count: int) -> int:
        """Through the Arrow door. The first row."""
        first = self.take_rows(count)
        seconds = push.push(self.system, plan, first, count, self.expected)
        self.say(f"pushed {count:,} entries in {seconds:.1f} s ({count / seconds:,.0f}/s)")
        return first

    def backlog(self) -> lag.Backlog:
        return lag.Backlog(self.system.kafka(), self.system.dsn)

    def catch_up(self) -> None:
        """Books what waits, by one worker."""
        backlog = self.backlog()
        try:
            if backlog.records:
                self.system.scale("metrics", 1)
                backlog.drain(120 + self.expected.entries / SLOWEST)
        finally:
            backlog.close()

    def settle(self) -> bool:
        """Lets one worker book the backlog, and compares all cells with what was pushed."""
        self.catch_up()
        # Both are always asked: each says something else.
        return all([self.recount(), self.counts()])

    def recount(self) -> bool:
        found = recount.compare(HOST, self.system.gateway_port, self.system.token(), self.expected)
        self.say(f"recount: {found}")
        return found.ok

    def counts(self) -> bool:
        """Whether dead letters and duplicates are as many as were sent; they follow some seconds later."""
        deadline = time.monotonic() + 60
        while True:
            counts = self.system.status()["counts"]
            known = counts["dead"] == self.expected.bad
            if known or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        apart = {name: counts[name] for name in ("duplicate", "conflicting")}
        said = ", ".join(f"{counts[name]} {name}" for name in apart)
        self.say(f"dead letters: {counts['dead']} of {self.expected.bad}; {said}")
        return known and not any(apart.values())

    def audit(self) -> bool:
        ok, said = self.system.audit()
        self.say(f"audit: {'ok' if ok else 'WRONG'}, {said}")
        return ok

    # -- results

    def add(self, name: str, value: float, unit: str, cpu: float, ok: bool) -> None:
        self.results.append(Result(name, float(value), unit, float(cpu), bool(ok)))

    def add_rate(
        self, name: str, entries: int, window: lag.Slope, whose: Iterable[str], ok: bool, unit: str
    ) -> float:
        """A rate measured where the lag fell, with its cpu. Cpu-µs an entry."""
        gone = window.share * entries
        return self.add_window(
            name, window.rate(entries), gone, window.since, window.until, whose, ok, unit
        )

    def add_window(
        self,
        name: str,
        rate: float,
        entries: float,
        since: float,
        until: float,
        whose: Iterable[str],
        ok: bool,
        unit: str,
    ) -> float:
        self.sampler.sample()
        cpu = self.sampler.used(whose, since, until)
        others = self.sampler.others(since, until)
        each = {n: s for n, s in self.sampler.each(since, until).items() if s >= 0.05}
        self.say(
            f"{name}: {rate:,.0f} {unit} over {until - since:.1f} s; cpu s: "
            + ", ".join(f"{n} {s:.1f}" for n, s in each.items())
            + f"; others {others:.1f}"
        )
        cost = cpu * 1e6 / max(entries, 1)
        self.add(name, rate, unit, cpu, ok)
        self.add(f"{name}.cpu", cost, "cpu-us/entry", cpu, ok)
        self.add(f"{name}.others", others, "cpu-s of others", cpu, ok)
        return cost

    def cpu_of(self, name: str) -> float:
        return next(result.cpu_seconds for result in self.results if result.name == name)

    def say(self, text: str) -> None:
        print(f"  {time.strftime('%H:%M:%S')}  {text}", flush=True)
