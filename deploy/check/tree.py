"""Both overlays as Kustomize builds them, and compose: documents whose fields are found by paths."""

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
_POD = {
    "Deployment": ("spec", "template", "spec"),
    "Job": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
Doc = dict[str, Any]


class NotBuilt(Exception):
    """Kustomize refused; `finding` says where."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


@dataclass
class Object:
    """`file`: where it begins; an overlay's patch may have changed a field."""

    doc: Doc
    file: str

    @property
    def kind(self) -> str:
        return str(self.doc.get("kind"))

    @property
    def name(self) -> str:
        return str(self.doc["metadata"]["name"])

    @property
    def labels(self) -> dict[str, str]:
        return self.doc["metadata"].get("labels") or {}

    @property
    def spec(self) -> Doc:
        return self.doc.get("spec") or {}

    def at(self, pattern: str) -> list[tuple[Path, Any]]:
        """Every field of a path such as `spec rules * backendRefs * name`, with where it stands."""
        return list(find(self.doc, tuple(pattern.split())))

    def get(self, pattern: str, default: Any = None) -> Any:
        """The first such field."""
        return next((value for _, value in self.at(pattern)), default)

    def finding(self, path: Path | str, message: str) -> Finding:
        field = path if isinstance(path, str) else dotted(path)
        return Finding(self.file, f"{self.kind} {self.name}: {field}", message)

    def pod(self) -> tuple[Path, Doc] | None:
        """A pod template's spec, with its path."""
        path = _POD.get(self.kind)
        return (path, self.get(" ".join(path), {})) if path else None


@dataclass
class Tree:
    """One overlay, built."""

    overlay: str
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
    steps = here.items() if isinstance(here, dict) else ()
    steps = enumerate(here) if isinstance(here, list) else steps
    for key, value in steps:
        if first == "**":
            yield from find(value, pattern, (*path, key))
        elif str(first) in ("*", str(key)):
            yield from find(value, rest, (*path, key))


def build(root: File, overlay: str, kubectl: str) -> Tree:
    """Raises NotBuilt."""
    folder = File(MANIFESTS) / "overlays" / overlay
    done = subprocess.run(
        [kubectl, "kustomize", str(root / folder)], capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["kustomize said nothing"])[-1]
        raise NotBuilt(Finding(str(folder / "kustomization.yaml"), "(whole)", last[-600:]))
    objects = []
    for doc in yaml.load_all(done.stdout, yaml.CSafeLoader):
        origin = yaml.safe_load(doc["metadata"].get("annotations", {}).pop(_ORIGIN, "{}"))
        file = (root / folder / origin.get("path", "kustomization.yaml")).resolve()
        if not doc["metadata"].get("annotations", True):
            del doc["metadata"]["annotations"]
        objects.append(Object(doc, str(file.relative_to(root.resolve()))))
    return Tree(overlay, objects)
