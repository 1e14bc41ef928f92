"""Manifests that follow from tables of the code are committed as they are rendered."""

from pathlib import Path

import pytest

from deploy.check import rendered
from deploy.render import kafka, networks, workloads
from deploy.render.files import FILES, text
from yumai.broker import principals, topics

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", FILES)
def test_what_is_committed_is_what_is_rendered(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == text(name), "python -m deploy.render"


def test_a_change_by_hand_is_told_by_its_field(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        changed = text(name).replace(
            "message.timestamp.type: LogAppendTime", "message.timestamp.type: CreateTime"
        )
        (tmp_path / name).write_text(changed, encoding="utf-8")
    (finding,) = rendered.check(tmp_path)
    assert finding.file.endswith("topics.yaml")
    assert "spec.config['message.timestamp.type']" in str(finding)
    assert "LogAppendTime" in str(finding)


def test_a_new_topic_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    more = topics.Topic("visits.v1", 1, "none", "who came")
    monkeypatch.setattr(topics, "TOPICS", (*topics.TOPICS, more))
    assert [doc["metadata"]["name"] for doc in kafka.shared()][-1] == "visits.v1"


def test_every_process_that_has_a_kafka_user_reaches_the_brokers() -> None:
    sources = {talk.source.name for talk in networks.talks() if talk.target is networks.BROKERS}
    assert set(principals.SERVICES) <= sources


def test_who_never_asks_the_store_does_not_reach_it() -> None:
    sources = {talk.source.name for talk in networks.talks() if talk.target is networks.CLICKHOUSE}
    without = {one.name for one in workloads.SERVICES if one.process.store is None}
    assert without
    assert not without & sources


def test_a_policy_opens_an_edge_at_both_ends() -> None:
    policies = {doc["metadata"]["name"]: doc["spec"] for doc in networks.policies()}
    for talk in networks.talks():
        if talk.target in networks.OURS:
            assert any(
                {port["port"] for port in rule.get("ports", [])} == set(talk.ports)
                and rule.get("from") == [talk.source.selector()]
                for rule in policies[talk.target.name]["ingress"]
            ), talk
        if talk.source in networks.OURS:
            assert policies[talk.source.name]["egress"], talk
