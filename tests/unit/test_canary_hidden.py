"""Nobody reads the store past the one place that hides the canary."""

import ast
from pathlib import Path

import pytest

from yumai import canary
from yumai.store import migrate

ROOT = Path(__file__).parents[2]
SEES_ALL = {
    # They write the books, or answer about a receipt by its id.
    "services/metrics/worker.py",
    "services/metrics/flush.py",
    "services/metrics/projections.py",
    "services/ingest/bookings.py",
}


def calls(path: Path) -> list[ast.Call]:
    return [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]


def sources() -> list[Path]:
    rooms = ("yumai", "services", "console", "embedded")
    return [path for room in rooms for path in (ROOT / room).rglob("*.py")]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_store_s_client_connects_and_only_writers_see_the_canary(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    for call in calls(path):
        function = ast.unparse(call.func)
        if function.rpartition(".")[2] in ("get_client", "get_async_client", "create_client"):
            assert name == "yumai/store/client.py"
        if any(k.arg == "with_canary" for k in call.keywords) and "connect" in function:
            assert name in SEES_ALL


def test_every_table_that_names_a_platform_of_an_entry_is_filtered() -> None:
    folder = Path(migrate.__file__).parent / "migrations"
    text = "\n".join(path.read_text() for path in sorted(folder.glob("*.sql")))
    tables = set()
    for statement in text.split(";"):
        _, found, rest = statement.partition("CREATE TABLE ")
        if found and "\n    platform LowCardinality" in rest:
            tables.add(rest.split()[0].partition("{")[0])
    assert tables
    for table in tables:
        assert f"'{table}':" in canary.HIDING[canary.FILTERS]
