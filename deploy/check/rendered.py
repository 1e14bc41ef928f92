"""What is rendered stands in the checkout as it would be rendered now; a difference is told by its field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import yaml

from deploy.check.findings import Finding, Path, dotted
from deploy.check.tree import Doc, load_all
from deploy.render.files import FILES, text


def check(root: File) -> Iterator[Finding]:
    for name, rendered in FILES.items():
        path = root / name
        committed = path.read_text(encoding="utf-8") if path.exists() else ""
        if committed == text(name):
            continue
        try:
            have = {_name(doc): doc for doc in load_all(committed)}
        except yaml.YAMLError:  # told by parse_problems
            continue
        want = {_name(doc): doc for doc in rendered.docs()}
        told = f"{rendered.source} says otherwise; `python -m deploy.render` writes it"
        if have == want:
            yield Finding(name, "(whole)", f"not as it is rendered: {told}")
        for one in sorted(set(have) | set(want)):
            if one not in want:
                yield Finding(name, one, f"is not rendered: {told}")
            elif one not in have:
                yield Finding(name, one, f"is missing: {told}")
            else:
                for at, here, there in _differences(have[one], want[one], ()):
                    field = f"{one}: {dotted(at)}"
                    yield Finding(name, field, f"{here}: want {there}; {told}")


def _name(doc: Doc) -> str:
    return f"{doc.get('kind')} {(doc.get('metadata') or {}).get('name')}"


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
