"""What commands say where there is nothing, and of whom there is nobody."""

from pathlib import Path

import pytest

from console.commands import books
from simulation.demo.bar import Bar
from yumai.access import Identity


def test_no_dead_letters_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    books._print_text(iter(()))
    assert capsys.readouterr().out == "no dead letters\n"


def test_a_token_is_for_a_district_that_is_or_was(tmp_path: Path) -> None:
    identity = Identity(tmp_path)
    assert identity.issue_token("district:500105")
    with pytest.raises(ValueError, match="999999"):
        identity.issue_token("district:999999")


def test_the_gap_since_the_last_run_is_no_day_of_history() -> None:
    said: list[str] = []
    bar = Bar(1, 5_000_000, said.append)
    bar.advance(12, "2026-11-24")
    bar.close()
    assert said == ["history: up to now, 12 entries more"]
