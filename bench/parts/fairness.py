"""`fair.*`: another sender's bodies and a district's page while one sender is at its worst by every door."""

from __future__ import annotations

import socket

from bench.attacked import Waits, attack, measured, quantile
from bench.parts.doors import prepare
from bench.run import Run

QUIET_SECONDS, WORST_SECONDS, LEAD_SECONDS = 15.0, 40.0, 20.0
DISTRICT = "district:500103"


def fairness(run: Run) -> None:
    prepare(run)
    run.system.scale("metrics", 1)
    worst, other = run.system.key("fair-worst"), run.system.key("fair-other")
    district = run.system.token(DISTRICT)
    ports = (run.system.ingest_port, run.system.gateway_port)
    asks = (*ports, "fair-other", other, district)
    measured(*asks, 5.0, 0)
    quiet = measured(*asks, QUIET_SECONDS, 10_000_000)
    seconds = WORST_SECONDS + LEAD_SECONDS
    # Nobody answers there: its mail hangs.
    with (
        socket.create_server(("127.0.0.1", 0), backlog=512) as tarpit,
        attack(*ports, worst, run.system.token(), tarpit.getsockname()[1], seconds),
    ):
        worse = measured(*asks, WORST_SECONDS, 20_000_000)
    for name in ("bodies", "pages"):
        _tell(run, name, quiet, worse)


def _tell(run: Run, name: str, quiet: Waits, worse: Waits) -> None:
    before, now = getattr(quiet, name), getattr(worse, name)
    ok = not quiet.wrong and not worse.wrong and bool(before) and bool(now)
    p50, p99 = (quantile(now, share) / quantile(before, share) for share in (0.5, 0.99))
    run.say(
        f"{name}: p50 {quantile(before, 0.5):.3f} -> {quantile(now, 0.5):.3f} s ({p50:.1f} times),"
        f" p99 {quantile(before, 0.99):.3f} -> {quantile(now, 0.99):.3f} s ({p99:.1f} times);"
        f" {len(now)} of them; wrong: {(quiet.wrong + worse.wrong)[:5]}"
    )
    run.add(f"fair.{name}_p99_s", quantile(now, 0.99), "s", 0.0, ok)
    run.add(f"fair.{name}_p99_ratio", p99, "times", 0.0, ok)
