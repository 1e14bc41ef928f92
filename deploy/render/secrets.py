"""The contract of secrets: every one that a manifest names, its keys, who brings it, and what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Doc = dict[str, Any]


@dataclass(frozen=True)
class Secret:
    """`by` outside: the vault brings it in production; in a trial `kubectl create secret generic`."""

    name: str
    keys: tuple[str, ...]
    what: str
    by: Literal["outside", "strimzi", "strimzi-user"] = "outside"


ENTRANCE = Secret("entrance-tls", ("tls.crt", "tls.key"), "certificate of the public names")
SECRETS = (
    Secret(
        "clickhouse-users",
        ("admin", "writer", "reader"),
        "passwords of ClickHouse's three users",
    ),
    Secret(
        "clickhouse-tls",
        ("ca.crt", "tls.crt", "tls.key"),
        "certificate of clickhouse-yumai, and the CA that its clients trust",
    ),
    Secret(
        "identity",
        ("signing.key", "keys.json"),
        "what people's tokens are signed with, and the SHA-256 of each platform's key (yumai/access.py)",
    ),
    Secret(
        "subscriptions",
        ("key",),
        "Fernet keys that seal addresses and secrets in subscriptions.v1, the newest first (yumai/sealing.py)",
    ),
    Secret(
        "canary",
        ("key",),
        "the canary's platform key (`yumai keys issue --platform yumai-canary`)",
    ),
    ENTRANCE,
    Secret(
        "backup-store",
        ("url", "access_key_id", "secret_access_key"),
        "the object store that backups go to",
    ),
    Secret(
        "yumai-cluster-ca-cert",
        ("ca.crt", "ca.p12", "ca.password"),
        "the CA of the brokers' certificates",
        "strimzi",
    ),
    Secret(
        "*", ("password", "sasl.jaas.config"), "one for each KafkaUser, of its name", "strimzi-user"
    ),
)
STORE = {"kind": "ClusterSecretStore", "name": "yumai"}
"""The vault that is assumed of the cluster."""


def contract() -> list[Doc]:
    """For people; no manifest."""
    rows = [
        {"name": one.name, "by": one.by, "keys": list(one.keys), "what": one.what}
        for one in SECRETS
    ]
    return [{"secrets": rows}]


def from_the_vault() -> list[Doc]:
    return [_external(one) for one in SECRETS if one.by == "outside"]


def _external(secret: Secret) -> Doc:
    target: Doc = {"name": secret.name}
    if secret is ENTRANCE:
        target["template"] = {"type": "kubernetes.io/tls"}
    data = [
        {"secretKey": key, "remoteRef": {"key": f"yumai/{secret.name}", "property": key}}
        for key in secret.keys
    ]
    spec = {"refreshInterval": "1h", "secretStoreRef": STORE, "target": target, "data": data}
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": secret.name},
        "spec": spec,
    }
