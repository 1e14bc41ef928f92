"""Pods of ours: images, commands, ports, probes, volumes, rights, resources, and how they end."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path as File

from deploy.check.cluster import SERVICES, Cluster, Pod, selects
from deploy.check.findings import Finding, Path, listed, near
from deploy.check.tree import Doc
from services.maintenance.__main__ import parser as maintenance

_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
LIVE, READY = "/health/live", "/health/ready"
PROBES = {"startupProbe": LIVE, "livenessProbe": LIVE, "readinessProbe": READY}
JOBS = {"migrate": "migrate", "audit": "audit", "backup": "backup"}
"""Job -> its command of services.maintenance."""
GRACE = {"ingest": 20, "gateway": 10, "metrics": 90, "alerts": 30, "canary": 5}
"""Seconds that the end takes at worst: open requests, a flush under way (insert_quorum_timeout), a round."""
WAIT = ["services.maintenance", "migrated"]
WAITING = ("metrics", "alerts")
"""Who can do nothing before the migrations. The gateway says itself that it is not ready; ingest accepts without a store."""


def check(cluster: Cluster, root: File) -> Iterator[Finding]:
    for name in SERVICES:
        pod = cluster.pod_of(name)
        if pod is None or pod.owner.kind != "Deployment":
            yield Finding(
                "deploy/k8s/base/kustomization.yaml",
                "resources",
                f"no Deployment whose pods are labelled app.kubernetes.io/name: {name}",
            )
    for pod in cluster.pods:
        for part in (_shape, _security, _spread, _volumes):
            yield from part(pod, cluster)
        for at, container in pod.containers():
            yield from _container(pod, at, container, root)
        if pod.serves:
            yield from _served(pod)
    yield from _images(cluster)


def _shape(pod: Pod, cluster: Cluster) -> Iterator[Finding]:
    def found(path: Path, message: str) -> Finding:
        return pod.owner.finding((*pod.at, *path), message)

    template = pod.at[:-1]
    selector = pod.owner.get(("spec", "selector"))
    if pod.serves and not selects(selector, pod.labels):
        yield pod.owner.finding(
            ("spec", "selector", "matchLabels"),
            f"does not select its own pods, labelled {pod.labels}",
        )
    if pod.labels.get("app.kubernetes.io/part-of") != "yumai":
        yield pod.owner.finding(
            (*template, "metadata", "labels"), "want app.kubernetes.io/part-of: yumai"
        )
    account = pod.spec.get("serviceAccountName")
    made = cluster.tree.find("ServiceAccount", str(account))
    if made is None:
        known = cluster.tree.names("ServiceAccount")
        yield found(
            ("serviceAccountName",), f"{account!r} is no ServiceAccount here{near(account, known)}"
        )
    elif made.doc.get("automountServiceAccountToken") is not False:
        yield made.finding(
            ("automountServiceAccountToken",), "want false: no process asks the API server"
        )
    if pod.spec.get("automountServiceAccountToken") is not False:
        yield found(("automountServiceAccountToken",), "want false: no process asks the API server")
    if account and account != pod.name:
        yield found(("serviceAccountName",), f"want {pod.name!r}: every workload has its own")
    policy = pod.spec.get("restartPolicy", "Always")
    if not pod.serves and policy not in ("OnFailure", "Never"):
        yield found(("restartPolicy",), f"{policy}: a job's pod wants OnFailure or Never")
    if pod.spec.get("enableServiceLinks") is not False:
        yield found(("enableServiceLinks",), "want false: its variables would look like settings")


def _security(pod: Pod, _: Cluster) -> Iterator[Finding]:
    def found(path: Path, message: str) -> Finding:
        return pod.owner.finding((*pod.at, *path), f"{message} (Pod Security restricted)")

    context = pod.spec.get("securityContext") or {}
    if context.get("runAsNonRoot") is not True:
        yield found(("securityContext", "runAsNonRoot"), "want true")
    if context.get("runAsUser", 10001) == 0:
        yield found(("securityContext", "runAsUser"), "want a number other than 0")
    if (context.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield found(("securityContext", "seccompProfile", "type"), "want RuntimeDefault")
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(key):
            yield found((key,), "want it left out")
    for number, volume in enumerate(pod.spec.get("volumes") or []):
        if "hostPath" in volume:
            yield found(("volumes", number, "hostPath"), "the node's disk is not ours")
    for at, container in pod.containers():
        own = container.get("securityContext") or {}
        path = (*at[len(pod.at) :], "securityContext")
        for key, want in (("allowPrivilegeEscalation", False), ("readOnlyRootFilesystem", True)):
            if own.get(key) is not want:
                yield found((*path, key), f"want {str(want).lower()}")
        if own.get("privileged"):
            yield found((*path, "privileged"), "want it left out")
        if own.get("runAsNonRoot") is False or own.get("runAsUser") == 0:
            yield found((*path, "runAsUser"), "want no root")
        capabilities = own.get("capabilities") or {}
        if capabilities.get("drop") != ["ALL"]:
            yield found((*path, "capabilities", "drop"), "want [ALL]")
        if capabilities.get("add"):
            yield found((*path, "capabilities", "add"), "want none")
        for number, port in enumerate(container.get("ports") or []):
            if port.get("hostPort"):
                yield found((*at[len(pod.at) :], "ports", number, "hostPort"), "want it left out")


def _spread(pod: Pod, _: Cluster) -> Iterator[Finding]:
    if not pod.serves:
        return
    constraints = pod.spec.get("topologySpreadConstraints") or []
    keys = {c.get("topologyKey") for c in constraints}
    at = (*pod.at, "topologySpreadConstraints")
    for want in ("topology.kubernetes.io/zone", "kubernetes.io/hostname"):
        if want not in keys:
            yield pod.owner.finding(at, f"nothing spreads these pods over {want}")
    for number, constraint in enumerate(constraints):
        if not selects(constraint.get("labelSelector"), pod.labels):
            yield pod.owner.finding(
                (*at, number, "labelSelector"), "selects nothing: not the pods that it stands in"
            )
        strict = constraint.get("whenUnsatisfiable") == "DoNotSchedule"
        if strict and constraint.get("nodeTaintsPolicy") != "Honor":
            yield pod.owner.finding(
                (*at, number, "nodeTaintsPolicy"),
                "want Honor: else the pods of a zone that is drained can go nowhere",
            )


def _volumes(pod: Pod, cluster: Cluster) -> Iterator[Finding]:
    volumes = {str(v.get("name")): n for n, v in enumerate(pod.spec.get("volumes") or [])}
    used = set()
    for at, container in pod.containers():
        writable = False
        for number, mount in enumerate(container.get("volumeMounts") or []):
            name = str(mount.get("name"))
            used.add(name)
            if name not in volumes:
                yield pod.owner.finding(
                    (*at, "volumeMounts", number, "name"),
                    f"{name!r} is no volume of this pod{near(name, volumes)} ({listed(volumes)})",
                )
                continue
            volume = pod.spec["volumes"][volumes[name]]
            writable = writable or (mount.get("mountPath") == "/tmp" and "emptyDir" in volume)
            if "secret" in volume and not mount.get("readOnly"):
                yield pod.owner.finding(
                    (*at, "volumeMounts", number, "readOnly"), "a secret: want true"
                )
        if not writable:
            yield pod.owner.finding(
                (*at, "volumeMounts"), "/tmp can't be written: the root file system is read-only"
            )
    for name, number in volumes.items():
        if name not in used:
            yield pod.owner.finding(
                (*pod.at, "volumes", number, "name"), f"{name!r} is mounted nowhere"
            )


def _container(pod: Pod, at: Path, container: Doc, root: File) -> Iterator[Finding]:
    def found(path: Path, message: str) -> Finding:
        return pod.owner.finding((*at, *path), message)

    if "command" in container:
        yield found(("command",), "want args only: the image's entry point is python -m")
    args = container.get("args") or []
    yield from _arguments(pod, at, args, root)
    for way in ("requests", "limits"):
        for name, amount in (container.get("resources", {}).get(way) or {}).items():
            if not _QUANTITY.fullmatch(str(amount)):
                yield found(
                    ("resources", way, name), f"{amount!r} is no quantity: want 500m, 2, 512Mi, 3Gi"
                )
    for name in ("cpu", "memory"):
        if name not in (container.get("resources", {}).get("requests") or {}):
            yield found(("resources", "requests", name), "is missing")
    if "memory" not in (container.get("resources", {}).get("limits") or {}):
        yield found(("resources", "limits", "memory"), "is missing")
    names = [p.get("name") for p in container.get("ports") or []]
    for key in ("startupProbe", "livenessProbe", "readinessProbe", "lifecycle"):
        yield from _probe(container, key, names, found)


def _probe(
    container: Doc, key: str, names: list[str], found: Callable[[Path, str], Finding]
) -> Iterator[Finding]:
    probe = container.get(key) or {}
    if key == "lifecycle":
        key, probe = "lifecycle.preStop", probe.get("preStop") or {}
    path = tuple(key.split("."))
    for how in ("httpGet", "tcpSocket", "grpc"):
        if how not in probe:
            continue
        port = (probe[how] or {}).get("port")
        numbers = [p.get("containerPort") for p in container.get("ports") or []]
        if port not in names and port not in numbers:
            yield found(
                (*path, how, "port"),
                f"{port!r} is no port of container {container.get('name')}"
                f"{near(port, map(str, names))} ({listed(names)})",
            )
        scheme = (probe[how] or {}).get("scheme", "HTTP")
        if how == "httpGet" and scheme != "HTTP":
            yield found((*path, how, "scheme"), f"{scheme}: the health pages are plain HTTP")


def _arguments(pod: Pod, at: Path, args: list[str], root: File) -> Iterator[Finding]:
    if not args:
        yield pod.owner.finding((*at, "args"), "want the module to run")
        return
    module = str(args[0])
    path = root / module.replace(".", "/")
    file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.is_file() or "__main__" not in file.read_text() + file.name:
        yield pod.owner.finding((*at, "args", 0), f"{module!r}: no module that can be run")
    init = "initContainers" in at
    if init and args != WAIT:
        yield pod.owner.finding((*at, "args"), f"{args}: want {WAIT}")
    elif not init and pod.name in SERVICES and module != f"services.{pod.name}":
        yield pod.owner.finding((*at, "args", 0), f"{module!r}: want 'services.{pod.name}'")
    elif not init and pod.name in JOBS:
        yield from _job(pod, at, args)


def _job(pod: Pod, at: Path, args: list[str]) -> Iterator[Finding]:
    """A job's arguments are read by the program itself."""
    if args[:2] != ["services.maintenance", JOBS[pod.name]]:
        yield pod.owner.finding(
            (*at, "args"), f"{args}: want services.maintenance {JOBS[pod.name]}"
        )
        return
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            maintenance().parse_args([str(arg) for arg in args[1:]])
    except SystemExit:
        yield pod.owner.finding((*at, "args"), told.getvalue().strip().splitlines()[-1])


def _served(pod: Pod) -> Iterator[Finding]:
    """What only those have that serve: probes, the port, the wait for migrations, a graceful end."""
    containers = pod.spec.get("containers") or []
    if not containers:
        return
    at = (*pod.at, "containers", 0)
    probes = {key: containers[0].get(key) for key in PROBES}
    for key, path in PROBES.items():
        if probes[key] is None:
            yield pod.owner.finding((*at, key), "is missing")
            continue
        have = (probes[key].get("httpGet") or {}).get("path")
        if have != path:
            same = " (alive is not ready)" if have in (LIVE, READY) else ""
            yield pod.owner.finding((*at, key, "httpGet", "path"), f"{have!r}: want {path!r}{same}")
    liveness = probes["livenessProbe"] or {}
    patience = liveness.get("periodSeconds", 10) * liveness.get("failureThreshold", 3)
    if liveness and patience < 30:
        yield pod.owner.finding(
            (*at, "livenessProbe", "failureThreshold"),
            f"killed after {patience} s of silence: want 30 or more",
        )
    want = SERVICES.get(pod.name)
    ports = pod.ports()
    if want and ports.get("http") != want:
        where = (*at, "ports", 0, "containerPort" if "http" in ports else "name")
        yield pod.owner.finding(where, f"{ports}: want http: {want}")
    grace = pod.spec.get("terminationGracePeriodSeconds", 30)
    sleep = ((containers[0].get("lifecycle") or {}).get("preStop") or {}).get("sleep") or {}
    before = int(sleep.get("seconds", 0))
    if grace < GRACE.get(pod.name, 0) + before:
        yield pod.owner.finding(
            (*pod.at, "terminationGracePeriodSeconds"),
            f"{grace} s: what is under way takes up to {GRACE[pod.name]} s to end, after {before} s of preStop",
        )
    if pod.name not in WAITING:
        yield from _ends(pod)
        return
    waits = [c for c in pod.spec.get("initContainers") or [] if c.get("args") == WAIT]
    if not waits:
        yield pod.owner.finding(
            (*pod.at, "initContainers"), f"none runs {WAIT}: it may start before its migrations"
        )
    yield from _ends(pod)


def _ends(pod: Pod) -> Iterator[Finding]:
    """How old pods make room for new ones."""
    rolling = pod.owner.get(("spec", "strategy"), {})
    if rolling.get("type", "RollingUpdate") != "RollingUpdate":
        yield pod.owner.finding(
            ("spec", "strategy", "type"), f"{rolling['type']}: want RollingUpdate"
        )
    if pod.name == "metrics" and (rolling.get("rollingUpdate") or {}).get("maxSurge") != 0:
        yield pod.owner.finding(
            ("spec", "strategy", "rollingUpdate", "maxSurge"),
            "want 0: never more workers than partitions",
        )


def _images(cluster: Cluster) -> Iterator[Finding]:
    """All our pods run one image of one version, and the migration Job's name bears it."""
    images: dict[str, int] = {}
    where = [(pod, at, str(c.get("image"))) for pod in cluster.pods for at, c in pod.containers()]
    for _, _, image in where:
        images[image] = images.get(image, 0) + 1
    usual = max(images, key=lambda image: images[image], default="")
    for pod, at, image in where:
        if image != usual:
            yield pod.owner.finding(
                (*at, "image"), f"{image!r}: the others run {usual!r}{near(image, [usual])}"
            )
    name, _, tag = usual.rpartition(":")
    config = "deploy/k8s/base/kustomization.yaml"
    if not name or "/" in tag or tag == "latest":
        yield Finding(config, "images[0].newTag", f"{usual!r}: want a fixed version")
        return
    jobs = [o for o in cluster.tree.of("Job") if o.name.startswith("migrate")]
    if not jobs:
        yield Finding(config, "resources", "no Job migrates before the rollout")
    for job in jobs:
        want = f"migrate-{tag.replace('.', '-')}"
        if job.name != want:
            yield job.finding(
                ("metadata", "name"),
                f"want {want!r}, after the image's version {tag}: a Job can't be changed",
            )
