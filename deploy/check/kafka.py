"""Topics as in yumai/broker/topics.py, users and rights as in yumai/broker/principals.py: neither fewer nor more."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.check.cluster import Cluster
from deploy.check.findings import Finding, listed, near
from deploy.check.tree import Object
from embedded import kafka_jars
from yumai import telemetry
from yumai.broker import principals, server, topics

MORE_PARTITIONS = {topics.ENTRIES.name}
"""Topics whose partitions an installation chooses; the others' order depends on there being one, or is fixed."""
PROMETHEUS = "http://prometheus-operated.observability:9090"
"""The Service that the Prometheus operator makes."""
TRIGGERS = {
    "prometheus": {
        "serverAddress",
        "query",
        "threshold",
        "activationThreshold",
        "namespace",
        "customHeaders",
        "ignoreNullValues",
        "queryParameters",
        "unsafeSsl",
        "timeout",
        "authModes",
    },
}
REQUIRED = {"prometheus": ("serverAddress", "query", "threshold")}


def check(cluster: Cluster) -> Iterator[Finding]:
    yield from _topics(cluster)
    yield from _users(cluster)
    yield from _brokers(cluster)
    yield from _triggers(cluster)


def _topics(cluster: Cluster) -> Iterator[Finding]:
    kafkas, wanted = cluster.tree.names("Kafka"), {t.name: t for t in topics.TOPICS}
    found = {str(o.spec.get("topicName", o.name)): o for o in cluster.tree.of("KafkaTopic")}
    users = cluster.tree.names("KafkaUser")
    for name in sorted(set(wanted) - set(found)):
        others = [n for n in found if n not in wanted]
        yield Finding(
            "deploy/k8s/base/topics.yaml", f"KafkaTopic {name}", f"is missing{near(name, others)}"
        )
    brokers = _broker_count(cluster)
    shards = max(
        (
            o.get(("spec", "configuration", "clusters", 0, "layout", "shardsCount"), 1)
            for o in cluster.tree.of("ClickHouseInstallation")
        ),
        default=1,
    )
    for name, obj in found.items():
        platform = topics.feed_platform(name)
        topic = wanted.get(name) or (topics.feed(platform) if platform else None)
        if topic is None:
            yield obj.finding(
                ("metadata", "name"),
                f"{name!r} is not in yumai/broker/topics.py{near(name, wanted)}",
            )
            continue
        if platform and f"{principals.PLATFORM_PREFIX}{platform}" not in users:
            yield obj.finding(
                ("metadata", "name"),
                f"a topic without its user: no KafkaUser {principals.PLATFORM_PREFIX}{platform}",
            )
        yield from _of_no_kafka(obj, kafkas)
        have = {k: _text(v) for k, v in (obj.spec.get("config") or {}).items()}
        for key in sorted(set(topic.settings) | set(have)):
            want = topic.settings.get(key)
            if have.get(key) != want:
                known = (
                    f"{have.get(key)!r}: want {want!r}"
                    if want is not None
                    else "is not in yumai/broker/topics.py"
                )
                if key not in have:
                    known = f"is missing: want {want!r}"
                yield obj.finding(("spec", "config", key), known)
        partitions, copies = obj.spec.get("partitions"), obj.spec.get("replicas")
        if name in MORE_PARTITIONS:
            if not isinstance(partitions, int) or partitions < 1:
                yield obj.finding(("spec", "partitions"), f"{partitions!r}: want a number")
            elif name == topics.ENTRIES.name and partitions % shards:
                yield obj.finding(
                    ("spec", "partitions"),
                    f"{partitions}: want a multiple of the {shards} shards of ClickHouse",
                )
        elif partitions != topic.partitions:
            yield obj.finding(("spec", "partitions"), f"{partitions}: want {topic.partitions}")
        if copies != min(3, brokers):
            yield obj.finding(
                ("spec", "replicas"), f"{copies}: want {min(3, brokers)} of {brokers} brokers"
            )


def _of_no_kafka(obj: Object, kafkas: set[str]) -> Iterator[Finding]:
    label = obj.labels.get("strimzi.io/cluster")
    if label not in kafkas:
        yield obj.finding(
            ("metadata", "labels", "strimzi.io/cluster"),
            f"{label!r} is no Kafka here{near(label, kafkas)} ({listed(kafkas)})",
        )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _users(cluster: Cluster) -> Iterator[Finding]:
    kafkas = cluster.tree.names("Kafka")
    wanted = {u.name: u for u in principals.KAFKA_USERS.values()}
    found = {o.name: o for o in cluster.tree.of("KafkaUser")}
    for name in sorted(set(wanted) - set(found)):
        yield Finding(
            "deploy/k8s/base/users.yaml",
            f"KafkaUser {name}",
            f"is missing{near(name, set(found) - set(wanted))}",
        )
    feeds = {topics.feed_platform(n) for n in cluster.tree.names("KafkaTopic")} - {None}
    for name, obj in found.items():
        platform = (
            name.removeprefix(principals.PLATFORM_PREFIX)
            if name.startswith(principals.PLATFORM_PREFIX)
            else None
        )
        user = wanted.get(name) or (principals.platform(platform) if platform else None)
        if user is None:
            yield obj.finding(
                ("metadata", "name"),
                f"{name!r} is not in yumai/broker/principals.py{near(name, wanted)}",
            )
            continue
        if platform and platform not in feeds:
            yield obj.finding(
                ("metadata", "name"),
                f"a user without its topic: no KafkaTopic {topics.feed(platform).name}",
            )
        yield from _of_no_kafka(obj, kafkas)
        if (obj.spec.get("authentication") or {}).get("type") != "scram-sha-512":
            yield obj.finding(("spec", "authentication", "type"), "want scram-sha-512")
        yield from _quotas(obj, user)
        if (obj.spec.get("authorization") or {}).get("type") != "simple":
            yield obj.finding(("spec", "authorization", "type"), "want simple")
            continue
        yield from _rights(obj, user)


def _quotas(obj: Object, user: principals.KafkaUser) -> Iterator[Finding]:
    have = obj.spec.get("quotas") or {}
    want = {}
    if user.quota is not None:
        want = {
            "producerByteRate": user.quota.producer_byte_rate,
            "requestPercentage": user.quota.request_percentage,
        }
    for key in sorted(set(want) | set(have)):
        if have.get(key) != want.get(key):
            yield obj.finding(
                ("spec", "quotas", key),
                f"{have.get(key)!r}: want {want.get(key)!r}; yumai/broker/principals.py",
            )


Right = tuple[str, str, str, str]


def _rights(obj: Object, user: principals.KafkaUser) -> Iterator[Finding]:
    wanted: set[Right] = {
        (g.resource, g.name, g.pattern, operation)
        for g in user.grants
        for operation in g.operations
    }
    have: set[Right] = set()
    for number, acl in enumerate(obj.get(("spec", "authorization", "acls"), [])):
        path = ("spec", "authorization", "acls", number)
        resource = acl.get("resource") or {}
        place = (
            str(resource.get("type")),
            str(resource.get("name", principals.CLUSTER_NAME)),
            str(resource.get("patternType", "literal")),
        )
        if acl.get("type", "allow") != "allow":
            yield obj.finding((*path, "type"), "want allow: what is not listed is refused anyway")
            continue
        if acl.get("host", "*") != "*":
            yield obj.finding((*path, "host"), f"{acl['host']!r}: pods have no fixed address")
        for at, operation in enumerate(acl.get("operations") or []):
            right = (*place, str(operation).lower())
            if right not in wanted:
                yield obj.finding(
                    (*path, "operations", at)
                    if any(w[:3] == place for w in wanted)
                    else (*path, "resource"),
                    f"too wide: {user.name} may not {operation} {place[0]} {place[1]!r} ({place[2]}); yumai/broker/principals.py",
                )
            have.add(right)
    for resource_type, name, pattern, operation in sorted(wanted - have):
        yield obj.finding(
            ("spec", "authorization", "acls"),
            f"is missing: {operation} on {resource_type} {name!r} ({pattern})",
        )


def _broker_count(cluster: Cluster) -> int:
    return sum(
        int(o.spec.get("replicas", 0))
        for o in cluster.tree.of("KafkaNodePool")
        if "broker" in (o.spec.get("roles") or [])
    )


def _brokers(cluster: Cluster) -> Iterator[Finding]:
    brokers, kafkas = _broker_count(cluster), cluster.tree.names("Kafka")
    controllers = 0
    for pool in cluster.tree.of("KafkaNodePool"):
        yield from _of_no_kafka(pool, kafkas)
        if "controller" in (pool.spec.get("roles") or []):
            controllers += int(pool.spec.get("replicas", 0))
            if int(pool.spec.get("replicas", 0)) % 2 == 0:
                yield pool.finding(
                    ("spec", "replicas"),
                    f"{pool.spec.get('replicas')} controllers: want an odd number",
                )
        for number, volume in enumerate(
            (pool.spec.get("storage") or {}).get("volumes") or [pool.spec.get("storage") or {}]
        ):
            if volume.get("type") == "ephemeral":
                yield pool.finding(
                    ("spec", "storage", "volumes", number, "type"),
                    "ephemeral: the log would go with the pod",
                )
            if volume.get("deleteClaim"):
                yield pool.finding(
                    ("spec", "storage", "volumes", number, "deleteClaim"),
                    "want false: the log would go with the pool",
                )
    if not brokers or not controllers:
        yield Finding(
            "deploy/k8s/base/kafka.yaml",
            "KafkaNodePool spec.roles",
            f"{brokers} brokers, {controllers} controllers",
        )
    if cluster.tree.overlay == "production" and brokers < 3:
        for pool in cluster.tree.of("KafkaNodePool"):
            if "broker" in (pool.spec.get("roles") or []):
                yield pool.finding(("spec", "replicas"), f"{brokers} brokers: want 3")
    for kafka in cluster.tree.of("Kafka"):
        for number, listener in enumerate(kafka.get(("spec", "kafka", "listeners"), [])):
            path = ("spec", "kafka", "listeners", number)
            if listener.get("tls") is not True:
                yield kafka.finding((*path, "tls"), "want true")
            if (listener.get("authentication") or {}).get("type") != "scram-sha-512":
                yield kafka.finding((*path, "authentication"), "want type scram-sha-512")
        if kafka.get(("spec", "kafka", "authorization", "type")) != "simple":
            yield kafka.finding(
                ("spec", "kafka", "authorization", "type"), "want simple: else ACLs mean nothing"
            )
        supers = kafka.get(("spec", "kafka", "authorization", "superUsers"))
        if supers:
            yield kafka.finding(
                ("spec", "kafka", "authorization", "superUsers"),
                f"{supers}: nobody needs to be one",
            )
        versions = {"version": kafka_jars.VERSION, "metadataVersion": server.METADATA_VERSION}
        for field, version in versions.items():
            have = kafka.get(("spec", "kafka", field))
            if have != version:
                yield kafka.finding(
                    ("spec", "kafka", field),
                    f"{have!r}: want {version!r}, which we run on; else the operator chooses",
                )
        config = kafka.get(("spec", "kafka", "config"), {})
        copies, least = min(3, brokers), max(1, min(2, brokers - 1))
        fixed = {
            "default.replication.factor": copies,
            "min.insync.replicas": least,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": least,
            **server.SETTINGS,
        }
        for key, want in fixed.items():
            if _text(config.get(key)) != _text(want):
                other = [k for k in config if k not in fixed]
                yield kafka.finding(
                    ("spec", "kafka", "config", key),
                    f"{config.get(key)!r}: want {_text(want)}{near(key, other) if key not in config else ''}",
                )
        for key in sorted(set(config) - set(fixed)):
            yield kafka.finding(
                ("spec", "kafka", "config", key), f"unknown to this check{near(key, fixed)}"
            )


def _triggers(cluster: Cluster) -> Iterator[Finding]:
    entries = cluster.tree.find("KafkaTopic", topics.ENTRIES.name)
    partitions = entries.spec.get("partitions", 0) if entries else 0
    gauge = telemetry.METRICS_LAG_RECORDS.name
    for scaled in cluster.tree.of("ScaledObject"):
        most = scaled.spec.get("maxReplicaCount", 100)
        if most > partitions:
            yield scaled.finding(
                ("spec", "maxReplicaCount"),
                f"{most}: more workers than the {partitions} partitions of {topics.ENTRIES.name}",
            )
        spare = (scaled.spec.get("fallback") or {}).get("replicas", 0)
        if spare > most:
            yield scaled.finding(
                ("spec", "fallback", "replicas"), f"{spare}: more than maxReplicaCount, {most}"
            )
        for number, trigger in enumerate(scaled.spec.get("triggers") or []):
            path = ("spec", "triggers", number)
            kind, metadata = str(trigger.get("type")), trigger.get("metadata") or {}
            known = TRIGGERS.get(kind)
            if known is None:
                yield scaled.finding(
                    (*path, "type"), f"{kind!r}: want prometheus, on {gauge}{near(kind, TRIGGERS)}"
                )
                continue
            for key in metadata:
                if key not in known:
                    yield scaled.finding(
                        (*path, "metadata", key),
                        f"no key of the trigger {kind}{near(key, known)} ({listed(known)})",
                    )
            for key in REQUIRED[kind]:
                if not metadata.get(key):
                    yield scaled.finding((*path, "metadata", key), "is missing")
            for key in ("threshold", "activationThreshold"):
                try:
                    float(metadata.get(key, 0))
                except ValueError:
                    yield scaled.finding(
                        (*path, "metadata", key), f"{metadata[key]!r}: want a number"
                    )
            address = metadata.get("serverAddress")
            if address and address != PROMETHEUS:
                yield scaled.finding(
                    (*path, "metadata", "serverAddress"), f"{address!r}: want {PROMETHEUS!r}"
                )
            if gauge not in str(metadata.get("query", "")):
                yield scaled.finding(
                    (*path, "metadata", "query"),
                    f"{metadata.get('query')!r}: want {gauge}, what is announced against the topic's end",
                )
