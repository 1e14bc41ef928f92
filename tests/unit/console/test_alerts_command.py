"""`yumai alerts`: what its options mean."""

from pathlib import Path

import pytest

from console.cli import build_parser


def parsed(*words: str):
    return build_parser(["console.commands.alerts"]).parse_args(["alerts", *words])


def test_a_state_of_alerts_is_told_from_a_state_directory(tmp_path: Path):
    args = parsed("list", "--state", str(tmp_path), "--state", "open")
    assert (args.state, args.alert_state) == (tmp_path, "open")
    assert parsed("list", "--state", "somewhere").state == Path("somewhere")
    assert parsed("show", "2026-500101", "--state", "open").state == Path("open")


def test_options_are_named_as_the_fields():
    args = parsed(
        *("explain", "x", "--text", "t", "--measure", "m", "--due_date", "2027-01-01"),
        *("--as", "district:500101"),
    )
    assert (args.due_date, args.role) == ("2027-01-01", "district:500101")
    with pytest.raises(SystemExit):
        parsed("explain", "x", "--text", "t")
