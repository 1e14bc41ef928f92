"""A file of more than 400 lines says in its first lines why it is one."""

import re

import pytest

from tests.conftest import ROOT

MOST = 400
FIRST = 12
WHY = re.compile(r"One file,|long because")
ROOMS = ("contracts", "yumai", "services", "embedded", "simulation", "console", "deploy", "bench")
KINDS = {".py", ".js", ".css", ".sh", ".sql", ".mjs"}
LONG = {
    str(path.relative_to(ROOT)): lines
    for room in (*ROOMS, "tests")
    for path in (ROOT / room).rglob("*")
    if path.suffix in KINDS and "node_modules" not in path.parts
    for lines in (len(path.read_text("utf-8").splitlines()),)
    if lines > MOST
}


@pytest.mark.parametrize("file", LONG)
def test_a_long_file_says_why(file: str) -> None:
    first = (ROOT / file).read_text("utf-8").splitlines()[:FIRST]
    assert WHY.search("\n".join(first)), f"{file} has {LONG[file]} lines"
