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

from deploy.check import apiserver, compose, containerfile, control_plane, image, rules, static
from deploy.check.findings import Finding

ROOT = File(__file__).resolve().parents[2]
TOOLS = {
    "static": (),
    "compose": ("docker-compose",),
    "rules": ("promtool",),
    "apiserver": ("kubectl", *control_plane.PARTS, "etcd"),
    "image": ("buildah",),
}
"""Stage -> tools of tools.sh, in the order in which the stages run."""


class Skipped(Exception):
    """Why a stage, or a part of it, could not be run."""


class Machine:
    """What is on this machine, and what can be got."""

    def __init__(self, cache: File, crds_from: File, fetch: bool) -> None:
        self.cache, self._crds_from, self._fetch = cache, crds_from, fetch
        self._tried: set[tuple[str, ...]] = set()

    @property
    def crds(self) -> File:
        return self.cache / "crds"

    def tool(self, name: str) -> str | None:
        here = self.cache / "bin" / name
        return str(here) if here.is_file() else shutil.which(name)

    def need(self, *names: str) -> dict[str, str]:
        """Tools by name, got where they are missing. Raises Skipped."""
        if (
            any(self.tool(name) is None for name in names)
            and self._fetch
            and names not in self._tried
        ):
            self._tried.add(names)
            self._run("tools.sh", *names)
        found = {name: self.tool(name) for name in names}
        missing = [name for name, path in found.items() if path is None]
        if missing:
            raise Skipped(f"no {', '.join(missing)} (deploy/check/tools.sh builds or installs it)")
        return {name: path for name, path in found.items() if path}

    def definitions(self) -> None:
        if self._fetch:
            self._run("crds.sh", str(self._crds_from))

    def _run(self, script: str, *arguments: str) -> None:
        self.cache.mkdir(parents=True, exist_ok=True)
        command = ["bash", str(File(__file__).parent / script), str(self.cache), *arguments]
        log = self.cache / f"{script}.log"
        with log.open("w") as output:
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT)
        if done.returncode:
            print(
                f"  {script} {' '.join(arguments)}: exit code {done.returncode}, see {log}",
                flush=True,
            )


def _static(machine: Machine, skip: Callable[[str], None]) -> Iterable[Finding]:
    kubectl = machine.need("kubectl")["kubectl"]
    machine.definitions()
    found, unknown = static.check(ROOT, kubectl, machine.crds)
    for kind in sorted(unknown):
        skip(f"schema of {kind}: its definition is not in {machine.crds} (deploy/check/crds.sh)")
    return [*found, *containerfile.check(ROOT)]


def _compose(machine: Machine, skip: Callable[[str], None]) -> Iterable[Finding]:
    try:
        tool: str | None = machine.need("docker-compose")["docker-compose"]
    except Skipped as error:
        tool = None
        skip(f"docker compose config: {error}")
    return compose.check(ROOT, tool)


def _rules(machine: Machine, skip: Callable[[str], None]) -> Iterable[Finding]:
    return rules.check(ROOT, machine.need("promtool")["promtool"])


def _apiserver(machine: Machine, skip: Callable[[str], None]) -> Iterable[Finding]:
    tools = machine.need(*TOOLS["apiserver"])
    if not machine.crds.is_dir() or not any(machine.crds.iterdir()):
        raise Skipped("no definitions of the operators")
    if not (machine.crds / "clickhouse").is_dir():
        raise Skipped("the definitions of ClickHouse's operator are not there")
    bin_folder = File(tools["kube-apiserver"]).parent
    return apiserver.check(ROOT, tools["kubectl"], bin_folder, tools["etcd"], machine.crds)


def _image(machine: Machine, skip: Callable[[str], None]) -> Iterable[Finding]:
    machine.need("buildah")
    if os.geteuid():
        raise Skipped("building in a chroot needs root")
    return image.check(ROOT, machine.cache)


STAGES: dict[str, Callable[[Machine, Callable[[str], None]], Iterable[Finding]]] = {
    "static": _static,
    "compose": _compose,
    "rules": _rules,
    "apiserver": _apiserver,
    "image": _image,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.check", description=__doc__)
    parser.add_argument(
        "stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)}; default: all"
    )
    default = os.environ.get("YUMAI_K8S_TOOLS") or File.home() / ".cache/yumai/k8s"
    parser.add_argument(
        "--cache", type=File, default=File(default), help="tools and definitions (%(default)s)"
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

    def skip(why: str) -> None:
        nonlocal skipped
        skipped += 1
        print(f"  skipped: {why}", flush=True)

    for name in args.stages or STAGES:
        begun = time.monotonic()
        print(f"{name}:", flush=True)
        count = 0
        try:
            for finding in STAGES[name](machine, skip):
                count += 1
                print(f"{finding}", flush=True)
        except Skipped as error:
            skip(str(error))
        except control_plane.NotStarted as error:
            count += 1
            print(f"{Finding('deploy/check', name, str(error))}", flush=True)
        findings += count
        print(f"  {name}: {count} found, {time.monotonic() - begun:.1f} s", flush=True)
    print(f"k8s-check: {findings} found, {skipped} skipped")
    return 1 if findings or (skipped and args.complete) else 0


if __name__ == "__main__":
    sys.exit(main())
