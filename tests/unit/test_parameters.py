"""No function takes more than eight parameters: what belongs together has a name of its own."""

import ast

import pytest

from tests.conftest import ROOT

MOST = 8
ROOMS = ("contracts", "yumai", "services", "embedded", "simulation", "console", "deploy", "bench")
FILES = sorted(str(p.relative_to(ROOT)) for room in ROOMS for p in (ROOT / room).rglob("*.py"))


def named(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[str]:
    of = function.args
    names = [one.arg for one in (*of.posonlyargs, *of.args, *of.kwonlyargs)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


@pytest.mark.parametrize("file", FILES)
def test_a_function_has_at_most_eight_parameters(file: str) -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    tree = ast.walk(ast.parse((ROOT / file).read_text("utf-8")))
    found = {node.lineno: len(named(node)) for node in tree if isinstance(node, kinds)}
    assert {line: n for line, n in found.items() if n > MOST} == {}
