"""What compose's other programs must agree on: addresses, ports, the store's user, files they are given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any
from urllib.parse import urlsplit

import yaml

from deploy.check import clickhouse
from deploy.check.amounts import IMAGES
from deploy.check.findings import Finding, Path, dotted, listed, near
from deploy.render.workloads import SERVICES
from embedded import kafka_jars
from yumai.broker import server
from yumai.store.guarantees import INSERTS

FILE = "deploy/compose.yaml"
RELEASES = {"kafka": kafka_jars.VERSION, "clickhouse": clickhouse.RELEASE}
PORTS = {"kafka": {9092, 9093}, "clickhouse": {8123}}
KAFKA = {
    *("KAFKA_NODE_ID", "KAFKA_PROCESS_ROLES", "KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS"),
    *("KAFKA_CONTROLLER_LISTENER_NAMES", "KAFKA_CONTROLLER_QUORUM_VOTERS"),
    *("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR"),
    *("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR"),
    *("KAFKA_LOG_DIRS", "CLUSTER_ID"),
}
"""What the broker is told, with SETTINGS all of it and nothing else."""
SETTINGS = {f"KAFKA_{k.upper().replace('.', '_')}": str(v) for k, v in server.SETTINGS.items()}
INSERTING = "deploy/compose/clickhouse-inserts.yaml"


def check(root: File, services: dict[str, Any]) -> Iterator[Finding]:
    for name, service in services.items():
        image = str(service.get("image", "")).rpartition(":")[0]
        if image and image not in IMAGES:
            text = f"{image!r}: no image known here{near(image, IMAGES)}"
            yield _at(("services", name, "image"), text)
        tag = str(service.get("image", "")).rpartition(":")[2]
        if name in RELEASES and tag != RELEASES[name]:
            yield _at(("services", name, "image"), f"{tag!r}: want the release {RELEASES[name]}")
        mounts = {str(v).split(":")[1] for v in service.get("volumes") or [] if ":" in str(v)}
        command = service.get("command") or []
        for word in command if isinstance(command, list) else [command]:
            found = re.fullmatch(r"--config(?:\.file)?=(.+)", str(word))
            if found and found[1] not in mounts:
                text = f"{found[1]}: not mounted ({listed(mounts)})"
                yield _at(("services", name, "command"), text)
    yield from _broker(services.get("kafka") or {})
    yield from _store(services)
    for name in PORTS:
        test = (services.get(name) or {}).get("healthcheck", {}).get("test") or []
        for host, port in re.findall(r"([\w.-]+):(\d+)", " ".join(map(str, test))):
            if host not in (name, "127.0.0.1", "localhost") or int(port) not in PORTS[name]:
                yield _at(("services", name, "healthcheck", "test"), f"nothing is at {host}:{port}")
    for name, least in ((one.name, one.ends_in_seconds) for one in SERVICES):
        grace = str((services.get(name) or {}).get("stop_grace_period", "10s"))
        length = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", grace)
        seconds = int(length[1] or 0) * 60 + int(length[2] or 0) if length else 0
        if seconds < least:
            yield _at(
                ("services", name, "stop_grace_period"),
                f"{grace}: what is under way takes up to {least} s to end",
            )
    yield from _files(root, services)


def _at(path: Path, message: str) -> Finding:
    return Finding(FILE, dotted(path), message)


def _broker(kafka: dict[str, Any]) -> Iterator[Finding]:
    env = kafka.get("environment") or {}
    at: Path = ("services", "kafka", "environment")
    known = KAFKA | set(SETTINGS)
    for key in env:
        if key not in known:
            yield _at((*at, key), f"unknown to this check{near(key, known)}")
    for key in sorted(known - set(env)):
        yield _at((*at, key), f"is missing{near(key, env)}")
    for key, want in SETTINGS.items():
        if key in env and str(env[key]).lower() != want:
            yield _at((*at, key), f"{env[key]!r}: want {want!r}")
    for key in ("KAFKA_ADVERTISED_LISTENERS", "KAFKA_CONTROLLER_QUORUM_VOTERS"):
        for host, port in re.findall(r"([\w.-]+):(\d+)", str(env.get(key, ""))):
            if host != "kafka" or int(port) not in PORTS["kafka"]:
                yield _at((*at, key), f"{host}:{port}: the others look for it at kafka:9092")


def _store(services: dict[str, Any]) -> Iterator[Finding]:
    env = (services.get("clickhouse") or {}).get("environment") or {}
    at: Path = ("services", "clickhouse", "environment")
    for name in ("migrate", "ingest", "metrics", "alerts", "gateway"):
        own = (services.get(name) or {}).get("environment") or {}
        user = urlsplit(str(own.get("CLICKHOUSE_DSN", ""))).username
        for key, theirs in (("USER", user), ("PASSWORD", own.get("CLICKHOUSE_PASSWORD"))):
            mine = env.get(f"CLICKHOUSE_{key}")
            if theirs is not None and mine != theirs:
                yield _at((*at, f"CLICKHOUSE_{key}"), f"{mine!r}: {name} comes with {theirs!r}")
                return


def _files(root: File, services: dict[str, Any]) -> Iterator[Finding]:
    """A path in a file that a program is given is where the file or folder is mounted."""

    def mounted(name: str) -> set[str]:
        volumes = (services.get(name) or {}).get("volumes") or []
        return {str(v).split(":")[1] for v in volumes if ":" in str(v)}

    name = "deploy/compose/prometheus.yaml"
    for number, file in enumerate(_read(root, name).get("rule_files") or []):
        if file not in mounted("prometheus"):
            text = f"{file}: not mounted ({listed(mounted('prometheus'))})"
            yield Finding(name, f"rule_files[{number}]", text)
            yield _at(("services", "prometheus", "volumes"), f"nothing at {file}, rule_files")
    if "/etc/clickhouse-server/users.d/inserts.yaml" not in mounted("clickhouse"):
        text = f"want {INSERTING} at /etc/clickhouse-server/users.d/inserts.yaml"
        yield _at(("services", "clickhouse", "volumes"), text)
    profile = (_read(root, INSERTING).get("profiles") or {}).get("default") or {}
    for key, want in INSERTS.items():
        if profile.get(key) != want:
            text = f"{profile.get(key)!r}: want {want!r}{near(key, profile)}"
            yield Finding(INSERTING, f"profiles.default.{key}", text)
    name = "deploy/compose/grafana/dashboards/yumai.yaml"
    for number, provider in enumerate(_read(root, name).get("providers") or []):
        folder = (provider.get("options") or {}).get("path")
        if folder not in mounted("grafana"):
            text = f"{folder}: not mounted ({listed(mounted('grafana'))})"
            yield Finding(name, f"providers[{number}].options.path", text)
    name = "deploy/compose/otel-collector.yaml"
    protocols = (_read(root, name).get("receivers") or {}).get("otlp", {}).get("protocols") or {}
    endpoint = str((protocols.get("http") or {}).get("endpoint"))
    if not endpoint.endswith(":4318"):
        where = "receivers.otlp.protocols.http.endpoint"
        yield Finding(name, where, f"{endpoint}: the services send to otel-collector:4318")


def _read(root: File, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((root / name).read_text()) or {}
    return found
