"""The image, built without a daemon, and each of its commands run as the user and on the file system of a pod."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path as File

from deploy.check.containerfile import FILE
from deploy.check.findings import Finding

BASE, TAG = "localhost/yumai-base:bookworm", "localhost/yumai:check"
COMMANDS = {
    "services.ingest": "kafka_bootstrap = ",
    "services.metrics": "kafka_bootstrap = ",
    "services.alerts": "kafka_bootstrap = ",
    "services.gateway": "kafka_bootstrap = ",
    "services.canary": "kafka_bootstrap = ",
    "services.maintenance": "kafka_bootstrap = ",
}
"""Module -> what its `--check` prints: it has imported all that it runs on, and read its settings."""
# Everything that each service runs on, the compiled loops included, on a root that can't be written.
_INSIDE = """
import importlib, os, pathlib, shutil, sys
assert os.getuid() == 10001, f"runs as {os.getuid()}"
cache = pathlib.Path(os.environ["NUMBA_CACHE_DIR"])
before = sorted(p.name for p in cache.rglob("*.nb*"))
assert before, "no compiled loops in the image"
for service in ("ingest.app", "metrics.worker", "alerts.worker", "gateway.app"):
    importlib.import_module(f"services.{service}")
import console.warm
console.warm.main()
assert sorted(p.name for p in cache.rglob("*.nb*")) == before, "something was compiled anew"
for tool in ("pip", "pip3", "gcc", "cc", "make"):
    assert shutil.which(tool) is None, f"{tool} is in the image"
for module in ("pip", "setuptools"):
    try:
        importlib.import_module(module)
    except ImportError:
        continue
    raise AssertionError(f"{module} is in the image")
for folder in ("/opt/yumai", "/opt/yumai/numba", "/etc", "/usr"):
    assert not os.access(folder, os.W_OK), f"{folder} can be written"
print("inside: right")
"""


def check(root: File, cache: File) -> Iterator[Finding]:
    env = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}

    def run(*command: str, seconds: int = 600) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=seconds, cwd=root
        )

    _base(run, cache)
    mounts = ["-v", "/etc/ssl/certs:/etc/ssl/certs:ro"] if File("/etc/ssl/certs").is_dir() else []
    built = run(
        *(
            "buildah",
            "bud",
            "--layers=false",
            "--force-rm",
            "--pull-never",
            "--network",
            "host",
            *mounts,
        ),
        *("--build-arg", f"BASE={BASE}", "-f", FILE, "-t", TAG, "."),
    )
    if built.returncode:
        steps = re.findall(r"STEP \d+/\d+: (.*)", built.stdout + built.stderr)
        yield Finding(FILE, steps[-1][:120] if steps else "(whole)", built.stderr.strip()[-600:])
        return
    container = run("buildah", "from", "--pull-never", TAG).stdout.strip()
    try:
        yield from _config(run)
        inside = run("buildah", "run", container, "--", "python", "-c", _INSIDE)
        if "inside: right" not in inside.stdout:
            yield Finding(
                FILE,
                "(inside)",
                inside.stderr.strip().splitlines()[-1]
                if inside.stderr.strip()
                else inside.stdout[-300:],
            )
        for module, told in COMMANDS.items():
            done = run("buildah", "run", container, "--", "python", "-m", module, "--check")
            if done.returncode or told not in done.stdout:
                yield Finding(
                    FILE, f"python -m {module} --check", (done.stderr or done.stdout).strip()[-500:]
                )
    finally:
        run("buildah", "rm", container)
        run("buildah", "rmi", "--force", TAG)


def _config(run) -> Iterator[Finding]:  # type: ignore[no-untyped-def]
    text = run(
        "buildah",
        "inspect",
        "--type",
        "image",
        "--format",
        "{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}}",
        TAG,
    ).stdout
    if text.strip() != "10001:10001 [python -m]":
        yield Finding(FILE, "USER, ENTRYPOINT", f"{text.strip()!r}: want '10001:10001 [python -m]'")


def _base(run, cache: File) -> None:  # type: ignore[no-untyped-def]
    """No registry has images here: Debian's own packages make one, once."""
    if run("buildah", "images", "-q", BASE).stdout.strip():
        return
    rootfs = cache / "rootfs"
    if not rootfs.is_dir():
        part = cache / "rootfs.part"
        run("rm", "-rf", str(part))
        packages = "python3,python3-venv,ca-certificates"
        done = run(
            "debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(part)
        )
        if done.returncode:
            raise RuntimeError(f"debootstrap: {done.stdout[-300:]} {done.stderr[-300:]}")
        part.rename(rootfs)
    container = run("buildah", "from", "scratch").stdout.strip()
    run("buildah", "add", "-q", container, str(rootfs), "/")
    run("buildah", "commit", "-q", "--rm", container, BASE)
