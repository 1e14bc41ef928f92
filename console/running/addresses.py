"""Where the broker, the store and the doors of a state directory are: as `up` wrote it, else by default."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.running import kafka_users
from console.running.processes import DEFAULT_PORT_BASE, Plan
from console.running.state import State
from embedded import secret_files
from yumai.broker.principals import OPERATOR
from yumai.broker.security import Bootstrap
from yumai.store.address import with_secrets


@dataclass(frozen=True)
class Addresses:
    bootstrap: Bootstrap
    """As the operator's Kafka user."""
    broker_health: str
    internal: str
    """Where users and ACLs are made."""
    dsn: str
    """With the store's password in it."""
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
    broker_health = f"kafka://{bootstrap}"
    # `up` made it, unless it never ran here.
    if kafka_users.password_file(state, OPERATOR).exists():
        to = kafka_users.connection(state, bootstrap, OPERATOR, tls=plan.tls)
        broker_health = plan.broker_health
    dsn = str(up.get("dsn") or plan.dsn)
    if state.store_password.exists():
        dsn = with_secrets(dsn, secret_files.read(state.store_password), None)
    return Addresses(
        to,
        broker_health,
        plan.internal,
        dsn,
        str(listed[0]) if listed else f"http://{host}:{int(port) - 1}",
        str(up.get("page") or plan.page).rstrip("/"),
        state.is_up(),
        state.identity,
    )
