"""The image, built without a daemon, and each of its commands run as the user and on the file system of a pod."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import httpx

from deploy.check.containerfile import FILE, FOLDERS
from deploy.check.control_plane import free_ports
from deploy.check.findings import Finding

BASE = "localhost/yumai-base:bookworm"
CERTIFICATES = "/etc/ssl/certs"
_NOISE = ("subprocess exited", "Error: exit status")
SERVICES = ("services.ingest", "services.metrics", "services.alerts", "services.gateway")
"""Started with nobody to talk to: alive, not ready, and ended by TERM."""
COMMANDS = (*SERVICES, "services.canary", "services.maintenance")
"""Asked for their settings (`--check`)."""
ALIVE_SECONDS, END_SECONDS = 120, 40
# Everything that each service runs on, the compiled loops included, on a root that can't be written.
_INSIDE = """
import importlib.util, os, pathlib, shutil, sys
assert os.getuid() == 10001, f"runs as {os.getuid()}"
cache = pathlib.Path(os.environ["NUMBA_CACHE_DIR"])
before = sorted(p.name for p in cache.rglob("*.nb*"))
assert before, "no compiled loops in the image"
for service in ("ingest.app", "metrics.worker", "alerts.worker", "gateway.app"):
    importlib.import_module(f"services.{service}")
import console.warm
console.warm.main()
assert sorted(p.name for p in cache.rglob("*.nb*")) == before, "something was compiled again"
for tool in ("pip", "pip3", "gcc", "cc", "make"):
    assert shutil.which(tool) is None, f"{tool} is in the image"
for module in ("pip", "setuptools"):
    assert importlib.util.find_spec(module) is None, f"{module} is in the image"
for folder in ("/opt/yumai", "/opt/yumai/numba", "/etc", "/usr"):
    assert not os.access(folder, os.W_OK), f"{folder} can be written"
print("inside: right")
"""


def check(root: File, cache: File) -> Iterator[Finding]:
    env = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}

    def run(*command: str, seconds: int = 900) -> subprocess.CompletedProcess[str]:
        more: Any = {"env": env, "timeout": seconds, "cwd": root}
        return subprocess.run(command, capture_output=True, text=True, **more)

    tag = f"localhost/yumai:check-{_digest(root)}"
    if not run("buildah", "images", "-q", tag).stdout.strip():
        _base(run, cache)
        images = run("buildah", "images", "--format", "{{.Name}}:{{.Tag}}").stdout
        for name in re.findall(r"^localhost/yumai:check.*", images, re.M):
            run("buildah", "rmi", "--force", name)
        mounts = ["-v", f"{CERTIFICATES}:{CERTIFICATES}:ro"] if File(CERTIFICATES).is_dir() else []
        built = run(
            *("buildah", "bud", "--layers=false", "--force-rm", "--pull-never"),
            *("--network", "host", *mounts),
            *("--build-arg", f"BASE={BASE}", "-f", FILE, "-t", tag, "."),
        )
        if built.returncode:
            steps = re.findall(r"STEP \d+/\d+: (.*)", built.stdout + built.stderr)
            where = steps[-1][:120] if steps else "(whole)"
            yield Finding(FILE, where, built.stderr.strip()[-600:])
            return
    container = run("buildah", "from", "--pull-never", tag).stdout.strip()
    try:
        inside = run("buildah", "run", container, "--", "python", "-c", _INSIDE)
        if "inside: right" not in inside.stdout:
            yield Finding(FILE, "(inside)", _said(inside))
        for module in COMMANDS:
            done = run("buildah", "run", container, "--", "python", "-m", module, "--check")
            if done.returncode or "kafka_bootstrap = " not in done.stdout:
                yield Finding(FILE, f"python -m {module} --check", _said(done))
        for module in SERVICES:
            yield from _serves(env, container, module)
    finally:
        run("buildah", "rm", container)


def _said(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join([x for x in done.stderr.splitlines() if not x.startswith(_NOISE)][-3:])


def _digest(root: File) -> str:
    """Of all that goes into the image."""
    parts = [root / part for part in (*FOLDERS, FILE, "requirements/image.txt")]
    files = [f for p in parts for f in (p.rglob("*") if p.is_dir() else [p]) if f.is_file()]
    found = hashlib.sha256()
    for file in sorted(f for f in files if "__pycache__" not in f.parts):
        found.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]


def _serves(env: dict[str, str], container: str, module: str) -> Iterator[Finding]:
    """Kafka and store are away: it must be alive and not ready, and end when it is told to."""
    (port,) = free_ports(1)
    told = f"YUMAI_PORT={port} YUMAI_HOST=127.0.0.1 YUMAI_IDENTITY_DIR=/tmp/identity"
    told += " KAFKA_BOOTSTRAP=127.0.0.1:1 CLICKHOUSE_DSN=http://127.0.0.1:1/yumai"
    given = [f"--env={one}" for one in told.split()]
    command = ["buildah", "run", *given, container, "--", "python", "-m", module]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            end, said = time.monotonic() + ALIVE_SECONDS, (0, 0)
            while time.monotonic() < end and said[0] != 200 and process.poll() is None:
                time.sleep(0.5)
                said = _status(port, "live"), _status(port, "ready")
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(END_SECONDS)
            if said != (200, 503):
                log.seek(0)
                why = f"/health/live and /health/ready say {said}: want 200 and 503"
                yield Finding(FILE, f"python -m {module}", f"{why}; {log.read()[-300:]}")
        except subprocess.TimeoutExpired:
            yield Finding(FILE, f"python -m {module}", f"runs on {END_SECONDS} s after TERM")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _status(port: int, what: str) -> int:
    try:
        url = f"http://127.0.0.1:{port}/health/{what}"
        return httpx.get(url, timeout=5, trust_env=False).status_code
    except httpx.HTTPError:
        return 0


def _base(run, cache: File) -> None:  # type: ignore[no-untyped-def]
    """No registry has images here: what tools.sh made of Debian's own packages."""
    if not run("buildah", "images", "-q", BASE).stdout.strip():
        container = run("buildah", "from", "scratch").stdout.strip()
        run("buildah", "add", "-q", container, str(cache / "rootfs"), "/")
        run("buildah", "commit", "-q", "--rm", container, BASE)
