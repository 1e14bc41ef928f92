"""The document of both services: valid OpenAPI 3.1 that says every error, and a page that needs no network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.testclient import TestClient

from contracts.reasons import REASONS
from services.gateway import app as gateway
from services.ingest import app as ingest
from yumai.process.settings import Settings

BUILD = {"gateway": gateway.build, "ingest": ingest.build}


@pytest.fixture(scope="module", params=BUILD)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    folder: Path = tmp_path_factory.mktemp("identity")
    return TestClient(BUILD[request.param](Settings(identity_dir=folder)))


@pytest.fixture(scope="module")
def document(client: TestClient) -> Any:
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def operations(document: Any) -> dict[str, Any]:
    return {
        f"{method} {path}": said
        for path, methods in document["paths"].items()
        for method, said in methods.items()
    }


def test_it_is_openapi_3_1(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_under_v1_is_in_it_and_names_who_may_ask(
    client: TestClient, document: Any
) -> None:
    routes = {
        f"{method.lower()} {route.path}"
        for route in client.app.routes  # type: ignore[attr-defined]
        for method in getattr(route, "methods", None) or ()
        if route.path.startswith(("/v1/", "/health/")) and method != "HEAD"
    }
    assert routes == set(operations(document))
    for name, said in operations(document).items():
        assert ("security" in said) == (" /v1/" in name), name
        assert said["description"], name


def test_every_route_says_its_errors_with_their_statuses(document: Any) -> None:
    for name, said in operations(document).items():
        if " /v1/" not in name:
            continue
        codes = {
            code: int(status)
            for status, answer in said["responses"].items()
            for code in answer.get("x-codes", ())
        }
        assert codes.keys() >= {"unauthorized", "too_many", "internal", "unavailable"}, name
        for code, status in codes.items():
            assert status == (422 if REASONS[code].status == 200 else REASONS[code].status), name
        parameters = [p for p in said.get("parameters", ()) if p["in"] == "query"]
        if parameters and "/v1/stream" not in name:
            assert "invalid_parameter" in codes, name
        if "{" in name:
            assert "not_found" in codes, name
        if "requestBody" in said:
            assert codes.keys() >= {"too_large", "body_undecodable"}, name


def test_every_example_of_an_error_is_one(document: Any) -> None:
    schema = {"components": document["components"], "$ref": "#/components/schemas/Errors"}
    found = [
        example["value"]
        for said in operations(document).values()
        for answer in said["responses"].values()
        for content in answer.get("content", {}).values()
        for example in content.get("examples", {}).values()
    ]
    assert found
    for example in found:
        Draft202012Validator(schema).validate(example)


def test_the_page_asks_for_nothing_elsewhere_and_has_no_script_in_it(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; connect-src 'self'" in policy
    assert not re.search(r"<script(?![^>]*\ssrc=)|on\w+=|https?://", page.text)
    links = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert len(links) == 3
    for link in links:
        answer = client.get(link)
        assert answer.status_code == 200, link
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["redoc.standalone.js", "../core.py", "none", ""])
def test_no_other_file_of_the_package_is_served(client: TestClient, name: str) -> None:
    assert client.get(f"/docs/assets/{name}").status_code == 404
