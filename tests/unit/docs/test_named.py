"""What can be typed, set or measured is named in the pages; what the pages let one type is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from console import cli
from tests.conftest import ROOT
from yumai.observability import telemetry
from yumai.process import settings

README = (ROOT / "README.md").read_text("utf-8")
PAGES = README + "".join(p.read_text("utf-8") for p in sorted((ROOT / "docs").glob("*.md")))
WATCHED = PAGES + "".join(
    path.read_text("utf-8")
    for pattern in ("rules.yaml", "dashboards/*.json", "k8s/base/scaling.yaml")
    for path in (ROOT / "deploy").glob(pattern)
)
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
TYPED = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
YUMAI = [
    line[line.index("yumai ") + 6 :]
    for line in TYPED
    if re.match(r"(\w+=\S+ )?(\.venv/bin/)?yumai ", line)
]
MAKE = sorted({line.split()[1] for line in TYPED if line.startswith("make ")})


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_is_named_in_a_page(command: str) -> None:
    assert re.search(rf"yumai {command}\b", PAGES)


@pytest.mark.parametrize("name", sorted(settings.variables()))
def test_every_setting_is_named_in_a_page(name: str) -> None:
    base = name.removesuffix("_FILE")
    assert re.search(rf"\b{base if base in settings.variables() else name}\b", PAGES)


@pytest.mark.parametrize("name", sorted(telemetry.CATALOGUE))
def test_every_metric_is_on_a_dashboard_in_an_alarm_or_in_a_page(name: str) -> None:
    assert re.search(rf"\b{name}(_bucket|_sum|_count)?\b", WATCHED)


@pytest.mark.parametrize("line", YUMAI)
def test_what_readme_lets_one_type_is_a_command_with_these_options(line: str) -> None:
    words = [word for word in shlex.split(line) if word != "…"]
    parser = cli.build_parser(cli.modules_for(words))
    if "--help" in words:
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(words)
        assert ended.value.code == 0
    else:
        parser.parse_args(words)


@pytest.mark.parametrize("target", MAKE)
def test_what_readme_lets_one_make_is_a_target(target: str) -> None:
    assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_first_block_is_the_two_commands() -> None:
    assert re.findall(r"^make \w+", BLOCKS[0], re.MULTILINE) == ["make run", "make test"]
    assert YUMAI
    assert Path(ROOT / "docs/page.png").is_file()
