"""Both overlays as Kustomize builds them: documents whose fields are found by paths."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

import yaml

from deploy.check.findings import Finding, Path, dotted

OVERLAYS = ("trial", "production")
MANIFESTS = "deploy/k8s"
_ORIGIN = "config.kubernetes.io/origin"
_TEMPLATES = {"Deployment": "spec template", "Job": "spec template"} | {
    "CronJob": "spec jobTemplate spec template"
}
Doc = dict[str, Any]


class NotBuilt(Exception):
    """Kustomize refused; its one argument is the finding."""


@dataclass
class Object:
    """`file`: where it begins; an overlay's patch may have changed a field."""

    doc: Doc
    file: str

    def __post_init__(self) -> None:
        self.kind, self.name = str(self.doc["kind"]), str(self.doc["metadata"]["name"])
        self.labels: dict[str, str] = self.doc["metadata"].get("labels") or {}
        self.spec: Doc = self.doc.get("spec") or {}
        self.template = _TEMPLATES.get(self.kind, "none")
        """Path of its pods' template."""

    def at(self, pattern: str) -> list[tuple[Path, Any]]:
        """Every field of a path such as `spec rules * backendRefs * name`, with where it stands."""
        return list(find(self.doc, tuple(pattern.split())))

    def get(self, pattern: str, default: Any = None) -> Any:
        """The first such field."""
        return next((value for _, value in self.at(pattern)), default)

    def finding(self, path: Path | str, message: str) -> Finding:
        field = path if isinstance(path, str) else dotted(path)
        return Finding(self.file, f"{self.kind} {self.name}: {field}", message)


@dataclass
class Tree:
    """One overlay, built."""

    objects: list[Object]

    def of(self, *kinds: str) -> Iterator[Object]:
        return (o for o in self.objects if o.kind in kinds)

    def find(self, kind: str, name: str) -> Object | None:
        return next((o for o in self.of(kind) if o.name == name), None)

    def names(self, kind: str) -> set[str]:
        return {o.name for o in self.of(kind)}


def find(here: Any, pattern: Path, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """`*` stands for every key or position, `**` for any number of them."""
    if not pattern:
        yield path, here
        return
    first, rest = pattern[0], pattern[1:]
    if first == "**":
        yield from find(here, rest, path)
    listed = enumerate(here) if isinstance(here, list) else ()
    for key, value in here.items() if isinstance(here, dict) else listed:
        if first == "**":
            yield from find(value, pattern, (*path, key))
        elif str(first) in ("*", str(key)):
            yield from find(value, rest, (*path, key))


def build(root: File, overlay: str, kubectl: str) -> Tree:
    """Raises NotBuilt."""
    folder = root.resolve() / MANIFESTS / "overlays" / overlay
    command = [kubectl, "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["kustomize said nothing"])[-1]
        file = f"{MANIFESTS}/overlays/{overlay}/kustomization.yaml"
        raise NotBuilt(Finding(file, "(whole)", last[-600:]))
    objects = []
    for doc in yaml.load_all(done.stdout, yaml.CSafeLoader):
        notes = doc["metadata"].pop("annotations", {})
        origin = yaml.safe_load(notes.pop(_ORIGIN, "{}"))
        doc["metadata"] |= {"annotations": notes} if notes else {}
        file = (folder / origin.get("path", "kustomization.yaml")).resolve()
        objects.append(Object(doc, str(file.relative_to(root.resolve()))))
    return Tree(objects)
