"""`ingest.*`: what the doors acknowledge. No metrics worker runs meanwhile; what was sent is booked and recounted after."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time

import numpy as np
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from bench import lag
from bench.bodies import MEDIA_TYPES, RENDER, lines
from bench.clients import Answer, Job
from bench.clients import run as run_clients
from bench.kafka_records import fill
from bench.rows import DISTRICTS, MCCS, PLATFORMS, Plan, Rows, registry, rows
from bench.run import Run
from bench.system import Failed
from yumai.broker.principals import FEED_GROUP
from yumai.topics import feed

REGISTRY_ROWS = 20_000
DOORS = ("ingest", "broker")
SLOWEST = 2_000


def ndjson(run: Run) -> None:
    over_http(run, "ndjson", run.sizes.ndjson)


def arrow(run: Run) -> None:
    over_http(run, "arrow", run.sizes.arrow)


def over_http(run: Run, form: str, count: int) -> None:
    """Four platforms, a client each; every client has the same number of bodies."""
    prepare(run)
    run.system.scale("metrics", 0)
    each = max(count // len(PLATFORMS) // run.sizes.body_rows, 1)
    jobs, sizes, bad = [], 0, 0
    for n, platform in enumerate(PLATFORMS):
        paths = []
        for k in range(each):
            part = of_platform(run.one_day(registered=True, bad=True), n, run, run.sizes.body_rows)
            body = RENDER[form](part)
            path = run.bodies / f"{form}-{n}-{k}"
            path.write_bytes(body)
            run.expected.add(part)
            sizes, bad = sizes + len(body), bad + int(part.bad.sum())
            paths.append(path)
        headers = {
            "Authorization": f"Bearer {run.keys[platform]}",
            "Content-Type": MEDIA_TYPES[form],
        }
        jobs.append(Job(run.system.ingest_port, headers, tuple(paths)))
    total = len(jobs) * each * run.sizes.body_rows
    run.say(
        f"{total:,} entries in {len(jobs) * each} bodies of {run.sizes.body_rows:,} rows,"
        f" {sizes / 1e6:,.0f} MB, {bad} bad rows; 4 clients, metrics scaled to 0"
    )
    answers = [
        a for one in run_clients(jobs, run.sampler.watch, 120 + total / SLOWEST) for a in one
    ]
    for job in jobs:
        for path in job.bodies:
            path.unlink()
    ok = receipts_ok(run, answers, run.sizes.body_rows, bad)
    since, until = min(a.sent_at for a in answers), max(a.acked_at for a in answers)
    accepted = sum(a.accepted for a in answers)
    ok = run.settle() and ok
    rate = accepted / (until - since)
    run.add_window(f"ingest.{form}", rate, accepted, since, until, DOORS, ok, "entries/s")


def of_platform(plan: Plan, platform: int, run: Run, count: int) -> Rows:
    found = rows(plan, run.take_rows(count), count)
    found.platform[:] = platform
    return found


def receipts_ok(run: Run, answers: list[Answer], size: int, bad: int) -> bool:
    wrong = [a for a in answers if a.status != 200 or a.accepted + a.rejected != size]
    rejected = sum(a.rejected for a in answers)
    if wrong:
        run.say(
            f"{len(wrong)} requests went wrong; the first: HTTP {wrong[0].status} {wrong[0].text}"
        )
    if rejected != bad:
        run.say(f"rejected {rejected}, but {bad} rows are bad")
    return not wrong and rejected == bad


def prepare(run: Run) -> None:
    """Keys, feeds and the registry, once."""
    if run.registered:
        return
    run.keys = {platform: run.system.key(platform) for platform in PLATFORMS}
    begun = time.monotonic()
    each = run.sizes.merchants // len(PLATFORMS)
    for n, platform in enumerate(PLATFORMS):
        for low in range(0, each, REGISTRY_ROWS):
            number = np.arange(low, min(low + REGISTRY_ROWS, each), dtype=np.int64)
            district, mcc = registry(np.full(len(number), n), number)
            _put(
                run,
                [
                    {
                        "platform_id": platform,
                        "merchant_id": f"shop{k:08d}",
                        "district_code": DISTRICTS[d],
                        "mcc": MCCS[m],
                        "valid_from": "2020-01-01",
                    }
                    for k, d, m in zip(
                        number.tolist(), district.tolist(), mcc.tolist(), strict=True
                    )
                ],
            )
    run.say(f"registry: {run.sizes.merchants:,} merchants in {time.monotonic() - begun:.1f} s")
    run.registered = True


def _put(run: Run, merchants: list[dict[str, str]]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", run.system.ingest_port, timeout=120)
    headers = {"Authorization": f"Bearer {run.system.token()}", "Content-Type": "application/json"}
    try:
        connection.request("PUT", "/v1/merchants", json.dumps(merchants).encode(), headers)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise Failed(f"PUT /v1/merchants: HTTP {answer.status}: {body[:300]!r}")


# -- the Kafka door -------------------------------------------------------------------------------

FEEDS = 2
"""Platforms whose feeds are read at once; two partitions each."""


def kafka_json(run: Run) -> None:
    """The feeds are filled while ingest is stopped (SIGSTOP), then it goes on and their lag is followed."""
    prepare(run)
    run.system.scale("metrics", 0)
    values: dict[tuple[str, int], list[bytes]] = {}
    for n in range(FEEDS):
        part = of_platform(run.one_day(registered=True, bad=True), n, run, run.sizes.kafka // FEEDS)
        run.expected.add(part)
        topic = feed(PLATFORMS[n])
        text = lines(part)
        for p in range(topic.partitions):
            values[(topic.name, p)] = text[p :: topic.partitions]
    total = sum(map(len, values.values()))
    admin = KafkaAdminClient(**run.system.kafka(), client_id="bench")
    ingest = run.system.pids()["ingest"]
    try:
        before = _taken(admin)
        os.kill(ingest, signal.SIGSTOP)
        try:
            fill(run.system.kafka(), values)
        finally:
            os.kill(ingest, signal.SIGCONT)
        run.say(f"{total:,} JSON records in {len(values)} partitions; metrics scaled to 0")
        points = _follow(admin, before, {TopicPartition(*at): len(v) for at, v in values.items()})
    finally:
        admin.close()
    window = lag.slope(points)
    ok = run.settle()
    run.add_rate("ingest.kafka_json", total, window, DOORS, ok, "records/s")


def _taken(admin: KafkaAdminClient) -> dict[TopicPartition, int]:
    found = admin.list_group_offsets({FEED_GROUP: None})[FEED_GROUP]
    return {part: max(at.offset, 0) for part, at in found.items()}


def _follow(
    admin: KafkaAdminClient, before: dict[TopicPartition, int], sent: dict[TopicPartition, int]
) -> lag.Points:
    """By the group's offsets, which move only when `entries.v1` has it. Raises TimeoutError."""
    total = sum(sent.values())
    points: lag.Points = [(time.monotonic(), 0.0)]
    deadline = time.monotonic() + 60 + total / SLOWEST
    while points[-1][1] < 1:
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"the Kafka door took {points[-1][1]:.0%} of its records in its time"
            )
        time.sleep(0.2)
        taken = _taken(admin)
        done = sum(taken.get(part, 0) - before.get(part, 0) for part in sent)
        points.append((time.monotonic(), done / total))
    return points
