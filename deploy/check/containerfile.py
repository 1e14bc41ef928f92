"""deploy/Containerfile, read without building: what an image of ours must and must not be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path as File

from deploy.check.environment import KNOWN
from deploy.check.findings import Finding, near

OURS = ("YUMAI_", "KAFKA_", "CLICKHOUSE_", "ALERTS_", "NUMBA_")
NUMBA = {"NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"}
FILE = "deploy/Containerfile"
LABELS = ("title", "description", "vendor", "version", "revision", "created")
WORDS = {
    "FROM",
    "ARG",
    "ENV",
    "RUN",
    "COPY",
    "LABEL",
    "WORKDIR",
    "USER",
    "ENTRYPOINT",
    "CMD",
    "ADD",
    "EXPOSE",
    "HEALTHCHECK",
    "STOPSIGNAL",
    "VOLUME",
    "SHELL",
}


def check(root: File) -> Iterator[Finding]:
    found = _instructions((root / FILE).read_text())
    for line, word, _ in found:
        if word not in WORDS:
            yield Finding(FILE, f"line {line}", f"{word!r}: no instruction{near(word, WORDS)}")
    last = max((n for n, (_, word, _) in enumerate(found) if word == "FROM"), default=0)
    final = found[last:]
    text = {word: " ".join(rest for _, w, rest in found if w == word) for word in WORDS}
    users = [(line, rest) for line, word, rest in final if word == "USER"]
    if not users:
        yield Finding(FILE, "USER", "is missing: it would run as root")
    elif not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", users[-1][1].strip()):
        yield Finding(
            FILE,
            f"line {users[-1][0]}: USER",
            f"{users[-1][1]}: want a number other than 0 (runAsNonRoot can check no name)",
        )
    if "--require-hashes" not in text["RUN"] or "-r /tmp/image.txt" not in text["RUN"]:
        yield Finding(FILE, "RUN", "want pip install --require-hashes -r of the lock")
    labels = " ".join(rest for _, word, rest in final if word == "LABEL")
    for label in LABELS:
        if f"org.opencontainers.image.{label}=" not in labels:
            yield Finding(FILE, "LABEL", f"org.opencontainers.image.{label} is missing")
    for line, word, rest in final:
        if word == "RUN" and re.search(r"\b(pip install|apt-get install|apt install)\b", rest):
            yield Finding(
                FILE, f"line {line}: RUN", "the last stage installs nothing: no build tools inside"
            )
    for line, word, rest in found:
        for variable in re.findall(r"(?:^|\s)(\w+)=", rest) if word == "ENV" else ():
            if variable.startswith(OURS) and variable not in KNOWN | NUMBA:
                message = f"nobody reads this variable{near(variable, KNOWN | NUMBA)}"
                yield Finding(FILE, f"line {line}: ENV {variable}", message)
    entry = [rest for _, word, rest in final if word == "ENTRYPOINT"]
    if entry[-1:] != ['["python", "-m"]']:
        yield Finding(
            FILE,
            "ENTRYPOINT",
            f'{entry[-1:]}: want ["python", "-m"], which every args of the manifests follows',
        )
    for line, word, rest in found:
        if word in ("COPY", "ADD") and "--from=" not in rest:
            for source in rest.split()[:-1]:
                if not (root / source).exists():
                    yield Finding(FILE, f"line {line}: {word}", f"{source}: no such file")
    packages = {
        rest.split()[0] for _, word, rest in found if word == "COPY" and "--from=" not in rest
    }
    for package in (
        "contracts",
        "yumai",
        "services",
        "console",
        "simulation",
        "requirements/image.txt",
    ):
        if package not in packages:
            yield Finding(FILE, "COPY", f"{package} is not in the image{near(package, packages)}")


def _instructions(text: str) -> list[tuple[int, str, str]]:
    """(line, instruction, the rest with its continuations)."""
    found: list[tuple[int, str, str]] = []
    open_ended = False
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        body = stripped.removesuffix("\\").strip()
        if open_ended:
            at, word, rest = found[-1]
            found[-1] = (at, word, f"{rest} {body}")
        else:
            word, _, rest = body.partition(" ")
            found.append((number, word, rest.strip()))
        open_ended = stripped.endswith("\\")
    return found
