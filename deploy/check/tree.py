"""Built manifests, each of whose fields is known by the file that it was written in.

Kustomize says of an object only where it began; a field may come from a patch. So every source of an
object is kept, in the order of application, and a field belongs to the last one that has it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

import yaml

from deploy.check.findings import Finding, Path, dotted, near

OVERLAYS = ("trial", "production")
MANIFESTS = "deploy/k8s"
Doc = dict[str, Any]


class NotBuilt(Exception):
    """Kustomize refused; `finding` says where."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


class _Strict(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML's own loader keeps the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {name!r} stands twice", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def load_all(text: str) -> list[Any]:
    """Documents. Raises yaml.YAMLError, also for a key that stands twice."""
    return [doc for doc in yaml.load_all(text, _Strict) if doc is not None]


@dataclass
class Source:
    """A document as written: a resource, a merge patch, or an operation of a JSON patch."""

    file: str
    doc: Any
    at: Path = ()
    """Where a JSON patch puts it."""


@dataclass
class Object:
    doc: Doc
    sources: list[Source] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return str(self.doc.get("kind"))

    @property
    def name(self) -> str:
        return str(self.doc.get("metadata", {}).get("name"))

    @property
    def labels(self) -> dict[str, str]:
        return self.doc["metadata"].get("labels") or {}

    @property
    def spec(self) -> Doc:
        return self.doc.get("spec") or {}

    def get(self, path: Path, default: Any = None) -> Any:
        here: Any = self.doc
        for part in path:
            try:
                here = here[part]
            except (KeyError, IndexError, TypeError):
                return default
        return default if here is None else here

    def file_of(self, path: Path) -> str:
        """The last source that has all of this path; of a field that is nowhere, the first that has most."""
        best, depth = "", -1
        for source in self.sources:
            shared = _depth(source, path, self.doc)
            if shared > depth or shared == len(path):
                best, depth = source.file, shared
        return best

    def finding(self, path: Path, message: str) -> Finding:
        return Finding(self.file_of(path), f"{self.kind} {self.name}: {dotted(path)}", message)


def _depth(source: Source, path: Path, built: Any) -> int:
    """How many steps of the path the source has."""
    if source.at:
        if path[: len(source.at)] != source.at:
            return -1
        return len(source.at) + _walk(source.doc, path[len(source.at) :], None)
    return _walk(source.doc, path, built)


def _walk(doc: Any, path: Path, built: Any) -> int:
    steps = 0
    for part in path:
        if isinstance(part, int) and isinstance(doc, list):
            built = built[part] if isinstance(built, list) and part < len(built) else None
            named = isinstance(built, dict) and "name" in built
            if named and any(isinstance(x, dict) and "name" in x for x in doc):
                doc = next((x for x in doc if x.get("name") == built["name"]), None)
            else:
                doc = doc[part] if part < len(doc) else None
        elif isinstance(doc, dict) and part in doc:
            built = built.get(part) if isinstance(built, dict) else None
            doc = doc[part]
        else:
            return steps
        if doc is None:
            return steps
        steps += 1
    return steps


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


def parse_problems(root: File) -> list[Finding]:
    """Files that are no YAML, and files that no kustomization names."""
    found, used = [], set()
    folder = root / MANIFESTS
    for file in sorted(folder.rglob("*.yaml")):
        name = str(file.relative_to(root))
        try:
            docs = load_all(file.read_text())
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"line {mark.line + 1}" if mark else "(whole)"
            found.append(Finding(name, where, str(getattr(error, "problem", error))))
            continue
        if file.name != "kustomization.yaml":
            for doc in docs:
                space = (
                    (doc.get("metadata") or {}).get("namespace") if isinstance(doc, dict) else None
                )
                if space not in (None, "yumai"):
                    text = f"{space!r}: want it left out, or 'yumai'; Kustomize would hide it"
                    found.append(Finding(name, "metadata.namespace", text))
            continue
        used.add(file)
        found += _kustomization(name, docs[0] if docs else {}, folder)
        for key in ("resources", "patches"):
            for number, entry in enumerate((docs[0].get(key) or []) if docs else []):
                path = entry.get("path") if isinstance(entry, dict) else entry
                if path is None:
                    continue
                target = (file.parent / path).resolve()
                used.add(target)
                if not target.exists():
                    found.append(Finding(name, f"{key}[{number}]", f"{path!r}: no such file"))
    for file in sorted(folder.glob("*/**/*.yaml")):
        if file not in used:
            name = str(file.relative_to(root))
            found.append(Finding(name, "(whole)", "no kustomization.yaml names this file"))
    return found


def _kustomization(name: str, doc: Doc, folder: File) -> Iterator[Finding]:
    """Its namespace, and what patches and replicas are meant for."""
    if doc.get("namespace") != "yumai":
        yield Finding(name, "namespace", f"{doc.get('namespace')!r}: want 'yumai'")
    base = [d for f in sorted((folder / "base").glob("*.yaml")) for d in _objects(f)]
    kinds = {str(d.get("kind")) for d in base}
    for number, patch in enumerate(doc.get("patches") or []):
        target = patch.get("target") or {}
        if target and not any(
            target.get("kind") in (None, d.get("kind"))
            and target.get("name") in (None, (d.get("metadata") or {}).get("name"))
            for d in base
        ):
            text = f"{target}: no such object{near(target.get('kind'), kinds)}"
            yield Finding(name, f"patches[{number}].target", text)
    deployments = {d["metadata"]["name"] for d in base if d.get("kind") == "Deployment"}
    for number, entry in enumerate(doc.get("replicas") or []):
        if entry.get("name") not in deployments:
            text = f"no Deployment {entry.get('name')!r}{near(entry.get('name'), deployments)}"
            yield Finding(name, f"replicas[{number}].name", text)


def _objects(file: File) -> list[Doc]:
    try:
        return [d for d in yaml.load_all(file.read_text(), yaml.CSafeLoader) if isinstance(d, dict)]
    except yaml.YAMLError:  # told by parse_problems
        return []


def build(root: File, overlay: str, kubectl: str) -> Tree:
    """Raises NotBuilt."""
    folder = root / MANIFESTS / "overlays" / overlay
    done = subprocess.run(
        [kubectl, "kustomize", str(folder)], capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        raise NotBuilt(_refused(root, folder, done.stderr))
    sources: list[tuple[Doc | None, Source]] = []
    _sources(root, folder, sources)
    objects = [Object(doc) for doc in yaml.load_all(done.stdout, yaml.CSafeLoader) if doc]
    for obj in objects:
        for target, source in sources:
            if _is_for(target, source, obj):
                obj.sources.append(source)
        notes = obj.doc["metadata"].get("annotations", {})
        notes.pop("config.kubernetes.io/origin", None)
        if not notes:
            obj.doc["metadata"].pop("annotations", None)
    return Tree(overlay, objects)


def _refused(root: File, folder: File, text: str) -> Finding:
    last = text.strip().splitlines()[-1] if text.strip() else "kustomize said nothing"
    files = sorted((root / MANIFESTS).rglob("*.yaml"), key=lambda f: -len(str(f)))
    named = [f for f in files if f"'{f.name}'" in last or f" {f.name}" in last or str(f) in last]
    missing = re.search(r"missing path: ([^:\s]+)", last)
    patch = re.search(r'merge patch "(\w+)\.[^/"]*/([^."]+)', last)
    words = [missing.group(1)] if missing else list(patch.groups()) if patch else []
    tested = re.search(r"testing value (\S+) failed", last)
    if tested:
        patches = [f for f in files if f.is_relative_to(folder) and tested[1] in f.read_text()]
        if patches:
            return Finding(str(patches[0].relative_to(root)), f"op test {tested[1]}", last[-600:])
    if words:
        inside = [f for f in files if f.name != "kustomization.yaml" and f.is_relative_to(folder)]
        named = [f for f in inside if all(word in f.read_text() for word in words)] or named
    file = named[0] if named else folder / "kustomization.yaml"
    return Finding(str(file.relative_to(root)), "(whole)", last[-600:])


def _sources(root: File, folder: File, into: list[tuple[Doc | None, Source]]) -> None:
    """Resources first, then this folder's patches, as Kustomize applies them."""
    config = folder / "kustomization.yaml"
    kustomization = load_all(config.read_text())[0]
    for entry in kustomization.get("resources", []):
        target = (folder / entry).resolve()
        if target.is_dir():
            _sources(root, target, into)
            continue
        name = str(target.relative_to(root))
        into += [(None, Source(name, doc)) for doc in load_all(target.read_text())]
    for entry in kustomization.get("patches", []):
        target = (folder / entry["path"]).resolve()
        name = str(target.relative_to(root))
        for doc in load_all(target.read_text()):
            if isinstance(doc, list):  # a JSON patch
                for operation in doc:
                    steps = [
                        p.replace("~1", "/").replace("~0", "~")
                        for p in operation["path"].split("/")[1:]
                    ]
                    at = tuple(int(p) if p.isdigit() else p for p in steps)
                    if operation["op"] != "test":
                        into.append((entry["target"], Source(name, operation.get("value"), at)))
            else:
                into.append((entry.get("target"), Source(name, doc)))
    config_name = str(config.relative_to(root))
    for image in kustomization.get("images", []):
        into.append(({"image": image["name"]}, Source(config_name, image)))


def _is_for(target: Doc | None, source: Source, obj: Object) -> bool:
    if target is None:
        doc = source.doc
        return (
            isinstance(doc, dict)
            and doc.get("kind") == obj.kind
            and doc.get("metadata", {}).get("name") == obj.name
        )
    if "image" in target:
        return False
    return target.get("kind") in (None, obj.kind) and target.get("name") in (None, obj.name)
