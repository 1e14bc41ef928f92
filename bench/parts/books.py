"""`metrics.*`: from Kafka to ledger and cells. Pushed with no worker, then one is started."""

from __future__ import annotations

import time

from bench import lag
from bench.cpu import SYSTEM
from bench.rows import Plan
from bench.run import SLOWEST, Run


def columnar(run: Run) -> None:
    """Onto an empty ledger: a day of the city, few cells."""
    plan = run.one_day(sample=True)
    first = run.next_row
    cost = drain(run, "metrics.columnar", plan)
    run.sample_rows = (first, run.sizes.push)
    run.cpu_of_empty = cost


def on_20m(run: Run) -> None:
    """The same onto a ledger of twenty millions."""
    fill(run)
    cost = drain(run, "metrics.on_20m", run.one_day())
    if run.cpu_of_empty:
        last = run.results[-1]
        ratio = cost / run.cpu_of_empty
        run.add("metrics.on_20m.cpu_to_empty", ratio, "x", last.cpu_seconds, last.answer_ok)


def history(run: Run) -> None:
    """Two years, nearly a cell an entry, onto the ledger as it is by now."""
    fill(run)
    drain(run, "metrics.history", run.two_years())


def fill(run: Run) -> None:
    """Brings the ledger to its size, booked while it is pushed."""
    missing = run.sizes.ledger - run.expected.entries
    if missing <= 0:
        return
    run.say(f"filling the ledger with {missing:,} more entries")
    run.system.scale("metrics", 1)
    run.push(run.one_day(), missing)
    run.catch_up()


def drain(run: Run, name: str, plan: Plan) -> float:
    """Cpu-µs an entry of workers, store and broker, while the lag fell from 90 % to 10 %."""
    count = run.sizes.push
    run.catch_up()  # what a part that failed has left
    run.system.scale("metrics", 0)
    before = run.expected.entries
    run.push(plan, count)
    backlog = run.backlog()
    try:
        run.say(f"backlog: {backlog.records:,} records onto a ledger of {before:,} entries")
        begun = time.monotonic()
        run.system.scale("metrics", 1)
        points = backlog.drain(120 + count / SLOWEST, begun)
    finally:
        backlog.close()
    window = lag.slope(points)
    run.say(
        f"first new flush {lag.first_seconds(points):.1f} s after `scale metrics 1` was asked for"
    )
    # Both are always asked: each says something else.
    ok = all([run.recount(), run.audit()])
    cost = run.add_rate(name, count, window, SYSTEM, ok, "entries/s")
    memory = run.sampler.most_memory("metrics-", points[0][0], points[-1][0])
    run.add(f"{name}.rss", memory, "MB of metrics", run.cpu_of(name), ok)
    if name == "metrics.columnar":
        run.columnar = window.rate(count)
    return cost
