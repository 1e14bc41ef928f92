"""deploy/Containerfile, read without building: hadolint's rules, and what our image must be."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path as File

from deploy.check.environment import KNOWN
from deploy.check.findings import Finding, near

FILE = "deploy/Containerfile"
OURS = ("YUMAI_", "KAFKA_", "CLICKHOUSE_", "ALERTS_", "NUMBA_")
READ = KNOWN | {"NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"}
PACKAGES = ("contracts", "yumai", "services", "console", "simulation", "requirements/image.txt")
LABELS = ("title", "description", "vendor", "version", "revision", "created")


def check(root: File) -> Iterator[Finding]:
    tool = File(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run(
        [str(tool), "--format", "json", FILE], cwd=root, capture_output=True, text=True, timeout=60
    )
    for told in json.loads(done.stdout or "[]"):
        yield Finding(FILE, f"line {told['line']}", f"{told['code']}: {told['message']}")
    text = (root / FILE).read_text()
    whole = re.sub(r"\\\n\s*", " ", text)
    final = whole.rpartition("\nFROM ")[2]
    users = re.findall(r"^USER (.*)$", final, re.M)
    if not users or not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", users[-1]):
        yield Finding(FILE, "USER", "want a number other than 0 (runAsNonRoot can check no name)")
    if re.findall(r"^ENTRYPOINT (.*)$", final, re.M) != ['["python", "-m"]']:
        want = 'want ["python", "-m"], which every args of the manifests follows'
        yield Finding(FILE, "ENTRYPOINT", want)
    if "--require-hashes" not in whole or re.search(r"\b(pip|apt-get|apt) install\b", final):
        yield Finding(
            FILE, "RUN", "want what is installed from the lock, by its hashes, in the first stage"
        )
    for label in LABELS:
        if f"org.opencontainers.image.{label}=" not in final:
            yield Finding(FILE, "LABEL", f"org.opencontainers.image.{label} is missing")
    for line in re.findall(r"^ENV (.*)$", whole, re.M):
        for variable in re.findall(r"(?:^|\s)(\w+)=", line):
            if variable.startswith(OURS) and variable not in READ:
                told = f"nobody reads this variable{near(variable, READ)}"
                yield Finding(FILE, f"ENV {variable}", told)
    copied = re.findall(r"^(?:COPY|ADD) (?!--from)(\S+) ", whole, re.M)
    for source in copied:
        if not (root / source).exists():
            yield Finding(FILE, "COPY", f"{source}: no such file")
    for package in PACKAGES:
        if package not in copied:
            yield Finding(FILE, "COPY", f"{package} is not in the image{near(package, copied)}")
