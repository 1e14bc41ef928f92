"""A real API server on loopback, with controllers, scheduler and fake nodes in three zones; ended with its folder."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
ZONES = ("a", "b", "c")
START_SECONDS, ANSWER_SECONDS = 120, 300


class NotStarted(Exception):
    """With the end of the log of what did not start."""


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@dataclass(frozen=True)
class Kubectl:
    tool: str
    config: File

    def run(
        self, *arguments: str, docs: list[Any] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`docs`: what it reads from its input."""
        return subprocess.run(
            [
                self.tool,
                f"--kubeconfig={self.config}",
                f"--cache-dir={self.config.parent}",
                *arguments,
            ],
            input="\n---\n".join(json.dumps(doc) for doc in docs or ()),
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
        )


@contextmanager
def running(kubectl: str, bin_folder: File, etcd: str) -> Iterator[Kubectl]:
    """Raises NotStarted."""
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(
        prefix="yumai-control-plane-", ignore_cleanup_errors=True
    ) as name:
        folder = File(name)
        client, peer, port, kwok, manager, scheduler = free_ports(6)
        api = Kubectl(kubectl, folder / "kubeconfig")

        def start(what: str, *flags: str) -> File:
            log = folder / f"{File(what).name}.log"
            with log.open("wb") as to:
                processes.append(subprocess.Popen([what, *flags], stdout=to, stderr=to, cwd=folder))
            return log

        def part(name: str, *flags: str) -> File:
            common = (
                f"--kubeconfig={api.config}",
                "--bind-address=127.0.0.1",
                "--leader-elect=false",
            )
            return start(str(bin_folder / name), *common, f"--cert-dir={folder}", *flags)

        def ready() -> bool:
            # Its certificate is its own, made a second ago, on loopback.
            if not (folder / "apiserver.crt").is_file():
                return False
            _write_config(api.config, port, token)
            return not api.run("get", "--raw=/readyz").returncode

        try:
            token = secrets.token_hex(16)
            (folder / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
            key = folder / "sa.key"
            subprocess.run(
                ["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True
            )
            start(etcd, f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync", *_etcd(client, peer))
            log = start(str(bin_folder / PARTS[0]), *_api_server(folder, key, client, port))
            _wait(ready, log)
            own = (
                f"--service-account-private-key-file={key}",
                f"--root-ca-file={folder / 'apiserver.crt'}",
            )
            part(PARTS[1], *own, f"--secure-port={manager}", "--node-monitor-grace-period=3600s")
            part(PARTS[2], f"--secure-port={scheduler}")
            log = start(str(bin_folder / PARTS[3]), *_kwok(bin_folder, api.config, kwok))
            api.run("create", "-f=-", docs=[_node(zone) for zone in ZONES])
            wait = ("wait", "nodes", "--all", "--for=condition=Ready", "--timeout=5s")
            _wait(lambda: api.run(*wait).returncode == 0, log)
            yield api
        finally:
            for process in processes:
                process.kill()  # it would take a while to stop, of a state that nobody wants
            for process in processes:
                process.wait()


def _etcd(client: int, peer: int) -> list[str]:
    url, peers = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    return [
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
    ]


def _api_server(folder: File, key: File, etcd: int, port: int) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--cert-dir={folder}",
        "--service-account-issuer=https://check.local",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-cluster-ip-range=10.96.0.0/16",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
    ]


def _kwok(bin_folder: File, config: File, port: int) -> list[str]:
    return [
        f"--config={bin_folder / 'kwok-stages.yaml'}",
        f"--kubeconfig={config}",
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        f"--server-address=127.0.0.1:{port}",
    ]


def _write_config(file: File, port: int, token: str) -> None:
    ca = base64.b64encode((file.parent / "apiserver.crt").read_bytes()).decode()
    server = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": ca}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "check",
        "contexts": [{"name": "check", "context": {"cluster": "check", "user": "admin"}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "clusters": [{"name": "check", "cluster": server}],
    }
    file.write_text(json.dumps(config))


def _node(zone: str) -> dict[str, Any]:
    room = {"cpu": "32", "memory": "128Gi", "pods": "110"}
    labels = {"kubernetes.io/hostname": f"node-{zone}", "kubernetes.io/os": "linux"}
    labels["topology.kubernetes.io/zone"] = zone
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
