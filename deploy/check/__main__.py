"""`make k8s-check`: every check that this machine has the tools for, the quick ones first.

Prints what it found, one line each: file, field, what is wrong. Exit code 1 when there is anything, 0 when there is
nothing; what could not be checked is told as `skipped: …`, with the reason, and with --complete is a failure too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path as File

from deploy.check import alarms, apiserver, compose, control_plane, image, static
from deploy.check.findings import Finding

ROOT = File(__file__).resolve().parents[2]
CLICKHOUSE_CRDS = ROOT.parent / "shared/k8s-crds/altinity"
"""Where YUMAI_CLICKHOUSE_CRDS names no other folder: no registry has them. YUMAI_K8S_TOOLS: where all is kept."""
TOOLS = {
    "static": ("kubectl",),
    "compose": ("docker-compose",),
    "rules": ("promtool",),
    "apiserver": ("kubectl", *control_plane.PARTS, "etcd"),
    "image": ("buildah", "rootfs"),
}
"""Stage -> tools of tools.sh, in the order in which the stages run."""


class Machine:
    """What is on this machine, and what can be got."""

    def __init__(self, fetch: bool) -> None:
        self.cache = File(os.environ.get("YUMAI_K8S_TOOLS") or File.home() / ".cache/yumai/k8s")
        self.crds, self._fetch = self.cache / "crds", fetch

    def tool(self, name: str) -> str | None:
        here = self.cache / ("rootfs" if name == "rootfs" else f"bin/{name}")
        return str(here) if here.exists() else shutil.which(name)

    def missing(self, stage: str) -> list[str]:
        """What a stage needs and there is not, after trying to get it."""
        away = [name for name in TOOLS[stage] if not self.tool(name)]
        if away:
            self._run("tools.sh", *away)
        found = [name for name in away if not self.tool(name)]
        if stage == "apiserver":
            self._run("crds.sh", os.environ.get("YUMAI_CLICKHOUSE_CRDS") or str(CLICKHOUSE_CRDS))
            found += [f"crds/{n}" for n in apiserver.DEFINED if not (self.crds / n).is_dir()]
        if stage == "image" and os.geteuid():
            found.append("root, to build in a chroot")
        return found

    def _run(self, script: str, *arguments: str) -> None:
        if not self._fetch:
            return
        self.cache.mkdir(parents=True, exist_ok=True)
        command = ["bash", str(File(__file__).parent / script), str(self.cache), *arguments]
        log = self.cache / f"{script}.log"
        with log.open("w") as output:
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT)
        if done.returncode:
            print(f"  {script}: exit code {done.returncode}, see {log}", flush=True)


def _apiserver(machine: Machine) -> Iterable[Finding]:
    kubectl, server, etcd = (str(machine.tool(n)) for n in ("kubectl", "kube-apiserver", "etcd"))
    return apiserver.check(ROOT, kubectl, File(server).parent, etcd, machine.crds)


STAGES: dict[str, Callable[[Machine], Iterable[Finding]]] = {
    "static": lambda machine: static.check(ROOT, machine.tool("kubectl")),
    "compose": lambda machine: compose.check(ROOT, machine.tool("docker-compose")),
    "rules": lambda machine: alarms.tried(ROOT, str(machine.tool("promtool"))),
    "apiserver": _apiserver,
    "image": lambda machine: image.check(ROOT, machine.cache),
}
IN_PART = {"static": "what Kustomize builds", "compose": "docker compose config"}
"""Stages that do without their tool, but for this."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.check", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--no-fetch", action="store_true", help="with what is there already")
    parser.add_argument("--complete", action="store_true", help="what was skipped is a failure")
    args = parser.parse_args()
    for name in args.stages:
        if name not in STAGES:
            parser.error(f"no stage {name!r}: want {', '.join(STAGES)}")
    machine = Machine(not args.no_fetch)
    findings, skipped = 0, 0
    for name in args.stages or STAGES:
        begun, count, missing = time.monotonic(), 0, machine.missing(name)
        print(f"{name}:", flush=True)
        if missing:
            skipped += 1
            why = f"no {', '.join(missing)} (deploy/check/tools.sh and crds.sh get them)"
            print(f"  skipped: {IN_PART.get(name, name)}: {why}", flush=True)
        try:
            for finding in STAGES[name](machine) if not missing or name in IN_PART else ():
                count += 1
                print(finding, flush=True)
        except control_plane.NotStarted as error:
            count += 1
            print(Finding("deploy/check", name, str(error)), flush=True)
        findings += count
        print(f"  {name}: {count} found, {time.monotonic() - begun:.1f} s", flush=True)
    print(f"k8s-check: {findings} found, {skipped} skipped")
    return 1 if findings or (skipped and args.complete) else 0


if __name__ == "__main__":
    sys.exit(main())
