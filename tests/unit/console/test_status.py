"""What `yumai status` says of its own, beside what it passes on."""

from pathlib import Path

import pytest

from console.cli import main
from console.commands.status import waits_for_workers


def test_records_that_wait_for_a_worker_are_told_and_nothing_else_is() -> None:
    engines = [{"name": "broker"}, {"name": "store"}, {"name": "ingest"}]
    assert waits_for_workers(engines, {"records": 9})
    assert not waits_for_workers(engines, {"records": 0})
    assert not waits_for_workers(engines, {"records": None})
    assert not waits_for_workers([*engines, {"name": "metrics-1"}], {"records": 9})


def test_a_state_directory_that_can_not_be_is_said_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert main(["up", "--empty", "--state", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err == f"yumai: {tmp_path}/file/logs: Not a directory\n"
