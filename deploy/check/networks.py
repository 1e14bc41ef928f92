"""Where platforms reach Kafka from outside: the listener and the policy name the same addresses.

All other policies are rendered from deploy/render/networks.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.check.cluster import Cluster, selects
from deploy.check.findings import Finding, Path
from deploy.check.tree import Object


def check(cluster: Cluster) -> Iterator[Finding]:
    yield from _platforms(cluster, list(cluster.tree.of("NetworkPolicy")))


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
