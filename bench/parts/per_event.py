"""`faust.per_event`: the same job for one platform's events, by a plain Faust table, one JSON event a record."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time

import numpy as np

from bench import lag
from bench.bodies import lines
from bench.expected import Expected
from bench.kafka_records import fill, make_topic
from bench.rows import DISTRICTS, SAMPLE, SAMPLE_AT, SAMPLE_EVERY, SECTORS, rows
from bench.run import Run

TOPIC = "bench.events.v1"
PARTITIONS = 4
SLOWEST = 500


def per_event(run: Run) -> None:
    first, count = run.sample_rows or (0, run.sizes.push)
    start = first + (SAMPLE_AT - first) % SAMPLE_EVERY
    events = rows(run.one_day(sample=True), start, count // SAMPLE_EVERY, SAMPLE_EVERY)
    run.system.scale("metrics", 0)
    make_topic(run.system.kafka(), TOPIC, PARTITIONS)
    fill(run.system.kafka(), {(TOPIC, n): part for n, part in enumerate(_parts(lines(events)))})
    run.say(f"{len(events):,} events, those of one platform of metrics.columnar, a record each")
    port = run.system.base + 90
    log = run.system.state.logs / "per-event.log"
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "bench.faust_per_event",
                run.system.internal,
                str(run.system.state.tls),
            ]
            + [TOPIC, str(port), str(run.system.state.work / "per-event")],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            run.sampler.watch("faust", worker.pid)
            points = _follow(port, worker, len(events))
            sums = _sums(port)
        finally:
            run.sampler.sample()
            worker.terminate()
            try:
                worker.wait(15)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait(10)
    window = lag.slope(points)
    ok = sums == _recounted(run, events)
    run.say(
        f"its table: {len(sums)} districts x sectors, {'equal' if ok else 'NOT EQUAL'} to the recount"
    )
    if run.sample_rows:
        same = sums == _booked(run)
        run.say(f"and {'equal' if same else 'NOT EQUAL'} to what /v1/cells says of that platform")
        ok = ok and same
    run.add_rate("faust.per_event", len(events), window, ("faust", "broker"), ok, "entries/s")
    if run.columnar:
        rate = window.rate(len(events))
        cpu = run.cpu_of("faust.per_event")
        run.add("ratio.columnar_to_per_event", run.columnar / rate, "x", cpu, ok)


def _parts(events: list[bytes]) -> list[list[bytes]]:
    return [events[n::PARTITIONS] for n in range(PARTITIONS)]


def _follow(port: int, worker: subprocess.Popen[bytes], total: int) -> lag.Points:
    """Asks how many are counted, twice a second. Raises TimeoutError."""
    points: lag.Points = [(time.monotonic(), 0.0)]
    deadline = time.monotonic() + 60 + total / SLOWEST
    while points[-1][1] < 1:
        if worker.poll() is not None:
            raise TimeoutError(f"the Faust app ended with {worker.returncode}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the Faust app counted {points[-1][1]:.0%} in its time")
        time.sleep(0.25)
        try:
            done = int(_get(port, "/counted/")["counted"])
        except (OSError, http.client.HTTPException, ValueError):
            continue
        points.append((time.monotonic(), done / total))
    return points


def _get(port: int, path: str) -> dict[str, int]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())  # type: ignore[no-any-return]
    finally:
        connection.close()


def _sums(port: int) -> dict[str, int]:
    return _get(port, "/sums/")


def _recounted(run: Run, events) -> dict[str, int]:  # type: ignore[no-untyped-def]
    own = Expected(run.expected.first_day, run.expected.last_day)
    own.add(events)
    shape = own.shape
    net = own.figures["net_fen"].reshape(shape).sum(axis=(0, 3))
    used = own.figures["entries"].reshape(shape).sum(axis=(0, 3))
    return {
        f"{DISTRICTS[d]}/{SECTORS[s]}": int(net[d, s]) for d, s in np.argwhere(used > 0).tolist()
    }


def _booked(run: Run) -> dict[str, int]:
    connection = http.client.HTTPConnection("127.0.0.1", run.system.gateway_port, timeout=60)
    try:
        day = time.strftime("%Y")
        query = f"from={int(day) - 1}-01-01&grain=year&group_by=district,sector&platform={SAMPLE}"
        headers = {"Authorization": f"Bearer {run.system.token()}"}
        connection.request("GET", f"/v1/cells?{query}", headers=headers)
        found: dict[str, int] = {}
        for row in json.loads(connection.getresponse().read())["data"]:
            name = f"{row['district']}/{row['sector']}"
            found[name] = found.get(name, 0) + int(row["net_fen"])
        return found
    finally:
        connection.close()
