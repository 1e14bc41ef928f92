"""What a comment, a docstring or a page cites stands in the checkout: files, and sections of a page."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
ROOMS = (
    "bench",
    "console",
    "contracts",
    "deploy",
    "docs",
    "embedded",
    "services",
    "simulation",
    "tests",
    "yumai",
)
_PATH = re.compile(
    rf"(?<![\w/.-])(?:{'|'.join(ROOMS)})/[\w./-]*\w\.(?:py|md|ya?ml|sql|csv|json|mjs|js|html|png)\b"
)
_SECTION = re.compile(r"(docs/[\w-]+\.md), ([A-Z][\w ,-]*?)(?=[).;:`\"']|$)", re.MULTILINE)
_ELSEWHERE = re.compile(r"\b(?:METHODS|BLUEPRINT|ENGINES|STYLE)(?:\.md)?(?: §|\b(?=[,.;:)]))")
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def tracked(*patterns: str) -> list[Path]:
    """Files of the checkout; what is installed or built lies in other folders."""
    rooms = [ROOT, *(ROOT / room for room in ROOMS)]
    return sorted(
        path
        for room in rooms
        for pattern in patterns
        for path in (room.glob(pattern) if room == ROOT else room.rglob(pattern))
        if "__pycache__" not in path.parts
    )


def prose(source: str) -> Iterator[str]:
    """Comments (those in adjacent lines as one) and every string that stands alone as a statement."""
    comments: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line = token.start[0]
            text = token.string.lstrip("# ")
            if comments and comments[-1][0] == line - 1:
                comments[-1] = (line, f"{comments[-1][1]} {text}")
            else:
                comments.append((line, text))
    yield from (text for _, text in comments)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(ast.Constant(str() as text)):
                yield " ".join(text.split())


def said() -> Iterator[tuple[str, str]]:
    """(file, text) of all prose: of Python its comments and docstrings, of pages all of it."""
    for path in tracked("*.py"):
        for text in prose(path.read_text(encoding="utf-8")):
            yield str(path.relative_to(ROOT)), text
    for path in tracked("*.md", "Makefile", "*.yaml", "*.sql", "*.js"):
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def sections(page: Path) -> set[str]:
    return {
        line.lstrip("#").strip()
        for line in page.read_text(encoding="utf-8").split("\n")
        if line.startswith("#")
    }


def test_every_file_that_is_cited_exists() -> None:
    missing = {
        (file, path)
        for file, text in said()
        for path in _PATH.findall(text)
        if not (ROOT / path).exists()
    }
    assert not missing


def test_every_section_that_is_cited_exists() -> None:
    missing = {
        (file, page, section)
        for file, text in said()
        for page, section in _SECTION.findall(text)
        if (ROOT / page).exists() and section.strip() not in sections(ROOT / page)
    }
    assert not missing


def test_nothing_cites_a_page_that_a_stranger_does_not_have() -> None:
    assert not {(file, m[0]) for file, text in said() for m in [_ELSEWHERE.search(text)] if m}


def test_every_link_of_a_page_leads_somewhere() -> None:
    missing = {
        (str(page.relative_to(ROOT)), target)
        for page in tracked("*.md")
        for target in _LINK.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    }
    assert not missing
