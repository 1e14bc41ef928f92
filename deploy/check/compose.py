"""deploy/compose.yaml: its own references, names and settings; docker compose itself reads it where it is there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any
from urllib.parse import urlsplit

import yaml

from deploy.check import compose_peers
from deploy.check.cluster import SERVICES
from deploy.check.environment import KNOWN
from deploy.check.findings import Finding, Path, dotted, listed, near
from deploy.check.tree import load_all
from yumai.process import settings

FILE = "deploy/compose.yaml"
KEYS = {
    *(
        "image",
        "build",
        "environment",
        "command",
        "entrypoint",
        "volumes",
        "ports",
        "depends_on",
        "healthcheck",
    ),
    *(
        "read_only",
        "tmpfs",
        "cap_drop",
        "cap_add",
        "security_opt",
        "restart",
        "user",
        "profiles",
        "ulimits",
    ),
    *(
        "stop_grace_period",
        "deploy",
        "networks",
        "secrets",
        "configs",
        "extends",
        "env_file",
        "labels",
        "init",
    ),
}
TOP = {"name", "services", "volumes", "networks", "secrets", "configs"}
HEALTH = {"test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
OTHERS = ("kafka", "clickhouse", "otel-collector", "prometheus", "grafana", "migrate")


def check(root: File, compose: str | None) -> Iterator[Finding]:
    text = (root / FILE).read_text()
    try:
        doc = load_all(text)[0]
    except yaml.YAMLError as error:
        yield Finding(FILE, "(whole)", " ".join(str(error).split()))
        return
    found = list(_doc(root, doc))
    yield from found
    if compose and not found:
        done = subprocess.run(
            [compose, "-f", str(root / FILE), "config", "-q"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            yield Finding(FILE, "(docker compose config)", done.stderr.strip()[-600:])


def _at(path: Path, message: str) -> Finding:
    return Finding(FILE, dotted(path), message)


def _doc(root: File, doc: dict[str, Any]) -> Iterator[Finding]:
    for key in doc:
        if key not in TOP and not key.startswith("x-"):
            yield _at((key,), f"unknown field{near(key, TOP)}")
    services = doc.get("services") or {}
    for name in (*SERVICES, *OTHERS):
        if name not in services:
            yield _at(
                ("services", name),
                f"is missing{near(name, set(services) - set(SERVICES) - set(OTHERS))}",
            )
    for name, service in services.items():
        path: Path = ("services", name)
        for key in service:
            if key not in KEYS:
                yield _at((*path, key), f"unknown field{near(key, KEYS)}")
        yield from _image(path, service)
        yield from _depends(path, service, services)
        yield from _health(path, service)
        yield from _volumes(root, path, service, doc.get("volumes") or {})
        if name in SERVICES or name == "migrate":
            yield from _ours(root, path, name, service, services)
    yield from _beside(root)
    yield from compose_peers.check(root, services)
    grafana = (services.get("grafana") or {}).get("volumes") or []
    has_boards = (root / "deploy/dashboards").is_dir()
    if has_boards and not any(str(v).startswith("./dashboards:") for v in grafana):
        yield _at(
            ("services", "grafana", "volumes"), "our dashboards (./dashboards) are not provisioned"
        )


def _image(path: Path, service: dict[str, Any]) -> Iterator[Finding]:
    image = str(service.get("image", ""))
    tag = image.rpartition(":")[2]
    if not image or "/" in tag or tag in ("latest", image):
        yield _at((*path, "image"), f"{image!r}: want a fixed version")


def _depends(path: Path, service: dict[str, Any], services: dict[str, Any]) -> Iterator[Finding]:
    depends = service.get("depends_on") or {}
    for name in depends:
        if name not in services:
            yield _at((*path, "depends_on", name), f"no service {name!r}{near(name, services)}")
            continue
        condition = (
            depends[name].get("condition") if isinstance(depends, dict) else "service_started"
        )
        if condition not in CONDITIONS:
            yield _at(
                (*path, "depends_on", name, "condition"),
                f"{condition!r}{near(condition, CONDITIONS)}: want one of {listed(CONDITIONS)}",
            )
        elif condition == "service_healthy" and not services[name].get("healthcheck"):
            yield _at((*path, "depends_on", name), f"{name} has no health check to wait for")


def _health(path: Path, service: dict[str, Any]) -> Iterator[Finding]:
    check = service.get("healthcheck") or {}
    for key in check:
        if key not in HEALTH:
            yield _at((*path, "healthcheck", key), f"unknown field{near(key, HEALTH)}")
    if check and not check.get("test"):
        yield _at((*path, "healthcheck", "test"), "is missing")


def _volumes(
    root: File, path: Path, service: dict[str, Any], volumes: dict[str, Any]
) -> Iterator[Finding]:
    for number, volume in enumerate(service.get("volumes") or []):
        source = str(volume).split(":")[0]
        here = (*path, "volumes", number)
        if source.startswith("."):
            file = root / "deploy" / source
            if not file.exists():
                yield _at(here, f"{source}: no such file")
        elif source not in volumes:
            yield _at(here, f"no volume {source!r}{near(source, volumes)} ({listed(volumes)})")


def _ours(
    root: File, path: Path, name: str, service: dict[str, Any], services: dict[str, Any]
) -> Iterator[Finding]:
    env = {k: str(v) for k, v in (service.get("environment") or {}).items()}
    at = (*path, "environment")
    for key in env:
        if key not in KNOWN:
            yield _at((*at, key), f"nobody reads this variable{near(key, KNOWN)}")
    needed = {"KAFKA_BOOTSTRAP", "CLICKHOUSE_DSN"} | (
        {"YUMAI_PORT", "YUMAI_HOST", "YUMAI_WORKER", "YUMAI_WORK_DIR"}
        if name in SERVICES
        else set()
    )
    for key in sorted(
        needed | ({"YUMAI_IDENTITY_DIR"} if name in ("ingest", "gateway") else set())
    ):
        if not env.get(key):
            yield _at((*at, key), "is missing")
    try:
        settings.read({k: v for k, v in env.items() if "$" not in v and not k.startswith("OTEL")})
    except settings.BadSettings as error:
        for line in str(error).splitlines():
            yield _at((*at, line.split("=")[0].split(":")[0]), line)
    yield from _addresses(at, env, services)
    command = service.get("command") or []
    want = (
        ["services.maintenance", "migrate", "--topics", "--wait", "300"]
        if name == "migrate"
        else [f"services.{name}"]
    )
    if command != want:
        yield _at((*path, "command"), f"{command}: want {want}")
    depends = service.get("depends_on") or {}
    before = ("kafka", "clickhouse") if name == "migrate" else ("migrate",)
    for other in before:
        condition = (
            (depends.get(other) or {}).get("condition") if isinstance(depends, dict) else None
        )
        wanted = "service_healthy" if name == "migrate" else "service_completed_successfully"
        if condition != wanted:
            yield _at((*path, "depends_on", other), f"{condition}: want {wanted}")
    if name not in SERVICES:
        return
    port = SERVICES[name]
    if env.get("YUMAI_PORT") not in (None, str(port)):
        yield _at(
            (*at, "YUMAI_PORT"), f"{env['YUMAI_PORT']}: want {port}, where the others look for it"
        )
    test = " ".join(map(str, (service.get("healthcheck") or {}).get("test") or []))
    if f":{port}/health/ready" not in test:
        yield _at((*path, "healthcheck", "test"), f"does not ask :{port}/health/ready")
    for number, published in enumerate(service.get("ports") or []):
        if not str(published).endswith(f":{port}"):
            yield _at((*path, "ports", number), f"{published}: {name} listens on {port}")
    if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
        yield _at((*path, "read_only"), "want true, and cap_drop [ALL]")


def _addresses(at: Path, env: dict[str, str], services: dict[str, Any]) -> Iterator[Finding]:
    ports = {**SERVICES, "kafka": 9092, "clickhouse": 8123, "otel-collector": 4318}
    places = [("KAFKA_BOOTSTRAP", f"//{env.get('KAFKA_BOOTSTRAP', '')}")]
    places += [
        (k, env.get(k, ""))
        for k in ("CLICKHOUSE_DSN", "YUMAI_INGEST_URL", "OTEL_EXPORTER_OTLP_ENDPOINT")
    ]
    places += [
        ("YUMAI_SERVICE_URLS", p.partition("=")[2])
        for p in env.get("YUMAI_SERVICE_URLS", "").split(",")
        if p
    ]
    for key, url in places:
        to = urlsplit(url)
        if not to.hostname:
            continue
        if to.hostname not in services:
            yield _at((*at, key), f"{url}: no service {to.hostname!r}{near(to.hostname, services)}")
        elif to.port != ports.get(to.hostname):
            yield _at((*at, key), f"{url}: {to.hostname} listens on {ports.get(to.hostname)}")


def _beside(root: File) -> Iterator[Finding]:
    """Files that Prometheus, the collector and Grafana are given."""
    ports = {f"{name}:{port}" for name, port in SERVICES.items()}
    name = "deploy/compose/prometheus.yaml"
    seen = set()
    for number, job in enumerate(_read(root, name).get("scrape_configs") or []):
        for at, static in enumerate(job.get("static_configs") or []):
            for n, target in enumerate(static.get("targets") or []):
                seen.add(target)
                if target not in ports:
                    field = ("scrape_configs", number, "static_configs", at, "targets", n)
                    yield Finding(
                        name, dotted(field), f"no service is at {target}{near(target, ports)}"
                    )
    for target in sorted(ports - seen):
        yield Finding(name, "scrape_configs", f"nobody reads {target}{near(target, seen)}")
    name = "deploy/compose/otel-collector.yaml"
    config = _read(root, name)
    for kind, pipeline in ((config.get("service") or {}).get("pipelines") or {}).items():
        for part in ("receivers", "processors", "exporters"):
            for n, used in enumerate(pipeline.get(part) or []):
                known = config.get(part) or {}
                if used not in known:
                    where = ("service", "pipelines", kind, part, n)
                    yield Finding(
                        name, dotted(where), f"{used!r} is not in {part}{near(used, known)}"
                    )
    name = "deploy/compose/grafana/datasources/prometheus.yaml"
    for number, source in enumerate(_read(root, name).get("datasources") or []):
        if source.get("url") != "http://prometheus:9090":
            yield Finding(
                name,
                f"datasources[{number}].url",
                f"{source.get('url')}: want http://prometheus:9090",
            )


def _read(root: File, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((root / name).read_text()) or {}
    return found
