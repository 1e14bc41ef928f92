"""A real API server on loopback, with controllers, scheduler and fake nodes in three zones; ended with its folder."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as File
from typing import Any

import httpx

PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
ZONES = ("a", "b", "c")
START_SECONDS = 120
_MANAGER = "yumai-check"


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


class Api:
    """The API by HTTP: what `kubectl` would send, with the answer's warnings and causes kept."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        # Its certificate is its own, made a second ago, on loopback.
        self._client = httpx.Client(
            base_url=url, headers=headers, verify=False, timeout=30, trust_env=False
        )
        self._paths: dict[tuple[str, str], tuple[str, bool]] = {}

    def close(self) -> None:
        self._client.close()

    def ready(self) -> bool:
        try:
            return self._client.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def get(self, path: str) -> Any:
        answer = self._client.get(path)
        answer.raise_for_status()
        return answer.json()

    def call(
        self, method: str, path: str, body: Any, content_type: str = "application/json"
    ) -> httpx.Response:
        return self._client.request(
            method, path, content=json.dumps(body), headers={"Content-Type": content_type}
        )

    def path_of(self, doc: dict[str, Any]) -> str | None:
        """Where the object is; None: the server knows no such kind."""
        api, kind = str(doc.get("apiVersion")), str(doc.get("kind"))
        if (api, kind) not in self._paths:
            base = f"/apis/{api}" if "/" in api else f"/api/{api}"
            answer = self._client.get(base)
            for resource in answer.json().get("resources", []) if answer.status_code == 200 else []:
                if "/" not in resource["name"]:
                    place = (f"{base}/{{}}{resource['name']}", bool(resource["namespaced"]))
                    self._paths[api, resource["kind"]] = place
        if (api, kind) not in self._paths:
            return None
        path, namespaced = self._paths[api, kind]
        space = doc["metadata"].get("namespace", "default")
        return (
            f"{path.format(f'namespaces/{space}/' if namespaced else '')}/{doc['metadata']['name']}"
        )

    def apply(self, doc: dict[str, Any], *, dry: bool = False) -> httpx.Response | None:
        """Server-side, strict. None: the server knows no such kind."""
        path = self.path_of(doc)
        if path is None:
            return None
        query = f"?fieldManager={_MANAGER}&fieldValidation=Strict&force=true{'&dryRun=All' if dry else ''}"
        return self.call("PATCH", path + query, doc, "application/apply-patch+yaml")


@contextmanager
def running(bin_folder: File, etcd: str) -> Iterator[Api]:
    """Raises NotStarted."""
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="yumai-control-plane-") as name:
        folder = File(name)
        client, peer, port, kwok, manager, scheduler = free_ports(6)
        token = secrets.token_hex(16)
        api = Api(f"https://127.0.0.1:{port}", token)

        def start(what: str, *arguments: str) -> None:
            with (folder / f"{File(what).name}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen([what, *arguments], stdout=log, stderr=log, cwd=folder)
                )

        try:
            _keys(folder, token)
            start(etcd, f"--data-dir={folder / 'etcd'}", *_etcd(client, peer), "--unsafe-no-fsync")
            start(str(bin_folder / "kube-apiserver"), *_api_server(folder, client, port))
            _wait(api.ready, folder / "kube-apiserver.log")
            config = _kubeconfig(folder, port, token)
            common = (f"--kubeconfig={config}", "--bind-address=127.0.0.1", "--leader-elect=false")
            key = f"--service-account-private-key-file={folder / 'sa.key'}"
            start(
                str(bin_folder / "kube-controller-manager"),
                *common,
                key,
                f"--secure-port={manager}",
                f"--cert-dir={folder}",
                f"--root-ca-file={folder / 'apiserver.crt'}",
                "--node-monitor-grace-period=3600s",
            )
            start(
                str(bin_folder / "kube-scheduler"),
                *common,
                f"--secure-port={scheduler}",
                f"--cert-dir={folder}",
            )
            start(
                str(bin_folder / "kwok"),
                f"--config={bin_folder / 'kwok-stages.yaml'}",
                f"--kubeconfig={config}",
                "--manage-all-nodes=false",
                "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
                f"--server-address=127.0.0.1:{kwok}",
            )
            for zone in ZONES:
                api.call("POST", "/api/v1/nodes", _node(zone))
            _wait(lambda: _nodes_ready(api), folder / "kwok.log")
            yield api
        finally:
            for process in processes:
                process.kill()  # it would take a while to stop, of a state that nobody wants
            for process in processes:
                process.wait()
            api.close()


def _keys(folder: File, token: str) -> None:
    subprocess.run(
        ["openssl", "genrsa", "-out", str(folder / "sa.key"), "2048"],
        check=True,
        capture_output=True,
    )
    (folder / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")


def _etcd(client: int, peer: int) -> list[str]:
    url, peers = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    return [
        "--name=e",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=e={peers}",
    ]


def _api_server(folder: File, etcd: int, port: int) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--cert-dir={folder}",
        "--service-account-issuer=https://check.local",
        f"--service-account-key-file={folder / 'sa.key'}",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
        "--service-cluster-ip-range=10.96.0.0/16",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
    ]


def _kubeconfig(folder: File, port: int, token: str) -> File:
    ca = base64.b64encode((folder / "apiserver.crt").read_bytes()).decode()
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": ca}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "check",
        "contexts": [{"name": "check", "context": {"cluster": "check", "user": "admin"}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "clusters": [{"name": "check", "cluster": cluster}],
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    return file


def _node(zone: str) -> dict[str, Any]:
    room = {"cpu": "32", "memory": "128Gi", "pods": "110"}
    labels = {
        "kubernetes.io/hostname": f"node-{zone}",
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/zone": zone,
    }
    metadata = {
        "name": f"node-{zone}",
        "annotations": {"kwok.x-k8s.io/node": "fake"},
        "labels": labels,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "status": {"allocatable": room, "capacity": room},
    }


def _nodes_ready(api: Api) -> bool:
    nodes = api.get("/api/v1/nodes")["items"]
    ready = [
        n
        for n in nodes
        if any(
            c["type"] == "Ready" and c["status"] == "True"
            for c in n["status"].get("conditions", [])
        )
    ]
    return len(ready) == len(ZONES)


def _wait(done: Any, log: File) -> None:
    end = time.monotonic() + START_SECONDS
    while not done():
        if time.monotonic() > end:
            text = log.read_text(errors="replace") if log.exists() else ""
            raise NotStarted(f"{log.stem} did not start: {text[-400:]}")
        time.sleep(0.2)
