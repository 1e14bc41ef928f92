"""Where the broker, the store and the doors of a state directory are: as `up` wrote it, else by default."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.processes import DEFAULT_PORT_BASE, Plan
from console.state import State


@dataclass(frozen=True)
class Addresses:
    bootstrap: str
    dsn: str
    ingest: str
    gateway: str
    up_runs: bool
    identity: Path


def of(directory: Path) -> Addresses:
    state = State(directory)
    plan = Plan(state, DEFAULT_PORT_BASE)
    up: dict[str, Any] = state.read_up() or {}
    bootstrap = str(up.get("bootstrap") or plan.bootstrap)
    # A scale-down or a crash takes ingest off the list, not off its port.
    listed = [
        p["url"] for p in up.get("processes", []) if p.get("name") == "ingest" and p.get("url")
    ]
    host, _, port = bootstrap.rpartition(":")
    return Addresses(
        bootstrap,
        str(up.get("dsn") or plan.dsn),
        str(listed[0]) if listed else f"http://{host}:{int(port) - 1}",
        str(up.get("page") or plan.page).rstrip("/"),
        state.is_up(),
        state.identity,
    )
