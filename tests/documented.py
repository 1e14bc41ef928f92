"""Whether an answer is what the service's own document says of it."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.contracts_now import documents

ROWS_MOST = 50
"""Of a long answer: the others are made alike."""


@cache
def _documents() -> dict[str, Any]:
    return {service: _closed(document) for service, document in documents().items()}


def _closed(value: Any) -> Any:
    """No field of an answer goes without saying, though readers have to let one pass."""
    if isinstance(value, list):
        return [_closed(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    found = {name: _closed(inner) for name, inner in value.items()}
    if found.get("type") == "object" and isinstance(found.get("properties"), dict):
        found.setdefault("additionalProperties", False)
    return found


@cache
def _paths(service: str) -> list[tuple[re.Pattern[str], str]]:
    paths = sorted(_documents()[service]["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths]


@cache
def _validator(service: str, pointer: str) -> Draft202012Validator:
    registry = Registry().with_resource(
        "urn:document",
        Resource.from_contents(_documents()[service], default_specification=DRAFT202012),
    )
    return Draft202012Validator({"$ref": f"urn:document#{pointer}"}, registry=registry)


def check(service: str, answer: httpx.Response) -> None:
    """Fails where status, media type, body or a refusal's code is not in the document."""
    method = answer.request.method.lower()
    path = next(
        (path for shape, path in _paths(service) if shape.fullmatch(answer.request.url.path)), ""
    )
    operation = _documents()[service]["paths"].get(path, {}).get(method)
    if operation is None:
        return
    asked = f"{method} {answer.request.url.path[:100]} {answer.status_code} {answer.text[:300]}"
    said = operation["responses"].get(str(answer.status_code))
    assert said is not None, f"no such status: {asked}"
    media_type = answer.headers["content-type"].partition(";")[0]
    assert media_type in said["content"], f"no such media type: {asked}"
    if not media_type.endswith("json"):
        return
    body = answer.json()
    if isinstance(body.get("data"), list):
        body["data"] = body["data"][:ROWS_MOST]
    place = ["paths", path, method, "responses", str(answer.status_code), "content", media_type]
    pointer = "".join(
        "/" + part.replace("~", "~0").replace("/", "~1") for part in [*place, "schema"]
    )
    wrong = list(_validator(service, pointer).iter_errors(body))
    assert not wrong, f"{wrong[0].json_path}: {wrong[0].message[:300]}: {asked}"
    if "x-codes" in said:
        codes = {error["code"] for error in body["errors"]}
        assert codes <= set(said["x-codes"]), f"no such code: {asked}"
