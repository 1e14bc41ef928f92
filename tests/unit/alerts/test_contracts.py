"""Stored examples of each record are read for ever."""

import json
from importlib.resources import files

import pytest

from contracts.actions import codec as actions
from contracts.alerts import codec as alerts
from contracts.targets import codec as targets


def example(name: str) -> bytes:
    return (files("contracts") / name).read_bytes()


@pytest.mark.parametrize("name", ["opened", "explained"])
def test_the_examples_of_alerts_are_read(name):
    raw = example(f"alerts/examples/{name}.json")
    step = alerts.decode_whole(raw)
    assert step.id == alerts.alert_id(step.year, step.district)
    written = json.loads(alerts.encode(step))
    assert json.loads(raw).items() <= written.items()


def test_what_only_the_writer_needs_is_not_shown():
    step = json.loads(alerts.encode(alerts.decode(example("alerts/examples/explained.json"))))
    assert not {"tell", "action"} & step.keys()
    assert step["work_item_id"] == "wi-2026-500101"


def test_the_example_of_an_action_is_read_and_written_alike():
    raw = example("actions/examples/explain.json")
    action = actions.decode(raw)
    assert isinstance(action, actions.Action)
    assert json.loads(actions.encode(action)) == json.loads(raw)


def test_the_example_of_a_target_is_read():
    raw = example("targets/examples/amount.json")
    target = targets.decode(raw)
    assert json.loads(raw).items() <= json.loads(targets.encode(target)).items()
