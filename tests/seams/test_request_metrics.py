"""What the alarms on the doors are made of: the real applications' own counters, read as Prometheus reads them."""

import re
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from services.gateway.app import build as gateway
from services.ingest.app import build as ingest
from tests.conftest import ROOT, free_port
from yumai.access import Identity
from yumai.observability.instruments import exposition
from yumai.process import settings

RULES = yaml.safe_load((ROOT / "deploy" / "rules.yaml").read_text())
ERRORS = {
    rule["labels"]["door"]: rule["expr"]
    for group in RULES["groups"]
    for rule in group["rules"]
    if rule.get("record") == "yumai:door_errors:ratio5m"
}
_SELECTOR = re.compile(r"(yumai_\w+_requests_total)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)(=~|=)"([^"]*)"')


def counted(selector: re.Match[str]) -> float:
    """Sum of the series that a selector of a rule chooses now."""
    name, matchers = selector[1], _MATCHER.findall(selector[2])

    def chosen(labels: dict[str, str]) -> bool:
        return all(
            re.fullmatch(said if how == "=~" else re.escape(said), labels[label])
            for label, how, said in matchers
        )

    text, _ = exposition("")
    return sum(
        sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == name and chosen(sample.labels)
    )


@pytest.fixture
def identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Identity:
    monkeypatch.setenv("YUMAI_IDENTITY_DIR", str(tmp_path))
    monkeypatch.setenv("KAFKA_BOOTSTRAP", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("CLICKHOUSE_DSN", f"http://127.0.0.1:{free_port()}/yumai")
    return Identity(tmp_path)


@pytest.mark.parametrize(
    ("door", "build", "request_"),
    [
        ("api", gateway, ("GET", "/v1/cells?from=2026-01-01&grain=month&group_by=district")),
        ("api", gateway, ("GET", "/v1/alerts/2026-500101")),
        ("http", ingest, ("POST", "/v1/entries")),
    ],
)
async def test_the_alarm_on_errors_sees_what_a_door_answers_while_all_is_away(
    identity: Identity, door: str, build, request_: tuple[str, str]
) -> None:
    app = build(settings.read())
    token = identity.issue_token("bureau")
    failed, all_ = _SELECTOR.finditer(ERRORS[door])
    before = counted(failed), counted(all_)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://yumai", timeout=60
        ) as client,
    ):
        answer = await client.request(
            *request_,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"},
        )
    assert answer.status_code == 503
    assert (counted(failed), counted(all_)) == (before[0] + 1, before[1] + 1)


async def test_who_is_turned_away_and_what_is_not_there_is_no_requests_error(identity: Identity):
    app = gateway(settings.read())
    _, all_ = _SELECTOR.finditer(ERRORS["api"])
    before = counted(all_)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://yumai"
    ) as client:
        assert (await client.get("/v1/cells")).status_code == 401
        assert (await client.get("/nowhere")).status_code == 404
        assert (await client.get("/pages/nothing.js")).status_code == 404
    assert counted(all_) == before
