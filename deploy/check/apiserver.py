"""Both overlays on a real API server, by kubectl: strict apply, rollouts, a zone drained within the budgets, a second apply."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path as File

from deploy.check.control_plane import Kubectl, running
from deploy.check.findings import Finding, listed
from deploy.check.tree import OVERLAYS, NotBuilt, Object, Tree, build

DEFINED = ("strimzi", "keda", "gateway", "prometheus", "external_secrets", "clickhouse")
"""Folders of the operators' definitions."""
ROLLOUT_SECONDS, DRAIN_SECONDS = 120, 90
MANAGED = ("--server-side", "--field-manager=yumai-check", "--force-conflicts")


def check(root: File, kubectl: str, bin_folder: File, etcd: str, crds: File) -> Iterator[Finding]:
    with running(kubectl, bin_folder, etcd) as api:
        define(api, crds)
        for overlay in OVERLAYS:
            try:
                tree = build(root, overlay, kubectl)
            except NotBuilt as error:
                yield error.args[0]
                continue
            steps = [applied, rolled_out, again]
            if overlay == "production":
                steps.insert(2, drained)
            for step in steps:
                found = [*step(api, tree)]
                yield from found
                if found:
                    break


def define(api: Kubectl, crds: File) -> None:
    """The operators' definitions, established. Raises RuntimeError."""
    folders = [f"-f={crds / name}" for name in DEFINED]
    ready = ["wait", "crd", "--all", "--for=condition=Established"]
    for command in (["apply", *MANAGED, *folders], ready):
        if (done := api.run(*command)).returncode:
            raise RuntimeError(done.stderr[-600:])


def applied(api: Kubectl, tree: Tree) -> Iterator[Finding]:
    """All at once, the namespace first; where something is refused or warned of, one after the other."""
    objects = sorted(tree.objects, key=lambda o: o.kind != "Namespace")
    command = ("apply", *MANAGED, "--validate=strict", "-f=-")
    done = api.run(*command, docs=[obj.doc for obj in objects])
    for obj in objects if done.returncode or "would violate" in done.stderr else ():
        done = api.run(*command, docs=[obj.doc])
        if done.returncode or "would violate" in done.stderr:
            yield obj.finding("(API server)", " ".join(done.stderr.split())[-600:])


def wanted(tree: Tree) -> dict[str, int]:
    """Deployment -> replicas that there must be at last."""
    found = {o.name: int(o.spec.get("replicas", 1)) for o in tree.of("Deployment")}
    for scaler in tree.of("HorizontalPodAutoscaler", "ScaledObject"):
        fewest = scaler.spec.get("minReplicas") or scaler.spec.get("minReplicaCount") or 1
        found[str(scaler.get("spec scaleTargetRef name"))] = int(fewest)
    return found


def rolled_out(api: Kubectl, tree: Tree) -> Iterator[Finding]:
    """KEDA is not here: its fewest, by the same way that it takes."""
    counts, most = wanted(tree), f"--timeout={ROLLOUT_SECONDS}s"
    for scaled in tree.of("ScaledObject"):
        name = str(scaled.get("spec scaleTargetRef name"))
        api.run("scale", f"deployment/{name}", f"--replicas={counts[name]}")
    for name, count in counts.items():
        enough = f"--for=jsonpath={{.status.availableReplicas}}={count}"
        for command in (["rollout", "status"], ["wait", enough]):
            done = api.run(*command, f"deployment/{name}", most)
            if done.returncode:
                events = api.run("events", "--types=Warning").stdout.strip()
                why = f"{done.stderr.strip()}; {events[-300:] or 'no event says why'}"
                yield _of(tree, name).finding("spec.template.spec", why)
                break


def drained(api: Kubectl, tree: Tree, zone: str = "a") -> Iterator[Finding]:
    """Pods stand in three zones; one of them is drained, and all are back elsewhere."""
    for name, count in wanted(tree).items():
        ours, nodes = f"-l=app.kubernetes.io/name={name}", "-o=jsonpath={.items[*].spec.nodeName}"
        zones = set(api.run("get", "pods", ours, nodes).stdout.split())
        if len(zones) < min(count, 3):
            where = "spec.template.spec.topologySpreadConstraints"
            yield _of(tree, name).finding(where, f"{count} pods stand in {listed(zones)}")
    flags = ("--ignore-daemonsets", "--grace-period=1", "--delete-emptydir-data")
    done = api.run("drain", f"node-{zone}", *flags, f"--timeout={DRAIN_SECONDS}s")
    if done.returncode:
        stuck = [o for o in tree.of("PodDisruptionBudget") if f'"{o.name}-' in done.stderr]
        for budget in stuck or [_of(tree, "ingest")]:
            yield budget.finding(
                "spec", f"zone {zone} can't be drained: {done.stderr.strip()[-400:]}"
            )
    else:
        yield from rolled_out(api, tree)
    api.run("uncordon", f"node-{zone}")


def again(api: Kubectl, tree: Tree) -> Iterator[Finding]:
    """Nothing changes but what the server and controllers keep of an object themselves."""
    done = api.run("diff", *MANAGED, "-f=-", docs=[obj.doc for obj in tree.objects])
    for obj in tree.objects if done.returncode else ():
        done = api.run("diff", *MANAGED, "-f=-", docs=[obj.doc])
        if done.returncode:
            changed = " ".join(re.findall(r"^[+-] .*$", done.stdout, re.M)) or done.stderr
            yield obj.finding("(API server)", f"a second apply changes it: {changed[:500]}")


def _of(tree: Tree, name: str) -> Object:
    return next(one for one in tree.of("Deployment") if one.name == name)
