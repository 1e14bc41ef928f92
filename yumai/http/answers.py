"""JSON answers, ready as bytes: FastAPI neither checks nor encodes them again."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from yumai.answers import encoded


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encoded(body), status, headers, media_type="application/json")
