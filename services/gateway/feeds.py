"""`GET /v1/feeds`: how each platform's feed is, for the bureau; a platform sees its own."""

from __future__ import annotations

import asyncio
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
from yumai.sharing.lately import Lately

router = APIRouter(route_class=Direct, tags=["figures"])
KEPT_SECONDS = 5.0
HEALTH_RESTS = 20
MOST_SECONDS = 120.0
"""An answer is given again for 20 times as long as it took, within these bounds: at most a 20th of the time is spent on it."""


class Health:
    """How feeds are, read from the store by one at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._now: Lately[list[feeds.Feed]] = Lately()
        self._lately: Lately[list[feeds.Feed]] = Lately(
            share=HEALTH_RESTS, least=KEPT_SECONDS, most=MOST_SECONDS
        )

    async def now(self) -> list[feeds.Feed]:
        """Raises Unavailable."""
        return await self._now.of(None, self._read)

    async def lately(self) -> list[feeds.Feed]:
        """The health of feeds, at most some seconds old. Raises Unavailable."""
        return await self._lately.of(None, self._read)

    async def _read(self) -> list[feeds.Feed]:
        now = datetime.now(UTC)
        queries = (feeds.hours_query, feeds.days_query, feeds.last_query, feeds.rejected_query)
        answers = await asyncio.gather(*(self._store.rows(query(now)) for query in queries))
        return await asyncio.to_thread(feeds.health, feeds.Seen(*answers), now)


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
