"""Plants an error into a copy of the manifests, and says what the quick checks find."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.check import compose, static

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("YUMAI_K8S_TOOLS") or Path.home() / ".cache/yumai/k8s")
Edit = tuple[str, str, str]
"""(file, what stands there, what is planted)"""


def kubectl() -> str | None:
    own = CACHE / "bin/kubectl"
    return str(own) if own.is_file() else shutil.which("kubectl")


needs_kubectl = pytest.mark.skipif(kubectl() is None, reason="no kubectl (make k8s-check gets it)")
needs_definitions = pytest.mark.skipif(
    len(list((CACHE / "crds").glob("*/*.yaml"))) < 15, reason="make k8s-check gets the definitions"
)


def copy(to: Path) -> Path:
    """The parts of the repository that the checks read; the code is only looked at."""
    shutil.copytree(ROOT / "deploy", to / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (
        "contracts",
        "yumai",
        "services",
        "console",
        "simulation",
        "requirements",
        "docs",
    ):
        (to / folder).symlink_to(ROOT / folder)
    return to


def edit(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    text = path.read_text()
    assert old in text, f"{file} no longer has {old!r}: plant it elsewhere"
    path.write_text(text.replace(old, new, 1))


@pytest.fixture(scope="session")
def found_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[Edit, ...]], list[str]]:
    """Findings of a copy with these edits, as lines; each set of edits is checked once."""
    known: dict[tuple[Edit, ...], list[str]] = {}

    def check(edits: tuple[Edit, ...]) -> list[str]:
        if edits not in known:
            root = copy(tmp_path_factory.mktemp("planted"))
            for one in edits:
                edit(root, *one)
            tool = kubectl()
            assert tool is not None
            findings = [*static.check(root, tool), *compose.check(root, None)]
            known[edits] = [str(finding) for finding in findings]
        return known[edits]

    return check
