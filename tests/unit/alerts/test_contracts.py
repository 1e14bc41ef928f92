"""Stored examples of each record are read for ever."""

import json
from importlib.resources import files

from contracts.alerts import codec as alerts
from contracts.targets import codec as targets


def example(name: str) -> bytes:
    return (files("contracts") / name).read_bytes()


def test_the_example_of_an_alert_is_read_and_written_alike():
    step = alerts.decode(example("alerts/examples/opened.json"))
    assert step.id == alerts.alert_id(step.year, step.district)
    assert json.loads(alerts.encode(step)) == json.loads(example("alerts/examples/opened.json"))


def test_the_example_of_a_target_is_read_and_written_alike():
    target = targets.decode(example("targets/examples/growth.json"))
    assert target.key == "2026/500103/"
    assert [v.version for v in target.versions] == [1, 2]
    assert json.loads(targets.encode(target)) == json.loads(example("targets/examples/growth.json"))


def test_a_target_without_history_is_its_own_only_version():
    target = targets.decode(example("targets/examples/amount.json"))
    assert target.key == "2026/500101/"
    (only,) = target.versions
    assert (only.version, only.target_fen, only.by) == (1, 3_200_000_000_000, "bureau")


def test_a_target_may_leave_out_what_is_not_needed_to_judge():
    target = targets.decode(b'{"year":2026,"district":"500101","sector":null,"target_fen":5}')
    assert target.target_fen == 5
