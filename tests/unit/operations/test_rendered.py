"""Manifests that follow from tables of the code are committed as they are rendered."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deploy.check import rendered
from deploy.check.environment import KNOWN
from deploy.render import brokers, kafka, networks, settings, workloads
from deploy.render.files import FILES, text
from deploy.render.sizes import PRODUCTION, TRIAL, amount
from services.maintenance.__main__ import parser as maintenance
from yumai import topics
from yumai.broker import principals
from yumai.observability.telemetry import PROBES
from yumai.process import settings as process_settings

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
    found = [*rendered.check(tmp_path)]
    assert {finding.file.rpartition("/")[2] for finding in found} == {
        "topics.yaml",
        "platforms.yaml",
    }
    assert all("spec.config['message.timestamp.type']" in str(finding) for finding in found)
    assert all("LogAppendTime" in str(finding) for finding in found)


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


@pytest.mark.parametrize("service", workloads.SERVICES, ids=lambda one: one.name)
def test_a_service_has_the_time_that_its_end_takes(service: workloads.Service) -> None:
    before = workloads.ROUTED_SECONDS if service.routed else 0
    assert service.grace_seconds >= service.ends_in_seconds + before


@pytest.mark.parametrize(
    "process", [one.process for one in (*workloads.SERVICES, *workloads.JOBS)], ids=lambda p: p.name
)
def test_a_process_runs_a_module_that_takes_its_arguments(process: workloads.Process) -> None:
    module, *arguments = process.arguments
    assert (ROOT / module.replace(".", "/") / "__main__.py").is_file()
    if module == "services.maintenance":
        maintenance().parse_args(arguments)
    assert amount(process.memory) <= amount(process.memory_most)


def test_a_size_whose_numbers_contradict_is_refused() -> None:
    for size, wrong in (
        (PRODUCTION, {"heap": "10g"}),
        (PRODUCTION, {"keepers": 2}),
        (PRODUCTION, {"controllers": 4}),
        (PRODUCTION, {"partitions": 13, "workers": (2, 13)}),
        (TRIAL, {"workers": (1, 5)}),
        (TRIAL, {"doors": (3, 2)}),
        (TRIAL, {"workers_blind": 9}),
    ):
        with pytest.raises(ValueError, match="want"):
            replace(size, **wrong)


@pytest.mark.parametrize("service", workloads.SERVICES, ids=lambda one: one.name)
def test_a_service_is_asked_where_it_answers(service: workloads.Service) -> None:
    (container,) = service.docs()[2]["spec"]["template"]["spec"]["containers"]
    asked = {name: container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
    paths = {name: probe["httpGet"]["path"] for name, probe in asked.items()}
    assert paths == {
        "startup": "/health/live",
        "liveness": "/health/live",
        "readiness": "/health/ready",
    }
    assert set(paths.values()) <= set(PROBES)
    for probe in asked.values():
        assert probe.get("timeoutSeconds", 1) <= probe["periodSeconds"]
        assert probe["periodSeconds"] * probe["failureThreshold"] <= 600


def test_the_migration_job_bears_the_version_of_the_image() -> None:
    config = yaml.safe_load((ROOT / "deploy/k8s/base/kustomization.yaml").read_text())
    assert config["images"][0]["newTag"].replace(".", "-") == workloads.VERSION


MBEANS = {
    "kafka_server_replicamanager_underreplicatedpartitions": "kafka.server<type=ReplicaManager, name=UnderReplicatedPartitions><>Value",
    "kafka_server_replicamanager_underminisrpartitioncount": "kafka.server<type=ReplicaManager, name=UnderMinIsrPartitionCount><>Value",
    "kafka_controller_kafkacontroller_offlinepartitionscount": "kafka.controller<type=KafkaController, name=OfflinePartitionsCount><>Value",
}
"""Metric -> Kafka's MBean, as the JMX exporter shows it to its rules (Strimzi's examples name it so)."""


def test_kafka_exports_under_the_names_that_the_rules_ask_for() -> None:
    others = yaml.safe_load((ROOT / "deploy/metrics-of-others.yaml").read_text())
    assert set(others["strimzi-jmx-exporter"]) == set(MBEANS)
    (text,) = brokers.base()[-1]["data"].values()
    config = yaml.safe_load(text)
    (rule,) = config["rules"]
    assert config["lowercaseOutputName"] is True
    for metric, bean in MBEANS.items():
        found = re.search(rule["pattern"], bean)
        assert found
        assert re.sub(r"\$(\d)", lambda m, f=found: f[int(m[1])], rule["name"]).lower() == metric
        assert f"{bean.partition(', ')[0].replace('<', ':')},*" in config["includeObjectNames"]


def test_the_settings_that_all_share_are_read_by_somebody_and_valid() -> None:
    assert set(settings.SETTINGS) <= KNOWN
    files = ("KAFKA_SSL_CAFILE", "CLICKHOUSE_CAFILE")
    given = {k: v for k, v in settings.SETTINGS.items() if k not in files}
    user = {"KAFKA_SASL_USERNAME": "yumai-ingest", "KAFKA_SASL_PASSWORD": "secret"}
    store = {"CLICKHOUSE_DSN": f"https://reader@{workloads.DATABASE}", "CLICKHOUSE_PASSWORD": "x"}
    process_settings.read({**given, **user, **store, "YUMAI_PORT": "8701"})
