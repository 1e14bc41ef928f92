"""Values that must fit each other, over objects: what no schema says, whatever the table said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path as File

from croniter import croniter

from deploy.check.cluster import Cluster
from deploy.check.expressions import Known
from deploy.check.findings import Finding, seconds
from deploy.check.tree import find
from deploy.render.brokers import PLATFORM_NETWORKS
from deploy.render.sizes import amount
from services.gateway.store import EXPORT_SECONDS
from services.ingest.decoder.pool import WALL_SECONDS
from yumai import topics
from yumai.observability.telemetry import GATEWAY_PATHS, INGEST_PATHS
from yumai.process.settings import Settings

ROOT, MB = File(__file__).parents[2], 2**20
AT_REST = {"ingest": 500, "metrics": 500, "alerts": 250, "gateway": 300, "canary": 150}
"""MB of a process with all of its modules loaded and nothing to do (measured 340, 247, 108, 132, 97), and room."""
AT_REST_OTHERS = 200
ANSWERS = {"ingest": WALL_SECONDS, "gateway": EXPORT_SECONDS}
"""Seconds that an answer may take."""
ROUTES = {"ingest": INGEST_PATHS, "gateway": (*GATEWAY_PATHS, "/")}
QUERY_SHARE = 0.75
"""Of a store's memory, of one query."""
_SOME_STARTS = 60


def check(cluster: Cluster) -> Iterator[Finding]:
    for part in (_memory, _times, _clocks, _kafka, _store):
        yield from part(cluster)
    for obj in cluster.tree.objects:
        for path, query in obj.at("spec triggers * metadata query"):
            yield from (obj.finding(path, wrong) for wrong in Known({}).judge(str(query))[1])
        for path, module in obj.at("** args"):
            if not (ROOT / module[0].replace(".", "/") / "__main__.py").is_file():
                yield obj.finding(path, f"{module[0]}: nothing of that name can be run")
        for path, room in obj.at("** emptyDir sizeLimit"):
            if amount(room) < 256 * MB:
                yield obj.finding(path, f"{room}: want 256 Mi or more")
        for path, endpoint in obj.at("spec endpoints *"):
            if seconds(endpoint["scrapeTimeout"]) > seconds(endpoint["interval"]):
                yield obj.finding((*path, "scrapeTimeout"), "longer than interval")
        for path, image in obj.at("** image"):
            if not re.fullmatch(r"[\w.-]+(:\d+)?/[\w./-]+:v?\d+(\.\d+)+", str(image)):
                yield obj.finding(path, f"{image!r}: want a registry and a fixed version")


def _memory(cluster: Cluster) -> Iterator[Finding]:
    """At rest, and what the settings let it hold of requests."""
    for obj, path, container in cluster.containers():
        name, most = container["name"], container["resources"]["limits"]["memory"]
        told = cluster.environment(container).get("YUMAI_HELD_BYTES") or Settings().held_bytes
        least = AT_REST.get(name, AT_REST_OTHERS) * MB + (int(told) if name == "ingest" else 0)
        if amount(most) < least:
            text = f"{most}: {name} needs {least / MB:.0f} Mi (resources.limits.memory)"
            yield obj.finding(path, text)
    for chi in cluster.tree.of("ClickHouseInstallation"):
        room = "spec templates podTemplates * spec containers * resources limits memory"
        most = QUERY_SHARE * amount(chi.get(room))
        for path, value in chi.at("spec configuration profiles *"):
            if str(path[-1]).endswith("max_memory_usage") and not most / 9 < float(value) <= most:
                yield chi.finding(path, f"{value}: want {most / 9:.0f} to {most:.0f}")
            if str(path[-1]).endswith("_time") and not 1 < float(value) <= EXPORT_SECONDS:
                yield chi.finding(path, f"{value} s: want {EXPORT_SECONDS} s at most")


def _times(cluster: Cluster) -> Iterator[Finding]:
    """Of a route: no step waits for less than the step behind it may take."""
    for route in cluster.tree.of("HTTPRoute"):
        for path, rule in route.at("spec rules *"):
            given = {k: seconds(v) for k, v in (rule.get("timeouts") or {}).items()}
            least = max(ANSWERS.get(str(b["name"]), 0) for b in rule["backendRefs"])
            for key, value in given.items():
                if value and not least <= value <= 3600:
                    text = f"{value:g} s: an answer may take {least:g} s"
                    yield route.finding((*path, "timeouts", key), text)
            for at, value in find(rule, ("matches", "*", "path", "value")):
                if not any(known.startswith(value) for known in ROUTES[route.name]):
                    yield route.finding(
                        (*path, *at), f"{value}: {route.name} answers nothing there"
                    )
            if 0 < given.get("request", 0) < given.get("backendRequest", 0):
                yield route.finding((*path, "timeouts"), "backendRequest is longer than request")


def _clocks(cluster: Cluster) -> Iterator[Finding]:
    for job in cluster.tree.of("CronJob"):
        text, most = str(job.spec.get("schedule")), job.get("** activeDeadlineSeconds", 0)
        if not croniter.is_valid(text):
            yield job.finding("spec.schedule", f"{text!r} is no time")
            continue
        times = croniter(text, datetime(2026, 1, 1))
        starts = [times.get_next(float) for _ in range(_SOME_STARTS)]
        shortest = min(after - before for before, after in pairwise(starts))
        if shortest < most:
            told = f"{text!r} starts it every {shortest:.0f} s, and it may take {most} s"
            yield job.finding("spec.schedule", told)


def _kafka(cluster: Cluster) -> Iterator[Finding]:
    """Clients and listeners speak the same; nothing is open to everybody."""
    settings = cluster.tree.find("ConfigMap", "settings")
    speak = str(settings and settings.doc["data"].get("KAFKA_SASL_MECHANISM")).lower()
    for obj in cluster.tree.of("Kafka", "KafkaUser"):
        for path, how in obj.at("** authentication type"):
            if how != speak:
                yield obj.finding(path, f"{how}: clients come with {speak}")
    for kafka in cluster.tree.of("Kafka"):
        for path, listener in kafka.at("spec kafka listeners *"):
            peers = listener.get("networkPolicyPeers") or []
            blocks = [peer["ipBlock"]["cidr"] for peer in peers if "ipBlock" in peer]
            outside = listener["type"] != "internal"
            wide = not peers or any(block.endswith("/0") for block in blocks)
            if wide or not listener.get("tls") or (outside and blocks != [*PLATFORM_NETWORKS]):
                yield kafka.finding(path, f"too wide: open to {blocks or 'everybody'}, or no TLS")
    for pool in cluster.tree.of("KafkaNodePool"):
        for path, volume in pool.at("spec storage volumes *"):
            if volume["type"] == "ephemeral" or volume.get("deleteClaim"):
                yield pool.finding(path, "the log would go with the pod, or the pool")
    for topic in cluster.tree.of("KafkaTopic"):
        kept = float(topic.get("spec config retention.ms", -1))
        if 0 <= kept < 7 * topics.DAY_MS:
            yield topic.finding("spec.config['retention.ms']", f"{kept:.0f}: less than a week")


def _store(cluster: Cluster) -> Iterator[Finding]:
    """Who may insert nothing may change nothing, not even the settings that say so."""
    for chi in cluster.tree.of("ClickHouseInstallation"):
        users, profiles = (chi.get(f"spec configuration {of}") for of in ("users", "profiles"))
        for name in {user.split("/")[0] for user in users} - {"admin"}:
            reads = "INSERT" not in str(users.get(f"{name}/grants/query", "INSERT"))
            only = profiles.get(f"{users[f'{name}/profile']}/readonly") in ("1", "2")
            if reads != only or f"{name}/grants/query" not in users:
                yield chi.finding("spec.configuration.users", f"too wide: {name}")
