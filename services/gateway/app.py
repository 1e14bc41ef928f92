"""The gateway's wiring: what answers which path."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import errors, figures
from services.gateway.login import DefaultDeny
from services.gateway.store import Store
from yumai.access import Identity
from yumai.settings import Settings


def build(settings: Settings) -> FastAPI:
    """The application; nothing is connected before the first request or the lifespan."""
    identity = Identity(settings.identity_dir)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await app.state.store.close()

    app = FastAPI(
        title="Yumai",
        lifespan=lifespan,
        middleware=[Middleware(DefaultDeny, identity=identity)],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.store = Store(settings.clickhouse_dsn)
    app.add_route("/v1/cells", figures.cells)

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, errors.Refused)
        return errors.response(error)

    async def unavailable(_: Request, error: Exception) -> Response:
        assert isinstance(error, errors.Unavailable)
        return errors.unavailable(error)

    app.add_exception_handler(errors.Refused, refused)
    app.add_exception_handler(errors.Unavailable, unavailable)
    return app
