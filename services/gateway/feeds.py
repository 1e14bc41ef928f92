"""`GET /v1/feeds`: how each platform's feed is, for the bureau; a platform sees its own."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from services.gateway.figures import meta_of
from services.gateway.login import platforms_in_scope, principal_of
from services.gateway.parameters import Reader
from services.gateway.store import Store
from yumai.answers import encoded
from yumai.evaluation import feeds
from yumai.sharing.lately import Lately

KEPT_SECONDS = 5.0
SHARE_OF_TIME = 20
MOST_SECONDS = 120.0
"""Who judges asks at most so often, and for at most a 20th of the time."""


class Health:
    """How feeds are, read from the store by one at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._now: Lately[list[feeds.Feed]] = Lately()
        self._lately: Lately[list[feeds.Feed]] = Lately(
            share=SHARE_OF_TIME, least=KEPT_SECONDS, most=MOST_SECONDS
        )

    async def now(self) -> list[feeds.Feed]:
        """Raises Unavailable."""
        return await self._now.of(None, self._read)

    async def lately(self) -> list[feeds.Feed]:
        """As it was some seconds ago. Raises Unavailable."""
        return await self._lately.of(None, self._read)

    async def _read(self) -> list[feeds.Feed]:
        now = datetime.now(UTC)
        queries = (feeds.hours_query, feeds.days_query, feeds.last_query, feeds.rejected_query)
        answers = await asyncio.gather(*(self._store.rows(query(now)) for query in queries))
        return await asyncio.to_thread(feeds.health, feeds.Seen(*answers), now)


async def get_feeds(request: Request) -> Response:
    store: Store = request.app.state.store
    principal = principal_of(request)
    now = datetime.now(UTC)
    reader = Reader(request.query_params, ("platform", "state"))
    wanted = reader.platforms()
    states = reader.codes("state", feeds.STATES, f"state ({', '.join(feeds.STATES)})")
    reader.check()
    allowed = platforms_in_scope(principal, wanted)
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
    return Response(encoded({"meta": meta, "data": data}), media_type="application/json")
