"""Compose's programs agree with each other, by what their files say; docker compose itself reads the file where it is there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import yaml

from deploy.check import environment
from deploy.check.findings import Finding, Path, dotted, listed
from deploy.check.tree import Doc, find

FILE = "deploy/compose.yaml"
PROVISIONING = "/etc/grafana/provisioning"
LOOKS = {
    "grafana": (f"{PROVISIONING}/datasources", f"{PROVISIONING}/dashboards", "/var/lib/grafana"),
    "clickhouse": ("/var/lib/clickhouse", "/etc/clickhouse-server/users.d/inserts.yaml"),
    "prometheus": ("/prometheus",),
}
"""Where a program looks for its files and keeps its state."""
STORE_PORT = 8123
"""ClickHouse's own."""
_PATH = re.compile(r"(?:^|=)(/(?:etc|var/lib)/[\w./-]+)$")


def check(root: File, compose: str | None) -> Iterator[Finding]:
    if compose:
        command = [compose, "-f", str(root / FILE), "config", "-q"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            yield Finding(FILE, "(docker compose config)", done.stderr.strip()[-600:])
    try:
        services: Doc = yaml.safe_load((root / FILE).read_text())["services"]
        files = {
            f"./compose/{name.name}": yaml.safe_load(name.read_text())
            for name in (root / "deploy/compose").glob("*.yaml")
        }
        boards = [
            yaml.safe_load(f.read_text()) for f in (root / "deploy/compose").glob("*/*/*.yaml")
        ]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        yield Finding(FILE, "(whole)", " ".join(str(error).split()))
        return
    ports, collector = _ports(services, files), files["./compose/otel-collector.yaml"]
    for path, name in find(collector, ("service", "pipelines", "*", "*", "*")):
        if name not in collector.get(path[-2], ()):
            yield Finding("deploy/compose/otel-collector.yaml", dotted(path), f"no {name!r}")
    for name, service in services.items():
        volumes = [str(v).split(":") for v in service.get("volumes") or []]
        mounts = {at: source for source, at, *_ in volumes}
        given = [files[source] for source in mounts.values() if source in files]
        given += boards if name == "grafana" else []
        problems = [*_mounts(root, name, mounts, service, given), *_running(service, ports)]
        for path, text in problems:
            yield Finding(FILE, dotted(("services", name, *path)), text)


def _ports(services: Doc, files: Doc) -> dict[str, set[int]]:
    """Service -> ports on which it listens, by its own settings."""
    found = {name: {STORE_PORT} if name == "clickhouse" else set() for name in services}
    for name, service in services.items():
        told = service.get("environment") or {}
        heard = f"{told.get('KAFKA_LISTENERS', '')} :{told.get('YUMAI_PORT', '')}"
        found[name] |= {int(port) for port in re.findall(r":(\d+)", heard)}
    receivers = find(files["./compose/otel-collector.yaml"], ("receivers", "**", "endpoint"))
    found["otel-collector"] = {
        int(str(at).rpartition(":")[2]) for _, at in receivers if str(at).startswith("0.0.0.0:")
    }
    return found


def _texts(service: Doc, given: list[Any]) -> Iterator[tuple[Path, str]]:
    """Every word of its own, and of the files that it is given (as of its volumes)."""
    for path, text in find(service, ("**",)):
        if isinstance(text, str) and path[0] not in ("volumes", "tmpfs", "ports"):
            yield path, text
    for doc in given:
        yield from ((("volumes",), text) for _, text in find(doc, ("**",)) if isinstance(text, str))


def _mounts(
    root: File, name: str, mounts: dict[str, str], service: Doc, given: list[Any]
) -> Iterator[tuple[Path, str]]:
    for source in mounts.values():
        if source.startswith(".") and not (root / "deploy" / source).exists():
            yield ("volumes",), f"{source}: no such file"
    used = [
        (path, match[1]) for path, text in _texts(service, given) if (match := _PATH.search(text))
    ]
    for path, wanted in [*used, *((("volumes",), at) for at in LOOKS.get(name, ()))]:
        # A folder of state is mounted whole, so a path may lie below a mount, never above.
        if not any(f"{wanted}/".startswith(f"{at}/") for at in mounts):
            yield path, f"nothing is mounted at {wanted} ({listed(mounts)})"


def _running(service: Doc, ports: dict[str, set[int]]) -> Iterator[tuple[Path, str]]:
    image = str(service.get("image", ""))
    if not re.fullmatch(r"[\w./-]+:v?\d+(\.\d+)+", image):
        yield ("image",), f"{image!r}: want a fixed version"
    for published in service.get("ports") or []:
        if not str(published).startswith("127.0.0.1:"):
            yield ("ports",), f"{published}: want 127.0.0.1, this machine only"
    told = {k: str(v) for k, v in (service.get("environment") or {}).items()}
    for variable, text in environment.problems(told, ports) if "YUMAI_HOST" in told else ():
        yield ("environment", variable), text
