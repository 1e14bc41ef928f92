"""Who talks to whom, and NetworkPolicies that open just that, at both ends.

`talks` is the list: nothing may talk unless it stands there. Whether a process asks the store, is routed to or scraped
follows from deploy/render/workloads.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deploy.render import brokers, settings, workloads

Doc = dict[str, Any]
Port = int | str
"""A number, or the name of a port of the pods that take the connection."""

STORE_PORT, STORE_METRICS_PORT, KEEPER_PORT = 8443, 9363, 2181
BROKER_METRICS_PORT = 9404
"""Strimzi's own choice."""
_SPACE = "kubernetes.io/metadata.name"
_PRIVATE = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]


@dataclass(frozen=True)
class Peer:
    """Pods by their labels; `space` labels of another namespace ({}: any), None: ours."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()
    space: tuple[tuple[str, str], ...] | None = None

    def selector(self) -> Doc:
        found: Doc = {}
        if self.space is not None:
            found["namespaceSelector"] = _labelled(self.space)
        if self.labels or self.space is None:
            found["podSelector"] = _labelled(self.labels)
        return found


def _labelled(labels: tuple[tuple[str, str], ...]) -> Doc:
    return {"matchLabels": dict(labels)} if labels else {}


def _process(name: str) -> Peer:
    return Peer(name, (("app.kubernetes.io/name", name),))


def _observing(name: str) -> Peer:
    return Peer(name, (("app.kubernetes.io/name", name),), ((_SPACE, "observability"),))


KAFKA = Peer("kafka", (("strimzi.io/cluster", "yumai"),))
"""Brokers, controllers and the operators beside them. Strimzi writes policies of its own too; policies add up."""
BROKERS = Peer("kafka", (*KAFKA.labels, ("strimzi.io/broker-role", "true")))
CLICKHOUSE = Peer("clickhouse", (("clickhouse.altinity.com/chi", "yumai"),))
KEEPER = Peer("keeper", (("clickhouse-keeper.altinity.com/chk", "yumai"),))
PROMETHEUS = _observing("prometheus")
COLLECTOR = _observing("opentelemetry-collector")
ENTRANCE = Peer("entrance", space=(("yumai/entrance", "true"),))
STRIMZI = Peer("strimzi", (("strimzi.io/kind", "cluster-operator"),), ())
ALTINITY = Peer("altinity", (("app", "clickhouse-operator"),), ())
WORLD = Peer("world")
"""Every address that is in no private network."""
ANYWHERE = Peer("anywhere")
"""The API server and the object store have no fixed address."""

OURS = (
    *(_process(one.name) for one in (*workloads.SERVICES, *workloads.JOBS)),
    KAFKA,
    CLICKHOUSE,
    KEEPER,
)


@dataclass(frozen=True)
class Talk:
    """No `ports`: on every one."""

    source: Peer
    target: Peer
    ports: tuple[Port, ...] = ()


def talks() -> Iterator[Talk]:
    for one in (*workloads.SERVICES, *workloads.JOBS):
        own = _process(one.name)
        yield Talk(own, BROKERS, (settings.KAFKA_PORT,))
        if one.process.store:
            yield Talk(own, CLICKHOUSE, (STORE_PORT,))
        yield Talk(own, COLLECTOR, (4318,))
    for service in workloads.SERVICES:
        own = _process(service.name)
        yield Talk(PROMETHEUS, own, ("http",))
        if service.routed:
            yield Talk(ENTRANCE, own, ("http",))
            # It goes through the doors and looks in the API.
            yield Talk(_process("canary"), own, (service.port,))
    # Webhooks, chat, e-mail; addresses in private networks stand in WEBHOOK_ALLOW_NETWORKS, and belong here then.
    yield Talk(_process("alerts"), WORLD, (443, 465, 587))

    yield Talk(KAFKA, KAFKA)
    yield Talk(STRIMZI, KAFKA)
    yield Talk(PROMETHEUS, KAFKA, (BROKER_METRICS_PORT,))
    yield Talk(KAFKA, ANYWHERE, (443, 6443))
    yield Talk(CLICKHOUSE, CLICKHOUSE)
    yield Talk(ALTINITY, CLICKHOUSE)
    yield Talk(PROMETHEUS, CLICKHOUSE, (STORE_METRICS_PORT,))
    yield Talk(CLICKHOUSE, KEEPER, (KEEPER_PORT,))
    yield Talk(CLICKHOUSE, ANYWHERE, (443,))
    yield Talk(KEEPER, KEEPER)
    yield Talk(ALTINITY, KEEPER)


def policies() -> list[Doc]:
    """Everything refused, names for everybody, and one policy a peer."""
    dns = {"podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    dns = {"namespaceSelector": {"matchLabels": {_SPACE: "kube-system"}}, **dns}
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    every = list(talks())
    return [
        _policy("default-deny", {}, None, None),
        _policy("names", {}, None, [{"to": [dns], "ports": ports}]),
        *(_of(own, every) for own in OURS),
    ]


def of_platforms() -> list[Doc]:
    """From where platforms reach the brokers: the listener's own peers, since policies add up."""
    blocks = [{"ipBlock": {"cidr": cidr}} for cidr in brokers.PLATFORM_NETWORKS]
    ports = [{"port": brokers.PLATFORMS_PORT, "protocol": "TCP"}]
    return [
        _policy("platforms-to-kafka", _labelled(BROKERS.labels), [{"from": blocks, "ports": ports}])
    ]


def _of(own: Peer, every: list[Talk]) -> Doc:
    into = [_rule("from", t.source, t.ports) for t in every if t.target.name == own.name]
    out = [_rule("to", t.target, t.ports) for t in every if t.source.name == own.name]
    return _policy(own.name, _labelled(own.labels), into, out)


def _rule(way: str, other: Peer, ports: tuple[Port, ...]) -> Doc:
    found: Doc = {}
    if other is WORLD:
        found[way] = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": _PRIVATE}}]
    elif other is not ANYWHERE:
        found[way] = [other.selector()]
    if ports:
        found["ports"] = [{"port": port, "protocol": "TCP"} for port in ports]
    return found


def _policy(
    name: str, pods: Doc, ingress: list[Doc] | None, egress: list[Doc] | None = None
) -> Doc:
    """None for both: refuses everything. None for one: says nothing of that way."""
    types = ["Ingress", "Egress"] if ingress is None and egress is None else []
    spec: Doc = {"podSelector": pods, "policyTypes": types}
    for way, rules in (("Ingress", ingress), ("Egress", egress)):
        if rules is not None:
            types.append(way)
            if rules:
                spec[way.lower()] = rules
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }
