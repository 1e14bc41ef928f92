"""NetworkPolicies: every edge that is needed is open, at both ends, and no other."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deploy.check import exporters
from deploy.check.cluster import SERVICES, Cluster, Peer, selects
from deploy.check.findings import Finding, Path
from deploy.check.tree import Doc, Object

FILE = "deploy/k8s/base/network.yaml"
WORLD = {"alerts": (443, 465, 587)}
"""Who may talk to the Internet, on which ports: webhooks, chat, e-mail."""
WORLD_BY_OPERATORS = {
    "Kafka": (443, 6443),
    "Kafka's controllers": (443, 6443),
    "Kafka's operators": (443, 6443),
    "ClickHouse": (443,),
}


@dataclass(frozen=True)
class Edge:
    source: str
    target: str
    port: int


def needed(cluster: Cluster) -> set[Edge]:
    """What must be able to talk, by what the processes do."""
    edges: set[Edge] = set()
    listener: Doc = next(
        (x for k in cluster.tree.of("Kafka") for x in k.get(("spec", "kafka", "listeners"), [])), {}
    )
    store = next((p.ports[0] for p in cluster.peers if p.name == "ClickHouse"), 0)
    for pod in cluster.pods:
        edges |= {Edge(pod.name, "DNS", 53), Edge(pod.name, "Kafka", int(listener.get("port", 0)))}
        edges.add(Edge(pod.name, "the OpenTelemetry collector", 4318))
        if pod.name != "canary":
            edges.add(Edge(pod.name, "ClickHouse", store))
    for name, port in SERVICES.items():
        edges.add(Edge("Prometheus", name, port))
    edges |= {
        Edge(source, name, SERVICES[name])
        for name in ("ingest", "gateway")
        for source in ("the entrance", "canary")
    }
    for own in ("Kafka", "Kafka's controllers", "Kafka's operators"):
        edges |= {Edge(own, "Kafka", 9091), Edge(own, "DNS", 53)}
    edges |= {Edge("Prometheus", name, port) for name, port in exporters.ports(cluster).items()}
    edges |= {
        Edge("ClickHouse", "ClickHouse", 9000),
        Edge("ClickHouse", "Keeper", 2181),
        Edge("Keeper", "Keeper", 9444),
    }
    return edges | {Edge("ClickHouse", "DNS", 53), Edge("Keeper", "DNS", 53)}


def check(cluster: Cluster) -> Iterator[Finding]:
    policies = list(cluster.tree.of("NetworkPolicy"))
    deny = [
        p
        for p in policies
        if p.spec.get("podSelector") == {}
        and set(p.spec.get("policyTypes") or []) == {"Ingress", "Egress"}
        and not p.spec.get("ingress")
        and not p.spec.get("egress")
    ]
    if not deny:
        yield Finding(
            FILE,
            "NetworkPolicy default-deny: spec",
            "no policy refuses everything, both ways, for every pod",
        )
    for policy in policies:
        yield from _policy(cluster, policy)
    yield from _edges(cluster, policies)
    yield from _platforms(cluster, policies)


def _platforms(cluster: Cluster, policies: list[Object]) -> Iterator[Finding]:
    """A listener for outside names its addresses, as one policy does: Strimzi makes another from the listener, and they add up."""
    for kafka in cluster.tree.of("Kafka"):
        broker = next(p for p in cluster.peers if p.name == "Kafka")
        for number, listener in enumerate(kafka.get(("spec", "kafka", "listeners"), [])):
            peers, port = listener.get("networkPolicyPeers") or [], listener.get("port")
            path: Path = ("spec", "kafka", "listeners", number, "networkPolicyPeers")
            if not peers:
                yield kafka.finding(path, f"nobody is named: everybody reaches {port}")
            if listener.get("type") == "internal":
                continue
            blocks = {str(p.get("ipBlock", {}).get("cidr")) for p in peers}
            for block in blocks & {"0.0.0.0/0", "::/0"}:
                yield kafka.finding(path, f"too wide: {block} is everybody")
            open_to = {
                str(p["ipBlock"].get("cidr")): (policy, at)
                for policy in policies
                if selects(policy.spec.get("podSelector"), broker.labels)
                for at, rule in enumerate(policy.spec.get("ingress") or [])
                if port in {p.get("port") for p in rule.get("ports") or []}
                for p in rule.get("from") or []
                if "ipBlock" in p
            }
            for block in sorted(blocks - set(open_to)):
                yield kafka.finding(path, f"{block}: no NetworkPolicy lets it reach {port}")
            for block in sorted(set(open_to) - blocks):
                policy, at = open_to[block]
                yield policy.finding(
                    ("spec", "ingress", at), f"too wide: {block} is no peer of listener {port}"
                )


def _policy(cluster: Cluster, policy: Object) -> Iterator[Finding]:
    ours = [p for p in cluster.peers if p.namespace is None]
    if not any(selects(policy.spec.get("podSelector"), p.labels) for p in ours):
        yield policy.finding(("spec", "podSelector"), "selects nothing")
    types = policy.spec.get("policyTypes") or []
    for way, key in (("Ingress", "from"), ("Egress", "to")):
        rules = policy.spec.get(way.lower())
        if rules and way not in types:
            yield policy.finding(
                ("spec", "policyTypes"), f"{way} is missing: its rules mean nothing"
            )
        for number, rule in enumerate(rules or []):
            path: Path = ("spec", way.lower(), number)
            if not rule.get(key) and not rule.get("ports"):
                yield policy.finding(path, "an empty rule opens everything")
            if way == "Ingress" and not rule.get(key):
                yield policy.finding((*path, key), "nobody is named: that is everybody")
            for at, peer in enumerate(rule.get(key) or []):
                yield from _peer(cluster, policy, (*path, key, at), peer)
            yield from _ports(cluster, policy, rule, path, way)


def _peer(cluster: Cluster, policy: Object, path: Path, peer: Doc) -> Iterator[Finding]:
    if "ipBlock" in peer:
        try:
            ipaddress.ip_network(str(peer["ipBlock"].get("cidr")))
        except ValueError as error:
            yield policy.finding((*path, "ipBlock", "cidr"), str(error))
        return
    if not any(_is_peer(peer, known) for known in cluster.peers):
        yield policy.finding(
            path, "selects nothing: no pod here, and none known elsewhere, is labelled so"
        )
    if peer.get("podSelector") in ({}, None) and peer.get("namespaceSelector") in ({}, None):
        yield policy.finding(path, "selects everything")


def _is_peer(peer: Doc, known: Peer) -> bool:
    pods, space = peer.get("podSelector"), peer.get("namespaceSelector")
    if (space is None) != (known.namespace is None):
        return False
    if space is not None and not selects(space, known.namespace or {}):
        return False
    return pods is None or selects(pods, known.labels)


def _ports(cluster: Cluster, policy: Object, rule: Doc, path: Path, way: str) -> Iterator[Finding]:
    """A named port is a port of the pods that take the connection."""
    takers = [p for p in cluster.pods if selects(policy.spec.get("podSelector"), p.labels)]
    for number, port in enumerate(rule.get("ports") or []):
        name = port.get("port")
        if isinstance(name, str) and way == "Ingress":
            for pod in takers:
                if name not in pod.ports():
                    yield policy.finding(
                        (*path, "ports", number, "port"), f"{name!r} is no port of {pod.name}"
                    )


def _edges(cluster: Cluster, policies: list[Object]) -> Iterator[Finding]:
    peers: dict[str, Peer] = {p.name: p for p in cluster.peers}
    must = needed(cluster)
    named = sorted({e.source for e in must} | {e.target for e in must})
    for edge in sorted(must, key=lambda e: (e.source, e.target, e.port)):
        source, target = peers.get(edge.source), peers.get(edge.target)
        if source is None or target is None:
            continue
        for way, own, other in (("Egress", source, target), ("Ingress", target, source)):
            if own.namespace is None and not _open(cluster, policies, way, own, other, edge.port):
                message = (
                    f"{edge.source} can't reach {edge.target} on {edge.port}:"
                    f" its {way.lower()} is not open"
                )
                near = _nearest(policies, way, own, other)
                if near is None:
                    yield Finding(FILE, f"{way.lower()} of {own.name}", message)
                else:
                    yield near[0].finding(near[1], message)
    for name in named:
        peer = peers.get(name)
        if peer is not None and peer.namespace is None:
            yield from _too_wide(cluster, policies, peer, peers, must)


def _too_wide(
    cluster: Cluster, policies: list[Object], own: Peer, peers: dict[str, Peer], must: set[Edge]
) -> Iterator[Finding]:
    """Nobody reaches a service or the store who need not; nobody the world but who must."""
    stranger = Peer(
        "a stranger's pod", {"app": "stranger"}, {"kubernetes.io/metadata.name": "stranger"}
    )
    neighbour = Peer("an unknown pod of this namespace", {"app": "stranger"})
    port = own.ports[0] if own.ports else 0
    kin = own.name.split("'")[0]
    for other in (*peers.values(), stranger, neighbour):
        operator = other.name.endswith("operator") or other.name.split("'")[0] == kin
        if port and Edge(other.name, own.name, port) not in must and not operator:
            for policy in _opening(cluster, policies, "Ingress", own, other, port):
                yield policy.finding(
                    ("spec", "ingress"), f"too wide: {other.name} may reach {own.name} on {port}"
                )
    for way_out in ("1.1.1.1", "10.9.8.7"):
        for to in (22, 443, 8080):
            world = WORLD.get(own.name, ()) if way_out == "1.1.1.1" else ()
            allowed = to in world or to in WORLD_BY_OPERATORS.get(own.name, ())
            if not allowed:
                for policy in _reaching(policies, own, way_out, to):
                    yield policy.finding(
                        ("spec", "egress"), f"too wide: {own.name} may reach {way_out}:{to}"
                    )
    for to in WORLD.get(own.name, ()):
        if not list(_reaching(policies, own, "1.1.1.1", to)):
            yield Finding(FILE, "egress of alerts", f"{own.name} can't reach the world on {to}")


def _opening(
    cluster: Cluster, policies: list[Object], way: str, own: Peer, other: Peer, port: int
) -> Iterator[Object]:
    key = "to" if way == "Egress" else "from"
    taker = other if way == "Egress" else own
    for policy in policies:
        if not selects(policy.spec.get("podSelector"), own.labels) or way not in (
            policy.spec.get("policyTypes") or []
        ):
            continue
        for rule in policy.spec.get(way.lower()) or []:
            meets = not rule.get(key) or any(
                "ipBlock" not in p and _is_peer(p, other) for p in rule[key]
            )
            if meets and _has_port(cluster, rule, taker, port):
                yield policy
                break


def _open(
    cluster: Cluster, policies: list[Object], way: str, own: Peer, other: Peer, port: int
) -> bool:
    return any(True for _ in _opening(cluster, policies, way, own, other, port))


def _reaching(policies: list[Object], own: Peer, address: str, port: int) -> Iterator[Object]:
    """Policies that let `own` talk to this address, which is no pod's."""
    for policy in policies:
        if not selects(policy.spec.get("podSelector"), own.labels):
            continue
        for rule in policy.spec.get("egress") or []:
            blocks = [p["ipBlock"] for p in rule.get("to") or [] if "ipBlock" in p]
            meets = not rule.get("to") or any(_within(address, block) for block in blocks)
            if meets and (
                not rule.get("ports") or any(p.get("port") == port for p in rule["ports"])
            ):
                yield policy
                break


def _within(address: str, block: Doc) -> bool:
    try:
        at = ipaddress.ip_address(address)
        inside = at in ipaddress.ip_network(str(block.get("cidr")))
        return inside and not any(at in ipaddress.ip_network(x) for x in block.get("except") or [])
    except ValueError:
        return False


def _has_port(cluster: Cluster, rule: Doc, taker: Peer, port: int) -> bool:
    if not rule.get("ports"):
        return True
    pod = cluster.pod_of(taker.name)
    for entry in rule["ports"]:
        wanted: Any = entry.get("port")
        if isinstance(wanted, str):
            wanted = pod.ports().get(wanted) if pod else None
        protocol = entry.get("protocol", "TCP")
        if wanted == port and protocol == ("UDP" if port == 53 else "TCP"):
            return True
    return False


def _nearest(
    policies: list[Object], way: str, own: Peer, other: Peer
) -> tuple[Object, Path] | None:
    """What most likely meant it: a rule on these two, else the most particular policy of these pods."""
    key = "to" if way == "Egress" else "from"
    fitting = [
        p
        for p in policies
        if p.spec.get(way.lower()) and selects(p.spec.get("podSelector"), own.labels)
    ]
    for policy in fitting:
        for number, rule in enumerate(policy.spec[way.lower()]):
            if any("ipBlock" not in p and _is_peer(p, other) for p in rule.get(key) or []):
                return policy, ("spec", way.lower(), number, "ports")
    found = max(fitting, key=lambda p: len(str(p.spec.get("podSelector"))), default=None)
    return (found, ("spec", way.lower())) if found else None
