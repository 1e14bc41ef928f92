"""deploy/Containerfile, read without building: hadolint's rules, and what it tells our processes. The image itself: image.py."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path as File

from deploy.check.environment import KNOWN
from deploy.check.findings import Finding, near
from deploy.render.workloads import UID

FILE = "deploy/Containerfile"
READ = KNOWN | {"NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"}
_OURS = re.compile(r"(?:YUMAI|KAFKA|CLICKHOUSE|ALERTS|NUMBA)_\w+$")
FOLDERS = ("contracts", "yumai", "services", "console", "simulation", "deploy/image")
"""What the image is made of, with its lock."""
LABELS = ("title", "description", "vendor", "version", "revision", "created")


def check(root: File) -> Iterator[Finding]:
    command = [str(File(sysconfig.get_path("scripts")) / "hadolint"), "--format=json"]
    command += [f"--require-label=org.opencontainers.image.{name}:text" for name in LABELS]
    done = subprocess.run([*command, FILE], cwd=root, capture_output=True, text=True, timeout=60)
    for told in json.loads(done.stdout or "[]"):
        yield Finding(FILE, f"line {told['line']}", f"{told['code']}: {told['message']}")
    text = re.sub(r"\\\n\s*", " ", (root / FILE).read_text())
    final = text.rpartition("\nFROM ")[2]
    wanted = {"USER": f"{UID}:{UID}", "ENTRYPOINT": '["python", "-m"]'}
    for word, want in wanted.items():
        said = re.findall(rf"^{word} (.*)$", final, re.M)[-1:]
        if said != [want]:
            yield Finding(FILE, word, f"{said}: want {want}, as the manifests have it")
    for install in re.findall(r"^RUN .*\bpip install .*$", text, re.M):
        if "--require-hashes" not in install:
            yield Finding(FILE, "RUN", "want pip install --require-hashes of the lock")
    for folder in FOLDERS:
        if not re.search(rf"^COPY {folder}[ /]", text, re.M):
            yield Finding(FILE, "COPY", f"{folder} is not in the image")
    for line in re.findall(r"^ENV (.*)$", text, re.M):
        for variable in set(filter(_OURS.match, re.findall(r"(\w+)=", line))) - READ:
            told = f"nobody reads this variable{near(variable, READ)}"
            yield Finding(FILE, f"ENV {variable}", told)
