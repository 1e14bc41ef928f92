"""What only a real API server, promtool, compose itself or a built image notice: an error planted for each."""

import shutil
from pathlib import Path

import pytest

from deploy.check import alarms, apiserver, compose, control_plane, image, tree
from deploy.check.control_plane import running
from tests.deploy.conftest import CACHE, copy, edit, kubectl, needs_definitions, needs_kubectl


def tool(name: str) -> str | None:
    own = CACHE / "bin" / name
    return str(own) if own.is_file() else shutil.which(name)


needs_control_plane = pytest.mark.skipif(
    not all(tool(name) for name in (*control_plane.PARTS, "etcd")),
    reason="no control plane (make k8s-check builds it)",
)


@needs_kubectl
@needs_definitions
@needs_control_plane
@pytest.mark.timeout(600)
def test_a_real_api_server_refuses_what_schemas_let_pass(tmp_path: Path):
    """Rules across fields, Pod Security, a budget that no drain can keep, an apply that undoes the scaler's work."""
    root = copy(tmp_path)
    base = "deploy/k8s/base/"
    edit(root, base + "gateway.yaml", "memory: 1Gi", "memory: 100Mi")
    edit(root, base + "alerts.yaml", "unhealthyPodEvictionPolicy: AlwaysAllow", "minAvailable: 1")
    edit(
        root,
        base + "ingest.yaml",
        "allowPrivilegeEscalation: false",
        "allowPrivilegeEscalation: true",
    )
    edit(root, base + "clickhouse.yaml", "auto: 'true'", "auto: treu")
    edit(root, base + "kafka.yaml", "deleteClaim: false", "deleteClam: false")
    edit(root, base + "monitors.yaml", "scrapeTimeout", "scrapeTimout")
    command = kubectl()
    etcd = tool("etcd")
    assert command is not None
    assert etcd is not None
    built = tree.build(root, "production", command)
    with running(command, CACHE / "bin", etcd) as api:
        apiserver.define(api, CACHE / "crds")
        lines = [str(finding) for finding in apiserver.applied(api, built)]
        clean = tree.build(Path(__file__).parents[2], "production", command)
        assert list(apiserver.applied(api, clean)) == []
        budget = clean.find("PodDisruptionBudget", "gateway")
        assert budget is not None
        budget.doc["spec"] = {"minAvailable": 3, "selector": budget.spec["selector"]}
        list(apiserver.applied(api, clean))
        assert list(apiserver.rolled_out(api, clean)) == []
        apiserver.DRAIN_SECONDS = 8
        stuck = [str(finding) for finding in apiserver.drained(api, clean)]
        ingest = clean.find("Deployment", "ingest")
        assert ingest is not None
        ingest.doc["spec"]["replicas"] = 5
        again = [str(finding) for finding in apiserver.again(api, clean)]

    def told(file: str, *words: str) -> bool:
        return any(x.startswith(base + file) and all(w in x for w in words) for x in lines)

    assert told("gateway.yaml", "resources.requests", "less than or equal to memory limit"), lines
    assert told("alerts.yaml", "PodDisruptionBudget alerts: ", "both set"), lines
    assert told("ingest.yaml", "PodSecurity", "allowPrivilegeEscalation"), lines
    assert told("clickhouse.yaml", "clusters[0].secret.auto", "treu"), lines
    assert told("kafka.yaml", "KafkaNodePool controller", "deleteClam"), lines
    assert told("monitors.yaml", "scrapeTimout"), lines
    assert any("can't be drained" in x and x.startswith(base + "gateway.yaml") for x in stuck), (
        stuck
    )
    assert any("Deployment ingest" in x and "second apply changes it" in x for x in again), again


@pytest.mark.skipif(tool("promtool") is None, reason="no promtool")
def test_promtool_runs_the_rules_unit_tests(tmp_path: Path):
    root = copy(tmp_path)
    promtool = tool("promtool")
    assert promtool is not None
    edit(
        root,
        "deploy/rules.yaml",
        "max(yumai_metrics_lag_seconds) > bool 10",
        "max(yumai_metrics_lag_seconds) > bool 9999",
    )
    lines = [str(finding) for finding in alarms.tried(root, promtool)]
    assert any(x.startswith("deploy/rules_test.yaml: ") for x in lines), lines
    edit(root, "deploy/rules.yaml", "> bool 9999", "> bool (9999")
    lines = [str(finding) for finding in alarms.tried(root, promtool)]
    assert any(x.startswith("deploy/rules.yaml: ") for x in lines), lines


@pytest.mark.skipif(tool("docker-compose") is None, reason="no docker-compose")
def test_compose_itself_reads_the_file(tmp_path: Path):
    root = copy(tmp_path)
    assert list(compose.check(root, tool("docker-compose"))) == []
    edit(root, "deploy/compose.yaml", "- 127.0.0.1:3000:3000", "- 127.0.0.1:80000:3000")
    lines = [str(finding) for finding in compose.check(root, tool("docker-compose"))]
    assert any("compose config" in x and "80000" in x for x in lines), lines


@pytest.mark.skipif(shutil.which("buildah") is None, reason="no buildah")
@pytest.mark.skipif(
    not (CACHE / "rootfs").is_dir(), reason="no base image (make k8s-check makes it)"
)
@pytest.mark.timeout(300)
def test_an_image_that_can_not_be_built_says_at_which_step(tmp_path: Path):
    root = copy(tmp_path)
    edit(
        root,
        "deploy/Containerfile",
        "RUN python3 -m venv /opt/yumai",
        "RUN python3 -m vnev /opt/yumai",
    )
    lines = [str(finding) for finding in image.check(root, CACHE)]
    assert any("vnev" in x and x.startswith("deploy/Containerfile: ") for x in lines), lines
