"""ClickHouse's and Keeper's installations: what their schema leaves open, since it takes any key there."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.check.cluster import Cluster, selects
from deploy.check.findings import Finding, Path, listed, near
from deploy.check.tree import Object
from yumai.store.guarantees import INSERTS

TEMPLATES = {
    "podTemplate": "podTemplates",
    "hostTemplate": "hostTemplates",
    "dataVolumeClaimTemplate": "volumeClaimTemplates",
    "logVolumeClaimTemplate": "volumeClaimTemplates",
    "serviceTemplate": "serviceTemplates",
    "clusterServiceTemplate": "serviceTemplates",
    "replicaServiceTemplate": "serviceTemplates",
    "shardServiceTemplate": "serviceTemplates",
}
RELEASE = "26.8.22.13"
"""The long-term release, to the patch: a tag like 26.8 becomes another program by itself. Compose too."""
WANTED = {"production": (2, 2, 3), "trial": (1, 1, 1)}
"""Overlay -> shards, replicas, keepers."""
USER_KEYS = {
    *(
        "k8s_secret_password",
        "password",
        "password_sha256_hex",
        "networks/ip",
        "networks/host_regexp",
    ),
    *("profile", "quota", "access_management", "grants/query", "allow_databases/database"),
}
SERVER_KEYS = {
    *("https_port", "http_port", "tcp_port", "tcp_port_secure", "max_table_size_to_drop"),
    *(
        "max_partition_size_to_drop",
        "max_concurrent_queries",
        "mark_cache_size",
        "default_replica_path",
    ),
    *("default_replica_name", "max_server_memory_usage_to_ram_ratio", "timezone"),
}
SERVER_GROUPS = (
    "openSSL/server/",
    "openSSL/client/",
    "named_collections/",
    "logger/",
    "merge_tree/",
    "backups/",
    "prometheus/",
)
KEEPER_GROUPS = ("keeper_server/", "logger/", "prometheus/", "openSSL/")
OWN_POD = {"ClickHouseInstallation": "ClickHouse", "ClickHouseKeeperInstallation": "Keeper"}
NAMED = {"podTemplates", "hostTemplates", "volumeClaimTemplates", "serviceTemplates"}


def check(cluster: Cluster) -> Iterator[Finding]:
    shards, replicas, keepers = WANTED[cluster.tree.overlay]
    for chk in cluster.tree.of("ClickHouseKeeperInstallation"):
        count = chk.get(("spec", "configuration", "clusters", 0, "layout", "replicasCount"), 1)
        path: Path = ("spec", "configuration", "clusters", 0, "layout", "replicasCount")
        if count % 2 == 0:
            yield chk.finding(path, f"{count} Keepers: want an odd number")
        elif count < keepers:
            yield chk.finding(path, f"{count} Keepers: want {keepers}")
        yield from _common(cluster, chk)
        for key in chk.get(("spec", "configuration", "settings"), {}):
            if not key.startswith(KEEPER_GROUPS):
                yield chk.finding(
                    ("spec", "configuration", "settings", key),
                    f"unknown to this check{near(key, KEEPER_GROUPS)}",
                )
    keeper_hosts = {f"keeper-{name}" for name in cluster.tree.names("ClickHouseKeeperInstallation")}
    for chi in cluster.tree.of("ClickHouseInstallation"):
        layout = chi.get(("spec", "configuration", "clusters", 0, "layout"), {})
        for key, least in (("shardsCount", shards), ("replicasCount", replicas)):
            if layout.get(key, 1) < least:
                yield chi.finding(
                    ("spec", "configuration", "clusters", 0, "layout", key),
                    f"{layout.get(key)}: want {least}",
                )
        for number, node in enumerate(chi.get(("spec", "configuration", "zookeeper", "nodes"), [])):
            path = ("spec", "configuration", "zookeeper", "nodes", number)
            if str(node.get("host")).split(".")[0] not in keeper_hosts:
                yield chi.finding(
                    (*path, "host"),
                    f"{node.get('host')!r} is no Keeper here{near(node.get('host'), keeper_hosts)} ({listed(keeper_hosts)})",
                )
            for keeper in cluster.tree.of("ClickHouseKeeperInstallation"):
                key = ("spec", "configuration", "settings", "keeper_server/tcp_port")
                if str(keeper.get(key, 2181)) != str(node.get("port", 2181)):
                    yield keeper.finding(
                        key, f"{keeper.get(key)}: ClickHouse looks for it on {node.get('port')}"
                    )
            if node.get("port", 2181) != 2181:
                yield chi.finding((*path, "port"), f"{node['port']}: Keeper listens on 2181")
        if not chi.get(("spec", "configuration", "zookeeper", "nodes"), []):
            yield chi.finding(
                ("spec", "configuration", "zookeeper", "nodes"),
                "is missing: replicas need a Keeper",
            )
        yield from _common(cluster, chi)
        yield from _users(chi)
        yield from _inserts(chi)
        yield from _settings(chi)
        yield from _service(chi)


def _common(cluster: Cluster, obj: Object) -> Iterator[Finding]:
    templates = obj.get(("spec", "templates"), {})
    names = {group: {t.get("name") for t in templates.get(group) or []} for group in NAMED}
    used: set[tuple[str, str]] = set()
    for key, name in obj.get(("spec", "defaults", "templates"), {}).items():
        group = TEMPLATES.get(key)
        if group and name not in names[group]:
            yield obj.finding(
                ("spec", "defaults", "templates", key),
                f"{name!r} is not in {group}{near(name, names[group])} ({listed(names[group])})",
            )
        elif group:
            used.add((group, name))
    for group, known in names.items():
        for name in known:
            if (group, name) not in used:
                number = [t.get("name") for t in templates[group]].index(name)
                yield obj.finding(
                    ("spec", "templates", group, number, "name"),
                    f"{name!r}: nothing uses this template",
                )
    for number, template in enumerate(templates.get("podTemplates") or []):
        path: Path = ("spec", "templates", "podTemplates", number, "spec")
        spec = template.get("spec") or {}
        context = spec.get("securityContext") or {}
        if context.get("runAsNonRoot") is not True:
            yield obj.finding(
                (*path, "securityContext", "runAsNonRoot"), "want true (Pod Security restricted)"
            )
        if (context.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
            yield obj.finding(
                (*path, "securityContext", "seccompProfile", "type"),
                "want RuntimeDefault (Pod Security restricted)",
            )
        own_labels = next(
            (p.labels for p in cluster.peers if p.name == OWN_POD[obj.kind] and not p.namespace), {}
        )
        for at, spread in enumerate(spec.get("topologySpreadConstraints") or []):
            if not selects(spread.get("labelSelector"), own_labels):
                yield obj.finding(
                    (*path, "topologySpreadConstraints", at, "labelSelector"),
                    "selects nothing: not the pods that it stands in",
                )
        volumes = {v.get("name") for v in spec.get("volumes") or []} | names["volumeClaimTemplates"]
        for at, container in enumerate(spec.get("containers") or []):
            own = container.get("securityContext") or {}
            here = (*path, "containers", at)
            if own.get("allowPrivilegeEscalation") is not False:
                yield obj.finding(
                    (*here, "securityContext", "allowPrivilegeEscalation"),
                    "want false (Pod Security restricted)",
                )
            if (own.get("capabilities") or {}).get("drop") != ["ALL"]:
                yield obj.finding(
                    (*here, "securityContext", "capabilities", "drop"),
                    "want [ALL] (Pod Security restricted)",
                )
            if str(container.get("image")).rpartition(":")[2] != RELEASE:
                yield obj.finding(
                    (*here, "image"), f"{container.get('image')!r}: want the release {RELEASE}"
                )
            for mount_number, mount in enumerate(container.get("volumeMounts") or []):
                if mount.get("name") not in volumes:
                    yield obj.finding(
                        (*here, "volumeMounts", mount_number, "name"),
                        f"{mount.get('name')!r} is no volume of this pod{near(mount.get('name'), volumes)} ({listed(volumes)})",
                    )


def _users(chi: Object) -> Iterator[Finding]:
    users = chi.get(("spec", "configuration", "users"), {})
    profiles = {key.split("/")[0] for key in chi.get(("spec", "configuration", "profiles"), {})} | {
        "default"
    }
    names = {key.split("/")[0] for key in users}
    for name in sorted({"admin", "writer", "reader"} - names):
        yield chi.finding(
            ("spec", "configuration", "users"), f"no user {name!r}{near(name, names)}"
        )
    for key, value in users.items():
        name, _, what = key.partition("/")
        path: Path = ("spec", "configuration", "users", key)
        if what not in USER_KEYS:
            yield chi.finding(path, f"{what!r} is no setting of a user{near(what, USER_KEYS)}")
        elif what.startswith("password"):
            yield chi.finding(path, "a secret stands in the manifest: want k8s_secret_password")
        elif what == "profile" and value not in profiles:
            yield chi.finding(
                path, f"{value!r} is no profile{near(value, profiles)} ({listed(profiles)})"
            )
        elif what == "access_management" and name != "admin" and str(value) != "0":
            yield chi.finding(path, f"too wide: {name} need not manage rights")
        elif what == "grants/query":
            for number, grant in enumerate(value if isinstance(value, list) else [value]):
                wide = (
                    ("ALL", "CREATE", "DROP", "ALTER TABLE")
                    if name == "writer"
                    else ("ALL", "INSERT", "ALTER", "CREATE", "DROP")
                )
                for word in wide:
                    if f" {word} " in f"{grant},".replace(",", " "):
                        yield chi.finding((*path, number), f"too wide: {name} need not {word}")
    for name in sorted(names):
        if f"{name}/k8s_secret_password" not in users:
            yield chi.finding(
                ("spec", "configuration", "users", f"{name}/k8s_secret_password"), "is missing"
            )
        if name != "admin" and f"{name}/grants/query" not in users:
            yield chi.finding(
                ("spec", "configuration", "users", f"{name}/grants/query"),
                "too wide: without grants a user may do everything",
            )
    if users.get("reader/profile") != "reading" or str(
        chi.get(("spec", "configuration", "profiles", "reading/readonly"))
    ) not in ("1", "2"):
        yield chi.finding(
            ("spec", "configuration", "profiles", "reading/readonly"),
            "want 2, and reader/profile reading: who only asks may not write",
        )


def _inserts(chi: Object) -> Iterator[Finding]:
    """An insert by hand is as one of ours."""
    profiles = chi.get(("spec", "configuration", "profiles"), {})
    for name, want in INSERTS.items():
        key = f"default/{name}"
        if str(profiles.get(key)) != str(want):
            yield chi.finding(
                ("spec", "configuration", "profiles", key),
                f"{profiles.get(key)!r}: want {str(want)!r}{near(key, profiles)}",
            )


def _settings(chi: Object) -> Iterator[Finding]:
    settings = chi.get(("spec", "configuration", "settings"), {})
    pod = chi.get(("spec", "templates", "podTemplates", 0, "spec"), {})
    mounts = {
        m.get("mountPath") for c in pod.get("containers") or [] for m in c.get("volumeMounts") or []
    }
    for key, value in settings.items():
        path: Path = ("spec", "configuration", "settings", key)
        if key not in SERVER_KEYS and not key.startswith(SERVER_GROUPS):
            yield chi.finding(path, f"unknown to this check{near(key, SERVER_KEYS)}")
        if key.endswith("File") and str(value).rpartition("/")[0] not in mounts:
            yield chi.finding(
                path,
                f"{value}: nothing is mounted at {str(value).rpartition('/')[0]} ({listed(mounts)})",
            )
    for key in ("https_port", "openSSL/server/certificateFile", "openSSL/server/privateKeyFile"):
        if key not in settings:
            yield chi.finding(
                ("spec", "configuration", "settings", key), f"is missing{near(key, settings)}"
            )


def _service(chi: Object) -> Iterator[Finding]:
    port = str(chi.get(("spec", "configuration", "settings", "https_port"), ""))
    for number, template in enumerate(chi.get(("spec", "templates", "serviceTemplates"), [])):
        path: Path = ("spec", "templates", "serviceTemplates", number)
        if template.get("generateName") != "clickhouse-{chi}":
            yield chi.finding(
                (*path, "generateName"),
                f"{template.get('generateName')!r}: want 'clickhouse-{{chi}}', where CLICKHOUSE_DSN leads",
            )
        ports = {str(p.get("port")) for p in (template.get("spec") or {}).get("ports") or []}
        if port not in ports:
            yield chi.finding((*path, "spec", "ports"), f"{listed(ports)}: want https_port, {port}")
