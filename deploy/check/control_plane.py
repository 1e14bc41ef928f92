"""A real API server on loopback, with controllers, scheduler and fake nodes in three zones; ended with its folder."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path as File
from string import Template
from typing import Any

ZONES = ("a", "b", "c")
START_SECONDS, ANSWER_SECONDS = 120, 300
_HERE = "http://127.0.0.1"
_CLIENT = (
    "--kubeconfig=$folder/config --bind-address=127.0.0.1 --leader-elect=false --cert-dir=$folder"
)
FLAGS = {
    "etcd": f"""--data-dir=$folder/etcd --unsafe-no-fsync --initial-cluster=default={_HERE}:$peer
        --listen-client-urls={_HERE}:$client --advertise-client-urls={_HERE}:$client
        --listen-peer-urls={_HERE}:$peer --initial-advertise-peer-urls={_HERE}:$peer""",
    "kube-apiserver": f"""--etcd-servers={_HERE}:$client --secure-port=$port --cert-dir=$folder
        --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --endpoint-reconciler-type=none
        --service-account-issuer=https://check.local --service-account-key-file=$folder/key
        --service-account-signing-key-file=$folder/key --service-cluster-ip-range=10.96.0.0/16
        --token-auth-file=$folder/tokens --authorization-mode=RBAC""",
    "kube-controller-manager": f"""{_CLIENT} --secure-port=$manager
        --service-account-private-key-file=$folder/key --node-monitor-grace-period=3600s""",
    "kube-scheduler": f"{_CLIENT} --secure-port=$scheduler",
    "kwok": """--config=$tools/kwok-stages.yaml --kubeconfig=$folder/config --manage-all-nodes=false
        --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake --server-address=127.0.0.1:$kwok""",
}
"""Process -> how it is started, in this order."""
PARTS = tuple(name for name in FLAGS if name != "etcd")
# The server's certificate is its own, made a second ago, on loopback.
_CONFIG = """
apiVersion: v1
kind: Config
current-context: check
contexts: [{name: check, context: {cluster: check, user: admin, namespace: yumai}}]
users: [{name: admin, user: {token: $token}}]
clusters: [{name: check, cluster: {server: "https://127.0.0.1:$port", insecure-skip-tls-verify: true}}]
"""


class NotStarted(Exception):
    """With the end of the log of what did not start."""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@dataclass(frozen=True)
class Kubectl:
    tool: str
    folder: File

    def run(
        self, *arguments: str, docs: list[Any] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`docs`: what it reads from its input."""
        own = [f"--kubeconfig={self.folder}/config", f"--cache-dir={self.folder}"]
        text = "\n---\n".join(json.dumps(doc) for doc in docs or ())
        command, most = [self.tool, *own, *arguments], ANSWER_SECONDS
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=most)


@contextlib.contextmanager
def running(kubectl: str, bin_folder: File, etcd: str) -> Iterator[Kubectl]:
    """Raises NotStarted."""
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(
        prefix="yumai-control-plane-", ignore_cleanup_errors=True
    ) as name:
        api, named = (
            Kubectl(kubectl, File(name)),
            ("client", "peer", "port", "manager", "scheduler", "kwok"),
        )
        values: dict[str, Any] = dict(zip(named, free_ports(len(named)), strict=True))
        values |= {"folder": name, "tools": bin_folder, "token": secrets.token_hex(16)}
        (api.folder / "config").write_text(Template(_CONFIG).substitute(values))
        (api.folder / "tokens").write_text(f"{values['token']},admin,admin,system:masters\n")
        command = ["openssl", "genrsa", "-out", f"{name}/key", "2048"]
        subprocess.run(command, check=True, capture_output=True)
        try:
            for part, flags in FLAGS.items():
                tool = etcd if part == "etcd" else str(bin_folder / part)
                with (api.folder / f"{part}.log").open("wb") as log:
                    command = [tool, *Template(flags).substitute(values).split()]
                    processes.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=name))
                if part == "kube-apiserver":
                    _wait(lambda: not api.run("get", "--raw=/readyz").returncode, File(log.name))
            api.run("create", "-f=-", docs=[_node(zone) for zone in ZONES])
            wait = ("wait", "nodes", "--all", "--for=condition=Ready", "--timeout=5s")
            _wait(lambda: not api.run(*wait).returncode, File(log.name))
            yield api
        finally:
            for process in processes:
                process.kill()  # it would take a while to stop, of a state that nobody wants
            for process in processes:
                process.wait()


def _node(zone: str) -> dict[str, Any]:
    room = {"cpu": "32", "memory": "128Gi", "pods": "110"}
    labels = {"kubernetes.io/hostname": f"node-{zone}", "topology.kubernetes.io/zone": zone}
    fake = {"kwok.x-k8s.io/node": "fake"}
    metadata = {"name": f"node-{zone}", "annotations": fake, "labels": labels}
    status = {"allocatable": room, "capacity": room}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status}


def _wait(done: Callable[[], bool], log: File) -> None:
    end = time.monotonic() + START_SECONDS
    while not done():
        if time.monotonic() > end:
            raise NotStarted(f"{log.stem} did not start: {log.read_text(errors='replace')[-400:]}")
        time.sleep(0.2)
