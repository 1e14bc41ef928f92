"""Every route of gateway and ingest at the edges of its parameters and bodies: an answer or a refusal, never a 500.

One file, since what is drawn for a route and what it may answer stand side by side.
"""

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from contracts.reasons import REASONS
from contracts.work_items.codec import FIELDS as ITEM_FIELDS
from services.gateway import app, parameters, requests
from services.ingest import app as ingest_app
from tests import documented
from tests.conftest import free_port, running
from tests.seams.test_gateway import world
from yumai.access import Identity
from yumai.broker import epochs
from yumai.process.settings import Settings
from yumai.targets.asked import FIELDS as TARGET_FIELDS

ROLES = ("bureau", "district:500101", "platform:p1")
DAYS = [
    "0001-01-01",
    "1969-12-31",
    "1970-01-01",
    "2026-02-29",
    "2026-W45-1",
    "2106-02-08",
    "2149-06-07",
]
DAYS += ["9999-12-31", "٢٠٢٦-٠١-٠١", "2026-01-01"]
NUMBERS = [
    "-1",
    "0",
    "1",
    "999",
    "1000",
    "1969",
    "2026",
    "2999",
    "9" * 400,
    "1e400",
    "NaN",
    "٣",
    "1.5",
]
TEXTS = [
    "",
    " ",
    "*",
    "%00",
    "%ED%A0%80",
    "%F0%9F%92%A9",
    "%FF",
    "%0d%0aX: y",
    "=1",
    "'",
    '"',
    "\\",
    "a" * 3_000,
]
TEXTS += [
    "{a:Int8}",
    "city",
    "500101",
    "000000",
    "S01",
    "U00",
    "p1",
    "bureau",
    "hour",
    "csv",
    ",,,",
    "../..",
    "true",
]
EDGES = [*DAYS, *NUMBERS, *TEXTS]
NAMES = (
    "from",
    "to",
    "grain",
    "group_by",
    "district",
    "sector",
    "platform",
    "as_of",
    "format",
    "year",
    "at",
)
NAMES += (
    "state",
    "alert",
    "subscription",
    "task",
    "overdue",
    "status",
    "date",
    "limit",
    "verdict",
    "none",
)
NAMES += ("platform_id", "merchant_id")
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    2**31,
    2**63,
    2**64,
    10**400,
    1e308,
    [],
    {},
    [[]],
    [None],
    "",
    " ",
]
VALUES += [
    "\x00",
    "\ud800",
    "\udfff\ud800",
    "💩",
    "a" * 10_000,
    "=1",
    "0001-01-01",
    "9999-12-31",
    "2026-12-31",
]
VALUES += [
    "9999-12-31T23:59:59+00:00",
    "0001-01-01T00:00:00+14:00",
    "2026-12-31T00:00:00Z",
    "500101",
    "city",
    "S01",
]
VALUES += [
    2026,
    "amount",
    "growth",
    "share",
    "webhook",
    "email",
    "inbox",
    "mailto://",
    "https://[",
    "https://8.8.8.8",
    "x",
]
RAW = [
    b"",
    b"null",
    b"[",
    b"\xff",
    b"\xef\xbb\xbf[]",
    b"[" * 5_000,
    b'"\\ud800"',
    b"NaN",
    b"1e999999999",
    b"[{}]",
]
RAW += [
    b'[{"value":1e999999999}]',
    b"{}",
    b"[]",
    b"[1]",
    b"[" + b"9" * 5_000 + b"]",
    b'{"a":1,"a":2}',
]
FIELDS = [
    *TARGET_FIELDS,
    *ITEM_FIELDS,
    *requests.SubscriptionAsked.model_fields,
    "note",
    "text",
    "measure",
    "until",
    "reason",
    "data",
]
FIELDS += [
    "platform_id",
    "merchant_id",
    "district_code",
    "valid_from",
    "valid_to",
    "mcc",
    "entry_id",
    "occurred_at",
]
FIELDS += ["kind", "amount_fen"]


@dataclass
class Site:
    gateway: str
    ingest: str
    identity: Identity
    folder: Path


@pytest.fixture(scope="module")
def site(kafka, store, tmp_path_factory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("edges")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with world(kafka, store, folder) as made:
        epochs.ensure(kafka, made.dsn)
        told = {"KAFKA_BOOTSTRAP": kafka, "CLICKHOUSE_DSN": made.dsn, "YUMAI_PORT": str(port)}
        told |= {"YUMAI_IDENTITY_DIR": str(folder / "identity")}
        with (
            _environment(told),
            running(["services.ingest"], folder / "ingest.log", _ready(url), 60),
        ):
            yield Site(made.url, url, made.identity, folder)


@contextmanager
def _environment(told: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(told)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _ready(url: str):
    def ask() -> bool:
        try:
            return httpx.get(f"{url}/health/ready", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    return ask


def routes(built: Any, method: str) -> list[str]:
    """Paths of the real application: a route made tomorrow is tried too."""
    return sorted(
        route.path
        for route in built.routes
        if isinstance(route, (Route, APIRoute)) and method in (route.methods or ())
    )


def applications(folder: Path) -> dict[str, Any]:
    settings = Settings(identity_dir=folder / "identity")
    return {"gateway": app.build(settings), "ingest": ingest_app.build(settings)}


def judged(service: str, answer: httpx.Response, asked: str) -> None:
    documented.check(service, answer)
    assert answer.status_code < 500, f"{asked}: {answer.status_code} {answer.text[:300]}"
    if answer.status_code >= 400:
        for error in answer.json()["errors"]:
            assert error["code"] in {*REASONS, "duplicate"}, asked
            assert error["message"], asked
            assert len(error["field"] or "") <= 101, asked


def client(site: Site, role: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {site.identity.issue_token(role)}"}
    return httpx.Client(headers=headers, timeout=60, trust_env=False)


def filled(path: str, draw: random.Random) -> str:
    for name in ("{id}", "{receipt_id}"):
        ids = ["x", "%00", "%ED%A0%80", "2026-500101", "plan-1", "0" * 32, "a" * 3_000, "%2e%2e"]
        path = path.replace(name, draw.choice(ids))
    return path


@pytest.mark.parametrize("service", ["gateway", "ingest"])
def test_reads_at_the_edges_are_answered_or_refused(site, service):
    draw = random.Random(f"reads {service}")
    base = getattr(site, service)
    paths = [p for p in routes(applications(site.folder)[service], "GET") if p.startswith("/v1")]
    assert len(paths) >= 5
    for role in ROLES:
        with client(site, role) as http:
            for path in paths:
                if path == "/v1/stream":
                    continue
                # One at a time, then together, repeated too.
                singles = [[(name, edge)] for name in NAMES for edge in draw.sample(EDGES, 2)]
                many = [
                    [(draw.choice(NAMES), draw.choice(EDGES)) for _ in range(draw.randrange(2, 6))]
                    for _ in range(6)
                ]
                for pairs in draw.sample(singles, 12) + many:
                    query = "&".join(f"{n}={e if '%' in e else quote(e)}" for n, e in pairs)
                    asked = f"{filled(path, draw)}?{query}"
                    judged(service, http.get(base + asked), f"{role} {asked}"[:300])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        *(("/v1/progress", name) for name in ("at", "as_of", "year")),
        *(("/v1/targets", name) for name in ("as_of", "year")),
        *(("/v1/cells", name) for name in ("from", "to", "as_of")),
        *((path, "year") for path in ("/v1/alerts", "/v1/map", "/v1/districts")),
    ],
)
def test_every_day_and_year_there_is_can_be_asked_for(site, path, name):
    with client(site, "bureau") as http:
        for edge in (*DAYS, *NUMBERS):
            judged(
                "gateway",
                http.get(f"{site.gateway}{path}?{name}={quote(edge)}"),
                f"{path} {name} {edge}",
            )


def test_control_totals_of_every_day_can_be_asked_for(site):
    with client(site, "platform:p1") as http:
        for edge in (*DAYS, *NUMBERS):
            judged("ingest", http.get(f"{site.ingest}/v1/control-totals?date={quote(edge)}"), edge)


def bodies(draw: random.Random) -> Iterator[bytes]:
    yield from RAW
    for _ in range(25):
        row = {draw.choice(FIELDS): draw.choice(VALUES) for _ in range(draw.randrange(1, 7))}
        yield json.dumps(draw.choice([row, [row], [row, row]])).encode()
    good = {"year": 2026, "district": "500101", "form": "amount", "value": 1}
    for name in draw.sample([*TARGET_FIELDS], 5):
        yield json.dumps([good | {name: draw.choice(VALUES)}]).encode()


@pytest.mark.parametrize("service", ["gateway", "ingest"])
@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH"])
def test_bodies_at_the_edges_are_taken_or_refused(site, service, method):
    draw = random.Random(f"{method} {service}")
    base = getattr(site, service)
    for path in routes(applications(site.folder)[service], method):
        for role in ROLES:
            with client(site, role) as http:
                for body in bodies(draw):
                    asked = f"{method} {filled(path, draw)}"
                    headers = {
                        "Content-Type": draw.choice(["application/json", "application/x-ndjson"])
                    }
                    answer = http.request(
                        method, base + asked.split()[1], content=body, headers=headers
                    )
                    judged(service, answer, f"{role} {asked} {body[:200]!r}")


def test_half_a_character_in_a_target_is_refused(site):
    body = b'[{"year":2026,"district":"city","form":"amount","value":1,"note":"\\ud800"}]'
    with client(site, "bureau") as http:
        answer = http.put(f"{site.gateway}/v1/targets", content=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "body_undecodable"


@pytest.mark.parametrize("service", ["gateway", "ingest"])
def test_head_is_answered_wherever_get_is(site, service):
    base = getattr(site, service)
    with client(site, "bureau") as http:
        for path in routes(applications(site.folder)[service], "GET"):
            address = base + path.replace("{id}", "x").replace("{receipt_id}", "0" * 32)
            if path == "/v1/stream":
                with http.stream("GET", address) as got:
                    status = got.status_code
            else:
                status = http.get(address).status_code
            head = http.head(address)
            assert (head.status_code, head.content) == (status, b""), path


def test_an_error_of_ours_is_json_without_a_stack(tmp_path):
    from starlette.testclient import TestClient

    built = app.build(Settings(identity_dir=tmp_path))

    async def broken(_: Any) -> None:
        raise RuntimeError("secret detail")

    built.add_route("/broken", broken)
    answer = TestClient(built, raise_server_exceptions=False).get("/broken")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (500, "internal")
    assert "secret detail" not in answer.text


def test_the_parameters_that_are_tried_are_those_that_there_are():
    asked = {f.alias or name for name, f in parameters.CellsParameters.model_fields.items()}
    assert asked <= set(NAMES)
    bodies = (requests.Acknowledge, requests.Explain, requests.Silence)
    assert {name for body in bodies for name in body.model_fields} <= set(FIELDS)
