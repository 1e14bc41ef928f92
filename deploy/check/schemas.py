"""Every field of every object against its schema, strictly: Kubernetes' own and the operators' definitions."""

from __future__ import annotations

import functools
import json
import re
from importlib.resources import files
from pathlib import Path as File
from typing import Any

import jsonschema
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from deploy.check.findings import Finding, Path, listed, near
from deploy.check.tree import Object, Tree

VERSION = "v1.37.0-local-strict"
_CORE = ("apps", "batch", "policy", "autoscaling")


@functools.cache
def _folder() -> Any:
    return files("kubernetes_validate") / "kubernetes-json-schema" / VERSION


@functools.cache
def _registry() -> Registry:
    schema = json.loads((_folder() / "_definitions.json").read_text())
    schema.pop("$id", None)
    schema.pop("$schema", None)
    return Registry().with_resource(
        "/api/_definitions.json", Resource.from_contents(schema, default_specification=DRAFT7)
    )


def _core_schema(api_version: str, kind: str) -> dict[str, Any] | None:
    group, _, version = api_version.rpartition("/")
    short = group.split(".")[0]
    name = "-".join(filter(None, (kind.lower(), short, version))) + ".json"
    path = _folder() / name
    if not path.is_file():
        return None
    schema: dict[str, Any] = json.loads(path.read_text())
    schema.pop("$id", None)
    schema.pop("$schema", None)
    return schema


@functools.cache
def definitions(folder: File) -> dict[tuple[str, str], dict[str, Any]]:
    """(apiVersion, kind) -> schema, of the operators' definitions in the cache."""
    found = {}
    for file in sorted(folder.glob("*/*.yaml")):
        for doc in yaml.load_all(file.read_text(), yaml.CSafeLoader):
            if not doc or doc.get("kind") != "CustomResourceDefinition":
                continue
            spec = doc["spec"]
            for version in spec["versions"]:
                schema = _strict(version["schema"]["openAPIV3Schema"])
                schema.setdefault("properties", {}).update(
                    apiVersion={"type": "string"},
                    kind={"type": "string"},
                    metadata={"type": "object"},
                )
                key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                found[key] = schema
    return found


def _strict(schema: Any) -> Any:
    """A structural schema as JSON Schema that refuses what it does not name."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    done = {key: _strict(value) for key, value in schema.items()}
    open_ended = done.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(done.get("properties"), dict) and not open_ended:
        done.setdefault("additionalProperties", False)
    if done.get("x-kubernetes-int-or-string"):
        for key in ("type", "anyOf"):
            done.pop(key, None)
        done["type"] = ["string", "integer"]
    if done.get("nullable") and isinstance(done.get("type"), str):
        done["type"] = [done["type"], "null"]
    return done


def check(
    tree: Tree, crds: dict[tuple[str, str], dict[str, Any]]
) -> tuple[list[Finding], set[str]]:
    """Findings, and the kinds whose definition is not in the cache."""
    found: list[Finding] = []
    unknown: set[str] = set()
    for obj in tree.objects:
        api_version = str(obj.doc.get("apiVersion"))
        key = (api_version, obj.kind)
        schema = crds.get(key)
        if schema is None:
            schema = _core_schema(api_version, obj.kind)
        if schema is None:
            if _group(api_version) in {_group(api) for api, _ in crds} or _is_core(api_version):
                known = [f"{a} {k}" for a, k in crds if k == obj.kind or a == api_version]
                found.append(
                    obj.finding(
                        ("apiVersion",), f"{api_version} {obj.kind}: no such kind; {listed(known)}"
                    )
                )
            else:
                unknown.add(f"{api_version} {obj.kind}")
            continue
        validator = jsonschema.Draft7Validator(schema, registry=_registry())
        for error in validator.iter_errors(obj.doc):
            found += _told(obj, error)
    return found, unknown


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _is_core(api_version: str) -> bool:
    group = _group(api_version)
    return group in ("", *_CORE) or (group.endswith(".k8s.io") and "gateway" not in group)


def _told(obj: Object, error: jsonschema.ValidationError) -> list[Finding]:
    path: Path = tuple(error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.schema, dict):
        known = error.schema.get("properties", {})
        return [
            obj.finding(
                (*path, name), f"unknown field{near(name, known)}; known: {listed(known)}"[:400]
            )
            for name in error.instance
            if name not in known
        ]
    if error.validator == "required":
        missing = re.match(r"'([^']+)'", error.message)
        name = missing.group(1) if missing else "?"
        return [obj.finding((*path, name), "is missing")]
    if error.context:
        deepest = max(error.context, key=lambda e: len(e.absolute_path))
        return [obj.finding(tuple(deepest.absolute_path), deepest.message[:300])]
    return [obj.finding(path, error.message[:300])]
