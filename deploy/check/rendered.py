"""What is rendered stands in the checkout as it would be rendered now; a difference is told by its field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import yaml

from deploy.check.findings import Finding, Path, dotted
from deploy.render.files import FILES, text

FOLDERS = ("deploy/k8s", "deploy/compose", "deploy/dashboards")
"""Whatever is in them is rendered."""


class _Strict(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML's own loader keeps the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(key) for key, _ in node.value]
        for number, name in enumerate(names):
            if name in names[:number]:
                mark = node.value[number][0].start_mark
                raise yaml.constructor.ConstructorError(
                    problem=f"key {name!r} stands twice", problem_mark=mark
                )
        return super().construct_mapping(node, deep)


def check(root: File) -> Iterator[Finding]:
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*.*")):
            name = str(file.relative_to(root))
            if file.is_file() and name not in FILES:
                yield Finding(name, "(whole)", "is not rendered (deploy/render/files.py)")
    for name, rendered in FILES.items():
        path, wanted = root / name, text(name)
        committed = path.read_text(encoding="utf-8") if path.exists() else ""
        if committed == wanted:
            continue
        told = f"{rendered.source} says otherwise; `python -m deploy.render` writes it"
        try:
            have = {_name(doc): doc for doc in yaml.load_all(committed, _Strict)}
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"line {mark.line + 1}" if mark else "(whole)"
            yield Finding(name, where, str(getattr(error, "problem", error)))
            continue
        want = {_name(doc): doc for doc in yaml.load_all(wanted, yaml.CSafeLoader)}
        if have == want:
            yield Finding(name, "(whole)", f"not as it is rendered: {told}")
        for one in sorted(set(have) ^ set(want)):
            what = "is missing" if one in want else "is not rendered"
            yield Finding(name, one, f"{what}: {told}")
        for one in sorted(set(have) & set(want)):
            for at, here, there in _differences(have[one], want[one], ()):
                field = f"{one}: {dotted(at)}".removeprefix(": ")
                yield Finding(name, field, f"{here}: want {there}; {told}")


def _name(doc: Any) -> str:
    """Of a manifest its kind and name; of any other file nothing."""
    metadata = doc.get("metadata") if isinstance(doc, dict) else None
    return f"{doc.get('kind')} {metadata.get('name')}" if isinstance(metadata, dict) else ""


def _differences(have: Any, want: Any, at: Path) -> Iterator[tuple[Path, str, str]]:
    """(where, what stands there, what should), the deepest that differs."""
    if isinstance(have, dict) and isinstance(want, dict):
        for key in dict.fromkeys([*want, *have]):
            if key not in have or key not in want:
                there = repr(want[key]) if key in want else "none"
                yield (*at, key), repr(have[key]) if key in have else "is missing", there
            else:
                yield from _differences(have[key], want[key], (*at, key))
    elif isinstance(have, list) and isinstance(want, list) and len(have) == len(want):
        for number, (one, other) in enumerate(zip(have, want, strict=True)):
            yield from _differences(one, other, (*at, number))
    elif have != want:
        yield at, repr(have), repr(want)
