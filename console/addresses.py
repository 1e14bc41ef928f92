"""Where the broker, the store and the doors of a state directory are: as `up` wrote it, else by default."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console import kafka_users
from console.processes import DEFAULT_PORT_BASE, Plan
from console.state import State
from yumai.broker.principals import OPERATOR
from yumai.broker.security import Bootstrap


@dataclass(frozen=True)
class Addresses:
    bootstrap: Bootstrap
    """As the operator's Kafka user, where the broker wants one."""
    broker_health: str
    internal: str | None
    """Where users and ACLs are made; None: this broker has none."""
    dsn: str
    ingest: str
    gateway: str
    up_runs: bool
    identity: Path


def of(directory: Path) -> Addresses:
    state = State(directory)
    up: dict[str, Any] = state.read_up() or {}
    plan = Plan(state, int(up.get("port_base") or DEFAULT_PORT_BASE), bool(up.get("secure")))
    bootstrap = str(up.get("bootstrap") or plan.bootstrap)
    # A scale-down or a crash takes ingest off the list, not off its port.
    listed = [
        p["url"] for p in up.get("processes", []) if p.get("name") == "ingest" and p.get("url")
    ]
    host, _, port = bootstrap.rpartition(":")
    to: Bootstrap = bootstrap
    if plan.secure:
        to = kafka_users.connection(state, bootstrap, OPERATOR)
    return Addresses(
        to,
        plan.broker_health if plan.secure else f"kafka://{bootstrap}",
        plan.internal if plan.secure else None,
        str(up.get("dsn") or plan.dsn),
        str(listed[0]) if listed else f"http://{host}:{int(port) - 1}",
        str(up.get("page") or plan.page).rstrip("/"),
        state.is_up(),
        state.identity,
    )
