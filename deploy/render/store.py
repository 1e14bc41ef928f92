"""ClickHouse and its Keepers, by Altinity's operator. Which setting protects what: docs/clickhouse.md."""

from __future__ import annotations

from typing import Any

from deploy.render import networks, workloads
from deploy.render.sizes import PRODUCTION, Size
from yumai.store.guarantees import INSERTS

Doc = dict[str, Any]

NAME = "yumai"
RELEASE = "26.8.22.13"
"""The long-term release, to the patch: a tag like 26.8 becomes another program by itself. Compose too."""
SERVER, KEEPER = (
    f"docker.io/clickhouse/clickhouse-{part}:{RELEASE}" for part in ("server", "keeper")
)
TLS = "/etc/clickhouse-server/tls"
MEMORY = "32Gi"
QUERY_BYTES = 16 * 10**9
"""Of the memory, at most, of one query; of one that only reads half of that."""
_UID = 101
_CLUSTER = {"name": NAME}
_EVERYWHERE = "::/0"
"""The network policy says who may come."""


def base() -> list[Doc]:
    return [_keepers(), _installation()]


def patches(size: Size) -> list[Doc]:
    """What another size changes."""
    keepers = [_CLUSTER | {"layout": {"replicasCount": size.keepers}}]
    return [
        _object("ClickHouseKeeperInstallation", {"configuration": {"clusters": keepers}}),
        _object("ClickHouseInstallation", {"configuration": {"clusters": [_nodes(size)]}}),
    ]


def _nodes(size: Size) -> Doc:
    layout = {"shardsCount": size.shards, "replicasCount": size.replicas}
    # Nodes know each other by a secret that the operator makes, not by a user's password.
    return {**_CLUSTER, "secret": {"auto": "true"}, "layout": layout}


def _keepers() -> Doc:
    settings = {
        "logger/level": "information",
        "logger/console": "true",
        "keeper_server/tcp_port": str(networks.KEEPER_PORT),
        "keeper_server/coordination_settings/force_sync": "true",
    }
    container = _container("clickhouse-keeper", KEEPER, {"cpu": "500m", "memory": "1Gi"}, "2Gi")
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": _unprivileged(),
        "topologySpreadConstraints": [_spread(networks.KEEPER)],
        "containers": [container],
    }
    spec = {
        "configuration": {
            "clusters": [_CLUSTER | {"layout": {"replicasCount": PRODUCTION.keepers}}],
            "settings": settings,
        },
        "defaults": {
            "templates": {"podTemplate": "keeper", "dataVolumeClaimTemplate": "data"},
        },
        "templates": {
            "podTemplates": [{"name": "keeper", "spec": pod}],
            "volumeClaimTemplates": [_volume("20Gi")],
        },
    }
    return _object("ClickHouseKeeperInstallation", spec)


def _installation() -> Doc:
    templates = {
        "podTemplate": "clickhouse",
        "dataVolumeClaimTemplate": "data",
        "serviceTemplate": "entrance",
    }
    cluster = _nodes(PRODUCTION) | {"pdbManaged": "yes", "pdbMaxUnavailable": 1}
    keeper = {"host": f"keeper-{NAME}", "port": networks.KEEPER_PORT}
    container = _container("clickhouse", SERVER, {"cpu": "4", "memory": "16Gi"}, MEMORY)
    container["ports"] = [{"name": "prometheus", "containerPort": networks.STORE_METRICS_PORT}]
    container["volumeMounts"] = [{"name": "tls", "mountPath": TLS, "readOnly": True}]
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 120,
        "securityContext": _unprivileged(),
        "topologySpreadConstraints": [_spread(networks.CLICKHOUSE)],
        "containers": [container],
        "volumes": [{"name": "tls", "secret": {"secretName": "clickhouse-tls"}}],
    }
    # The replicas of a shard are never on one node.
    apart = [{"type": "ReplicaAntiAffinity", "topologyKey": "kubernetes.io/hostname"}]
    port = {"name": "https", "port": networks.STORE_PORT}
    service = {
        "name": "entrance",
        "generateName": "clickhouse-{chi}",
        "spec": {"type": "ClusterIP", "ports": [port]},
    }
    spec = {
        "defaults": {"templates": templates},
        "configuration": {
            "zookeeper": {"nodes": [keeper]},
            "clusters": [cluster],
            "users": _users(),
            "profiles": _profiles(),
            "settings": _settings(),
        },
        "templates": {
            "podTemplates": [{"name": "clickhouse", "podDistribution": apart, "spec": pod}],
            "serviceTemplates": [service],
            "volumeClaimTemplates": [_volume("1Ti")],
        },
    }
    return _object("ClickHouseInstallation", spec)


def _users() -> Doc:
    """Who migrates, who writes the books, who only asks."""
    more: dict[str, Doc] = {
        "admin": {"profile": "default", "access_management": "1"},
        "writer": {
            "profile": "default",
            "grants/query": [
                "GRANT SELECT, INSERT, ALTER DELETE, OPTIMIZE ON yumai.*",
                "GRANT SELECT ON system.*",
                "GRANT CLUSTER ON *.*",
            ],
        },
        "reader": {
            "profile": "reading",
            "grants/query": ["GRANT SELECT ON yumai.*", "GRANT SELECT ON system.*"],
        },
    }
    found: Doc = {}
    for user, rights in more.items():
        found[f"{user}/k8s_secret_password"] = f"{workloads.STORE_USERS}/{user}"
        found[f"{user}/networks/ip"] = _EVERYWHERE
        found |= {f"{user}/{name}": value for name, value in rights.items()}
    return found


def _profiles() -> Doc:
    return {
        "default/max_memory_usage": str(QUERY_BYTES),
        # For inserts by hand; our services ask for the same in every session.
        **{f"default/{name}": str(value) for name, value in INSERTS.items()},
        # Settings of a session may be set, nothing may be written.
        "reading/readonly": "2",
        "reading/max_memory_usage": str(QUERY_BYTES // 2),
        "reading/max_execution_time": "60",
    }


def _settings() -> Doc:
    key = "named_collections/backups/"
    backups = {
        f"{key}{name}": {"valueFrom": {"secretKeyRef": {"name": "backup-store", "key": name}}}
        for name in ("url", "access_key_id", "secret_access_key")
    }
    return {
        "https_port": str(networks.STORE_PORT),
        "prometheus/endpoint": "/metrics",
        "prometheus/port": str(networks.STORE_METRICS_PORT),
        "prometheus/metrics": "true",
        "prometheus/asynchronous_metrics": "true",
        "prometheus/events": "false",
        # `DROP` of a full table is refused; to rebuild it from the log takes hours.
        "max_table_size_to_drop": "50000000000",
        "openSSL/server/certificateFile": f"{TLS}/tls.crt",
        "openSSL/server/privateKeyFile": f"{TLS}/tls.key",
        "openSSL/server/verificationMode": "none",
        "openSSL/server/disableProtocols": "sslv2,sslv3,tlsv1,tlsv1_1",
        **backups,
    }


def _container(name: str, image: str, requests: Doc, memory_most: str) -> Doc:
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "name": name,
        "image": image,
        "resources": {"requests": requests, "limits": {"memory": memory_most}},
        "securityContext": context,
    }


def _unprivileged() -> Doc:
    return {
        "runAsNonRoot": True,
        "runAsUser": _UID,
        "runAsGroup": _UID,
        "fsGroup": _UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _spread(peer: networks.Peer) -> Doc:
    return {
        "topologyKey": "topology.kubernetes.io/zone",
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(peer.labels)},
    }


def _volume(size: str) -> Doc:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {"name": "data", "reclaimPolicy": "Retain", "spec": spec}


def _object(kind: str, spec: Doc) -> Doc:
    group = "clickhouse-keeper" if "Keeper" in kind else "clickhouse"
    return {
        "apiVersion": f"{group}.altinity.com/v1",
        "kind": kind,
        "metadata": {"name": NAME},
        "spec": spec,
    }
