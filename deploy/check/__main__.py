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

from deploy.check import apiserver, compose, control_plane, image, rules, static
from deploy.check.findings import Finding

ROOT = File(__file__).resolve().parents[2]
TOOLS = {
    "static": ("kubectl",),
    "compose": ("docker-compose",),
    "rules": ("promtool",),
    "apiserver": ("kubectl", *control_plane.PARTS, "etcd"),
    "image": ("buildah", "rootfs"),
}
"""Stage -> tools of tools.sh, in the order in which the stages run."""


class Skipped(Exception):
    """Why a stage could not be run."""


class Machine:
    """What is on this machine, and what can be got."""

    def __init__(self, cache: File, crds_from: File, fetch: bool) -> None:
        self.cache, self.crds, self._crds_from, self._fetch = (
            cache,
            cache / "crds",
            crds_from,
            fetch,
        )

    def tool(self, name: str) -> str | None:
        here = self.cache / ("rootfs" if name == "rootfs" else f"bin/{name}")
        return str(here) if here.exists() else shutil.which(name)

    def get(self, stage: str) -> list[str]:
        """Tools of a stage that are missing after all."""
        missing = [name for name in TOOLS[stage] if not self.tool(name)]
        if missing and self._fetch:
            self._run("tools.sh", *missing)
        if stage == "apiserver" and self._fetch:
            self._run("crds.sh", str(self._crds_from))
        return [name for name in missing if not self.tool(name)]

    def _run(self, script: str, *arguments: str) -> None:
        self.cache.mkdir(parents=True, exist_ok=True)
        command = ["bash", str(File(__file__).parent / script), str(self.cache), *arguments]
        log = self.cache / f"{script}.log"
        with log.open("w") as output:
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT)
        if done.returncode:
            print(f"  {script}: exit code {done.returncode}, see {log}", flush=True)


def _apiserver(machine: Machine) -> Iterable[Finding]:
    missing = [name for name in apiserver.DEFINED if not (machine.crds / name).is_dir()]
    if missing:
        raise Skipped(f"no definitions of {', '.join(missing)} (deploy/check/crds.sh)")
    tools = {name: str(machine.tool(name)) for name in TOOLS["apiserver"]}
    bin_folder = File(tools["kube-apiserver"]).parent
    return apiserver.check(ROOT, tools["kubectl"], bin_folder, tools["etcd"], machine.crds)


def _image(machine: Machine) -> Iterable[Finding]:
    if os.geteuid():
        raise Skipped("building in a chroot needs root")
    return image.check(ROOT, machine.cache)


STAGES: dict[str, Callable[[Machine], Iterable[Finding]]] = {
    "static": lambda machine: static.check(ROOT, machine.tool("kubectl")),
    "compose": lambda machine: compose.check(ROOT, machine.tool("docker-compose")),
    "rules": lambda machine: rules.check(ROOT, str(machine.tool("promtool"))),
    "apiserver": _apiserver,
    "image": _image,
}
IN_PART = {"static": "what Kustomize builds", "compose": "docker compose config"}
"""Stages that do without their tool, but for this."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.check", description=__doc__)
    parser.add_argument(
        "stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)}; default: all"
    )
    cache = os.environ.get("YUMAI_K8S_TOOLS") or File.home() / ".cache/yumai/k8s"
    parser.add_argument(
        "--cache", type=File, default=File(cache), help="tools and definitions (%(default)s)"
    )
    parser.add_argument("--no-fetch", action="store_true", help="with what is there already")
    parser.add_argument("--complete", action="store_true", help="what was skipped is a failure")
    crds = os.environ.get("YUMAI_CLICKHOUSE_CRDS") or ROOT.parent / "shared/k8s-crds/altinity"
    parser.add_argument(
        "--clickhouse-crds", type=File, default=File(crds), help="a folder (%(default)s)"
    )
    args = parser.parse_args()
    for name in args.stages:
        if name not in STAGES:
            parser.error(f"no stage {name!r}: want {', '.join(STAGES)}")
    machine = Machine(args.cache, args.clickhouse_crds, not args.no_fetch)
    findings, skipped = 0, 0
    for name in args.stages or STAGES:
        begun, count = time.monotonic(), 0
        print(f"{name}:", flush=True)
        try:
            if missing := machine.get(name):
                why = f"no {', '.join(missing)} (deploy/check/tools.sh builds or installs it)"
                if name not in IN_PART:
                    raise Skipped(why)
                skipped += 1
                print(f"  skipped: {IN_PART[name]}: {why}", flush=True)
            for finding in STAGES[name](machine):
                count += 1
                print(finding, flush=True)
        except Skipped as error:
            skipped += 1
            print(f"  skipped: {error}", flush=True)
        except control_plane.NotStarted as error:
            count += 1
            print(Finding("deploy/check", name, str(error)), flush=True)
        findings += count
        print(f"  {name}: {count} found, {time.monotonic() - begun:.1f} s", flush=True)
    print(f"k8s-check: {findings} found, {skipped} skipped")
    return 1 if findings or (skipped and args.complete) else 0


if __name__ == "__main__":
    sys.exit(main())
