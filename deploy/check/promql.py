"""Names and labels in a PromQL expression, by its tokens: enough for our rules and dashboards."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r'"(?:\\.|[^"\\])*"|\[[^\]]*\]|\d+(?:\.\d+)?(?:e[+-]?\d+)?(?:ms|[smhdwy])?\b|[A-Za-z_:][A-Za-z0-9_:]*|[(){},]|=~|!~|!=|[^\s\w]'
)
_CLAUSES = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {"and", "or", "unless", "offset", "bool", "inf", "nan"}
_NAME = re.compile(r"[A-Za-z_:]")


def used(expression: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Every metric with its matchers (label -> the text it is compared with)."""
    tokens = _TOKEN.findall(expression)
    at = 0
    while at < len(tokens):
        token = tokens[at]
        after = tokens[at + 1] if at + 1 < len(tokens) else ""
        if not _NAME.match(token) or token.lower() in _WORDS:
            at += 1
        elif token.lower() in _CLAUSES:
            at = tokens.index(")", at) + 1
        elif after == "(" or after in ("by", "without"):  # a function
            at += 1
        else:
            matchers = {}
            at += 1
            if after == "{":
                end = tokens.index("}", at)
                inside = tokens[at + 1 : end]
                for n, word in enumerate(inside):
                    if word in ("=", "!=", "=~", "!~"):
                        matchers[inside[n - 1]] = inside[n + 1][1:-1]
                at = end + 1
            yield token, matchers


def grouped(expression: str) -> set[str]:
    """Labels named in by, on and their like."""
    found: set[str] = set()
    for clause in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expression):
        found |= {label.strip() for label in clause.split(",") if label.strip()}
    return found
