"""What the services' doors say of themselves: OpenAPI 3.1 at `/openapi.json`, made from the routes, and `/docs`.

Both are open to everybody: they hold what the code says, and nothing of the books. The page is Swagger UI
from the package fastapi-offline; nothing is fetched from elsewhere, and no script stands in the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from importlib.resources import files
from typing import Any

import msgspec
import orjson
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from contracts.http.words import Errors, Health
from contracts.reasons import REASONS
from yumai.http.refusals import error

Responses = dict[int | str, dict[str, Any]]
ALWAYS = ("unauthorized", "too_many", "internal", "unavailable")
"""What every route under /v1 may say."""
SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A platform's key, or a token of the bureau, a district or a platform",
    }
}
ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css")
PAGE_HEADERS = {
    # Swagger UI draws with images that stand in its style sheet.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self';"
    " style-src 'self'; img-src 'self' data:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<div id="docs"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
"""
START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null,
});
"""


def errors(*codes: str) -> Responses:
    """`responses` of a route under /v1: each status with the codes that it may carry."""
    found: Responses = {}
    for code in dict.fromkeys((*codes, *ALWAYS)):
        reason = REASONS[code]
        # A row's code, in the answer to a request that was refused for its rows.
        status = reason.status if reason.status != 200 else 422
        said = found.setdefault(status, {"model": Errors, "description": "", "x-codes": []})
        said["description"] = "; ".join(filter(None, (said["description"], f"{code}: {reason.en}")))
        said["x-codes"].append(code)
        if status in (429, 503):
            said["headers"] = {
                "Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}
            }
    return dict(sorted(found.items(), key=str))


def or_csv() -> Responses:
    """`responses` of a route that also answers with CSV."""
    csv = {"text/csv": {"schema": {"type": "string"}}}
    return {200: {"description": "JSON, or with `format=csv` CSV", "content": csv}}


def health_errors() -> Responses:
    """`responses` of `/health/ready`."""
    return {503: {"model": Health, "description": "It waits for something"}}


def takes(kind: Any, needed: bool = True) -> dict[str, Any]:
    """`openapi_extra` of a route that reads a JSON body itself, in pieces and within its sender's budget."""
    schema = TypeAdapter(kind).json_schema()
    schema = _inlined(schema, schema.pop("$defs", {}))
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": needed, "content": content}}


def _inlined(value: Any, known: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_inlined(v, known) for v in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _inlined(known[value["$ref"].rpartition("/")[2]], known)
    return {name: _inlined(v, known) for name, v in value.items()}


def install(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Puts the routes into the application, and serves the document that they make.

    As routes of its own: a router that is included hides its paths from what counts requests by path.
    """
    routes = [copy(route) for router in routers for route in router.routes]
    app.router.routes += routes
    app.state.document = described(app)
    document = orjson.dumps(app.state.document)
    page = PAGE.format(title=app.title)

    async def openapi(_: Request) -> Response:
        return Response(document, media_type="application/json")

    async def docs(_: Request) -> Response:
        return Response(page, media_type="text/html; charset=utf-8", headers=PAGE_HEADERS)

    async def start(_: Request) -> Response:
        return Response(START, media_type="text/javascript", headers=PAGE_HEADERS)

    app.add_route("/openapi.json", openapi, include_in_schema=False)
    app.add_route("/docs", docs, include_in_schema=False)
    app.add_route("/docs/start.js", start, include_in_schema=False)
    app.mount("/docs/assets", _Assets(directory=str(files("fastapi_offline") / "static")))
    for route in routes:
        methods = route.methods if isinstance(route, APIRoute) else None
        if methods and "GET" in methods:
            # HEAD is answered wherever GET is; the document need not say it.
            route.methods = methods | {"HEAD"}  # type: ignore[attr-defined]


def described(app: FastAPI) -> dict[str, Any]:
    """The document; of each refusal an example."""
    found = app.openapi()
    found["components"]["securitySchemes"] = SECURITY
    for path, item in found["paths"].items():
        for operation in item.values():
            if path.startswith("/v1/"):
                operation["security"] = [{name: []} for name in SECURITY]
            for answer in operation["responses"].values():
                if codes := answer.get("x-codes"):
                    # JSON also where the route's good answer is of another type.
                    (content,) = answer["content"].values()
                    answer["content"] = {"application/json": content}
                    content["examples"] = {code: _example(code) for code in codes}
    return found


def _example(code: str) -> dict[str, Any]:
    return {"value": {"errors": [msgspec.to_builtins(error(code))]}}


class _Assets(StaticFiles):
    async def get_response(self, path: str, scope: Any) -> Response:
        if path not in ASSETS:
            path = "none"
        answer = await super().get_response(path, scope)
        answer.headers.update(PAGE_HEADERS)
        return answer
