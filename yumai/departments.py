"""The plan's departments by code: (zh, en). Pure."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def departments() -> dict[str, tuple[str, str]]:
    text = (files("yumai") / "reference" / "plan.yaml").read_text(encoding="utf-8")
    found: dict[str, tuple[str, str]] = {}
    said: dict[str, str] = {}
    inside = False
    for line in text.splitlines():
        if not line.startswith((" ", "-")):
            inside = line == "departments:"
        elif inside:
            name, _, value = line.strip("- ").partition(": ")
            said[name] = value.strip("'\"")
            found[said["code"]] = (said.get("zh", ""), said.get("en", ""))
    return found
