"""Both overlays on a real API server: strict apply, rollouts, a zone drained within the budgets, a second apply."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import httpx
import yaml

from deploy.check.cluster import fewest
from deploy.check.control_plane import Api, running
from deploy.check.findings import Finding, Path
from deploy.check.tree import OVERLAYS, NotBuilt, Object, Tree, build

SPACE = "/api/v1/namespaces/yumai"
ROLLOUT_SECONDS, DRAIN_SECONDS, CRD_SECONDS = 120, 90, 60
_UNKNOWN = re.compile(r'(?:unknown|duplicate) field "([^"]+)"|\.(spec[^:\s]*): field not declared')
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def check(root: File, kubectl: str, bin_folder: File, etcd: str, crds: File) -> Iterator[Finding]:
    with running(bin_folder, etcd) as api:
        _define(api, crds)
        for overlay in OVERLAYS:
            try:
                tree = build(root, overlay, kubectl)
            except NotBuilt as error:
                yield error.finding
                continue
            found = list(_apply(api, tree))
            yield from found
            if not found:
                _scale_like_keda(api, tree)
                found = list(_rollouts(api, tree))
                yield from found
            if not found and overlay == "production":
                yield from _drained(api, tree, "a")
            if not found:
                yield from _again(api, tree)


def _define(api: Api, crds: File) -> None:
    """The operators' definitions, established."""
    names = []
    for file in sorted(crds.glob("*/*.yaml")):
        for doc in yaml.load_all(file.read_text(), yaml.CSafeLoader):
            if doc and doc.get("kind") == "CustomResourceDefinition":
                answer = api.apply(doc)
                if answer is None or answer.status_code >= 300:
                    raise RuntimeError(
                        f"{file}: {answer.text[:300] if answer is not None else 'no such kind'}"
                    )
                names.append(doc["metadata"]["name"])
    end = time.monotonic() + CRD_SECONDS
    base = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for name in names:
        while not _holds(api.get(f"{base}/{name}"), "Established"):
            if time.monotonic() > end:
                raise RuntimeError(f"{name} is not established")
            time.sleep(0.1)


def _holds(obj: dict[str, Any], condition: str) -> bool:
    return any(
        c["type"] == condition and c["status"] == "True"
        for c in obj.get("status", {}).get("conditions", [])
    )


def steps(field: str) -> Path:
    """`spec.containers[0].x` as a path."""
    return tuple(int(n) if n else word for word, n in _STEP.findall(field))


def _apply(api: Api, tree: Tree) -> Iterator[Finding]:
    """The namespace first: a dry run of what is in it needs it."""
    for obj in sorted(tree.objects, key=lambda o: o.kind != "Namespace"):
        answer = api.apply(obj.doc)
        if answer is None:
            yield obj.finding(
                ("apiVersion",), f"the API server knows no {obj.doc.get('apiVersion')} {obj.kind}"
            )
            continue
        yield from refused(obj, answer)


def refused(obj: Object, answer: httpx.Response) -> Iterator[Finding]:
    """The API server's answer, by field."""
    for warning in answer.headers.get_list("warning"):
        if "would violate PodSecurity" in warning:
            yield obj.finding(("spec", "template", "spec"), warning)
    if answer.status_code < 300:
        return
    status = answer.json()
    text = str(status.get("message", answer.text))
    causes = [c for c in status.get("details", {}).get("causes", []) if c.get("field")]
    for cause in causes:
        yield obj.finding(steps(cause["field"]), str(cause.get("message"))[:400])
    if not causes:
        fields = [a or b for a, b in _UNKNOWN.findall(text)]
        for field in fields:
            yield obj.finding(steps(field), "unknown field (API server, strict)")
        if not fields:
            yield obj.finding((), f"API server: {text[:400]}")


def _deployments(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get("/apis/apps/v1/namespaces/yumai/deployments")["items"]
    return found


def _scale_like_keda(api: Api, tree: Tree) -> None:
    """KEDA is not here: its fewest, by the same way that it takes."""
    for scaled in tree.of("ScaledObject"):
        path = f"/apis/apps/v1/namespaces/yumai/deployments/{scaled.spec['scaleTargetRef']['name']}/scale"
        body = {"spec": {"replicas": scaled.spec.get("minReplicaCount", 1)}}
        api.call("PATCH", f"{path}?fieldManager=keda", body, "application/merge-patch+json")


def _wanted(tree: Tree) -> dict[str, int]:
    """Deployment -> replicas that there must be at last."""
    found = {o.name: int(o.spec.get("replicas", 1)) for o in tree.of("Deployment")}
    for scaler in tree.of("HorizontalPodAutoscaler", "ScaledObject"):
        name = scaler.spec["scaleTargetRef"]["name"]
        if name in found:
            found[name] = fewest(scaler)
    return found


def _rollouts(api: Api, tree: Tree) -> Iterator[Finding]:
    end, wanted = time.monotonic() + ROLLOUT_SECONDS, _wanted(tree)
    waiting: dict[str, str] = {}
    while time.monotonic() < end:
        waiting = {}
        for found in _deployments(api):
            name, status = found["metadata"]["name"], found.get("status", {})
            current = status.get("observedGeneration") == found["metadata"]["generation"]
            replicas = found["spec"]["replicas"]
            # An HPA without figures (none are measured here) never scales down: more than wanted is right too.
            counts = (
                status.get("updatedReplicas", 0),
                status.get("availableReplicas", 0),
                status.get("replicas", 0),
            )
            if not current or set(counts) != {replicas} or replicas < wanted.get(name, 1):
                failed = [
                    c["message"]
                    for c in status.get("conditions", [])
                    if c["type"] == "ReplicaFailure"
                ]
                waiting[name] = (
                    failed[0]
                    if failed
                    else f"{counts[1]} of {max(replicas, wanted.get(name, 1))} available"
                )
        if not waiting:
            return
        time.sleep(0.5)
    for name, why in sorted(waiting.items()):
        obj = tree.find("Deployment", name)
        if obj is not None:
            yield obj.finding(
                ("spec", "template", "spec"),
                f"does not roll out in {ROLLOUT_SECONDS} s: {why}; {_events(api, name)}"[:600],
            )


def _events(api: Api, name: str) -> str:
    events = api.get(f"{SPACE}/events")["items"]
    mine = [
        e["message"]
        for e in events
        if e["type"] == "Warning" and str(e["involvedObject"].get("name")).startswith(name)
    ]
    return mine[-1] if mine else "no event says why"


def _pods(api: Api, node: str | None = None) -> list[dict[str, Any]]:
    items = api.get(f"{SPACE}/pods")["items"]
    return [
        p
        for p in items
        if (node is None or p["spec"].get("nodeName") == node)
        and p["status"].get("phase") not in ("Succeeded", "Failed")
        and any(o["kind"] == "ReplicaSet" for o in p["metadata"].get("ownerReferences", []))
    ]


def _drained(api: Api, tree: Tree, zone: str) -> Iterator[Finding]:
    """As `kubectl drain` does: cordon, then evict what may go, until nothing is left."""
    node = f"node-{zone}"
    yield from _spread(api, tree)
    api.call(
        "PATCH",
        f"/api/v1/nodes/{node}",
        {"spec": {"unschedulable": True}},
        "application/merge-patch+json",
    )
    end = time.monotonic() + DRAIN_SECONDS
    left: dict[str, str] = {}
    while time.monotonic() < end:
        left = {}
        for pod in _pods(api, node):
            name = pod["metadata"]["name"]
            if pod["metadata"].get("deletionTimestamp"):
                left[name] = "ending"
                continue
            eviction = {
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"name": name, "namespace": "yumai"},
            }
            answer = api.call("POST", f"{SPACE}/pods/{name}/eviction", eviction)
            left[name] = (
                "evicted" if answer.status_code < 300 else str(answer.json().get("message"))
            )
        if not left:
            break
        time.sleep(0.5)
    for name, why in left.items():
        app = name.rsplit("-", 2)[0]
        budget = tree.find("PodDisruptionBudget", app)
        if budget is not None:
            yield budget.finding(("spec",), f"zone {zone} can't be drained of {name}: {why}")
    if not left:
        for finding in _rollouts(api, tree):
            yield Finding(
                finding.file, finding.field, f"after zone {zone} was drained: {finding.message}"
            )
    api.call(
        "PATCH",
        f"/api/v1/nodes/{node}",
        {"spec": {"unschedulable": None}},
        "application/merge-patch+json",
    )


def _spread(api: Api, tree: Tree) -> Iterator[Finding]:
    zones: dict[str, set[str]] = {}
    for pod in _pods(api):
        name = pod["metadata"]["labels"].get("app.kubernetes.io/name", "")
        zones.setdefault(name, set()).add(str(pod["spec"].get("nodeName")))
    for name, count in _wanted(tree).items():
        obj = tree.find("Deployment", name)
        if obj is not None and len(zones.get(name, set())) < min(count, 3):
            yield obj.finding(
                ("spec", "template", "spec", "topologySpreadConstraints"),
                f"{count} pods stand in {len(zones.get(name, set()))} zones",
            )


def _again(api: Api, tree: Tree) -> Iterator[Finding]:
    """Nothing changes but what the server and controllers keep of an object themselves."""
    for obj in tree.objects:
        before = api.get(str(api.path_of(obj.doc)))
        answer = api.apply(obj.doc)
        if answer is None or answer.status_code >= 300:
            yield obj.finding((), "a second apply is refused")
        elif changed := _first_difference(_asked(before), _asked(answer.json())):
            yield obj.finding((), f"a second apply changes it: {changed}")


def _asked(doc: dict[str, Any]) -> dict[str, Any]:
    meta = {k: v for k, v in doc.get("metadata", {}).items() if k in ("labels", "ownerReferences")}
    return {k: v for k, v in doc.items() if k not in ("metadata", "status")} | {"metadata": meta}


def _first_difference(before: Any, after: Any, at: str = "") -> str:
    """Path and both values; empty where they are equal."""
    if before == after:
        return ""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            path = f"{at}.{key}" if at else key
            if found := _first_difference(before.get(key), after.get(key), path):
                return found
    return f"{at}: {before!r} → {after!r}"
