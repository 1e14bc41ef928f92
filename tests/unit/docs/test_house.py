"""docs/house.md names every folder, and what each may import."""

from __future__ import annotations

import ast
import re

import pytest

from tests.conftest import ROOT

ROW = re.compile(r"^\| `([\w/]+)` \| (.+?) \| ?(.*?) ?\|$", re.MULTILINE)
ROWS = {
    folder: frozenset(re.findall(r"`([\w/]+)`", may))
    for folder, _, may in ROW.findall((ROOT / "docs/house.md").read_text("utf-8"))
}
ROOMS = sorted({row.partition("/")[0] for row in ROWS})
MORE_OF_THE_SAME = ("deploy/k8s/", "deploy/compose/", "contracts/", "tests/")
"""Below these a folder is one more of the same: an overlay, a version's examples."""


def folders() -> set[str]:
    """Folders with a file of their own; what is compiled or built lies in others."""
    return {
        str(path.parent.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and not {"__pycache__", "node_modules"} & set(path.parts)
    }


def imported(folder: str) -> set[str]:
    """Folders of this checkout that the folder's own modules import."""
    found = set()
    for path in (ROOT / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                place = ROOT / name.replace(".", "/")
                while place != ROOT and not place.is_dir():
                    place = place.parent
                found.add(str(place.relative_to(ROOT)))
    return found - {".", folder}


def test_every_folder_has_its_row_and_every_row_its_folder() -> None:
    missing = {f for f in folders() - ROWS.keys() if not f.startswith(MORE_OF_THE_SAME)}
    assert missing == {"tests"}
    assert {row for row in ROWS if not (ROOT / row).is_dir()} == set()


@pytest.mark.parametrize("folder", [f for f in ROWS if not f.startswith("tests")])
def test_a_folder_imports_what_its_row_allows_and_all_of_it(folder: str) -> None:
    assert imported(folder) == ROWS[folder]
