"""Prometheus' own tools on our rules: do they parse, and do their unit tests hold?"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path as File

from deploy.check.findings import Finding

RULES, TESTS = "deploy/rules.yaml", "deploy/rules_test.yaml"


def check(root: File, promtool: str) -> Iterator[Finding]:
    for name, command in ((RULES, ["check", "rules"]), (TESTS, ["test", "rules"])):
        if not (root / name).is_file():
            yield Finding(name, "(whole)", "is missing")
            continue
        done = subprocess.run(
            [promtool, *command, File(name).name],
            cwd=root / "deploy",
            capture_output=True,
            text=True,
            timeout=240,
        )
        if done.returncode:
            text = " ".join((done.stderr + done.stdout).split())
            named = re.search(r'group "([^"]+)", rule (\d+), "([^"]+)"|name: ([^,]+)', text)
            yield Finding(name, named.group(0) if named else "(promtool)", text[-900:])
