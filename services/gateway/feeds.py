"""`GET /v1/feeds`: how each platform's feed is, for the bureau; a platform sees its own."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from contracts.http.figures import Feeds
from services.gateway.figures import meta_of
from services.gateway.login import platforms_in_scope, principal_of
from services.gateway.parameters import FeedsParameters
from services.gateway.store import Store
from yumai.evaluation import feeds
from yumai.http.answers import answer
from yumai.http.direct import Direct
from yumai.http.document import errors
from yumai.http.parameters import FROM_QUERY
from yumai.sharing.asking import for_all

router = APIRouter(route_class=Direct, tags=["figures"])
KEPT_SECONDS = 5.0
SHARE_OF_TIME = 20
"""Who judges asks at most so often, and for at most a 20th of the time."""


class Health:
    """How feeds are, read from the store by one at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = asyncio.Lock()
        self._kept: list[feeds.Feed] = []
        self._until = -1.0

    async def now(self) -> list[feeds.Feed]:
        """Raises Unavailable."""
        now = datetime.now(UTC)
        queries = (feeds.hours_query, feeds.days_query, feeds.last_query, feeds.rejected_query)
        answers = await asyncio.gather(*(self._store.rows(query(now)) for query in queries))
        return await asyncio.to_thread(feeds.health, feeds.Seen(*answers), now)

    async def lately(self) -> list[feeds.Feed]:
        """As it was some seconds ago. Raises Unavailable."""
        async with self._lock:
            begun = time.monotonic()
            if begun >= self._until:
                with for_all():
                    self._kept = await self.now()
                took = time.monotonic() - begun
                self._until = begun + max(KEPT_SECONDS, took * SHARE_OF_TIME)
            return self._kept


@router.get("/v1/feeds", response_model=Feeds, responses=errors("forbidden", "invalid_parameter"))
async def get_feeds(request: Request, asked: Annotated[FeedsParameters, FROM_QUERY]) -> Response:
    """How each platform's feed is, and in which districts it is in trouble."""
    store: Store = request.app.state.store
    principal = principal_of(request)
    now = datetime.now(UTC)
    states = asked.state
    allowed = platforms_in_scope(principal, asked.platform)
    freshness = await store.freshness()
    health: Health = request.app.state.feeds
    found = await health.now()
    data = []
    for feed in found:
        if allowed is not None and feed.platform_id not in allowed:
            continue
        row = (feed.of_district(principal.code) if principal.role == "district" else feed).row()
        if states is None or row["state"] in states:
            data.append(row)
    meta = meta_of(freshness, now) | {"count": len(data)}
    return answer({"meta": meta, "data": data})
