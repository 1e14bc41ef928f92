"""`GET /v1/stream`: cells that changed and alerts, as server-sent events, each with its `district`.

    commits.v1, alerts.v1 ─▶ Hub (one consumer, no group) ─▶ a queue a reader ─▶ SSE

Bureau and districts are served from the commits themselves; a district is told of changes once three entries
stand behind them, and of no amount (`net_fen` null): the sum of all changes of a day, less what `/v1/cells`
shows of it, would be what is hidden. A platform's own part is read from the
ledger between two positions, so it sees nothing of others. What is told twice on `commits.v1` is told
once here as far as the last offset shows it; figures to rely on are in `/v1/cells`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from contracts.alerts import codec as alerts_codec
from contracts.commits import codec as commits_codec
from services.gateway.alerts import coarse
from services.gateway.login import STREAM_PATH, principal_of
from services.gateway.store import Store
from yumai.access import Identity, Principal
from yumai.answers import encoded
from yumai.entry import BLOCK_OFFSETS
from yumai.http.direct import Direct
from yumai.http.document import Responses, errors
from yumai.http.refusals import Unavailable
from yumai.observability import telemetry, tracing
from yumai.sharing.asking import name_of
from yumai.sharing.bodies import TooMuch
from yumai.sharing.turns import Budget, Spent
from yumai.store.disclosure import LEAST
from yumai.store.figures import ledger_changes

log = logging.getLogger("yumai.gateway")

HEARTBEAT_SECONDS = 10.0
LOOK_SECONDS = 2.0
"""How soon who is no longer known is cut off."""
QUEUE_EVENTS = 2_000
"""A reader that is further behind is dropped; it connects again and reads the figures first."""
STREAMS_MOST = 2_000
"""Of one process."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
STORE_TRIES_SECONDS = (0.0, 0.5, 1.0, 2.0)


Change = tuple[str, str, int, int]
"""District, sector, net_fen, entries."""


@dataclass(frozen=True)
class Event:
    """`text`: the whole SSE frame. `platform` empty: of all platforms together. `to` empty: to all offices."""

    district: str
    platform: str
    text: bytes
    to: str = ""


@dataclass(eq=False)
class Subscriber:
    principal: Principal
    queue: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(QUEUE_EVENTS))
    dropped: bool = False

    def wants(self, event: Event) -> bool:
        """Its own only: a platform never sees events of all platforms together."""
        if self.principal.role == "platform":
            return event.platform == self.principal.code
        if event.platform or event.to not in ("", self.principal.role):
            return False
        return self.principal.may_see_district(event.district)


def frame(kind: str, id_: str, body: dict[str, Any]) -> bytes:
    return f"event: {kind}\nid: {id_}\ndata: ".encode() + encoded(body) + b"\n\n"


def cells_events(
    commit: commits_codec.Commit,
    changes: Iterable[Change],
    platform: str,
    parents: Sequence[str] = (),
    to: str = "",
) -> list[Event]:
    """One event a district; to districts without amounts."""
    districts: dict[str, dict[str, Any]] = {}
    for district, sector, net_fen, entries in changes:
        of = districts.setdefault(district, {"net_fen": 0, "entries": 0, "sectors": {}})
        of["net_fen"] += net_fen
        of["entries"] += entries
        known = of["sectors"].setdefault(sector, {"net_fen": 0, "entries": 0})
        known["net_fen"] += net_fen
        known["entries"] += entries
    if to == "district":
        for of in districts.values():
            for sums in (of, *of["sectors"].values()):
                sums["net_fen"] = None
    id_ = f"{commit.epoch}-{commit.partition}-{commit.last_offset}"
    about: dict[str, Any] = {
        "through": commit.through,
        "committed_at": commit.committed_at,
        "recorded_from": commit.recorded_from,
    }
    if platform:
        about["platform"] = platform
    about |= traced(parents)
    return [
        Event(code, platform, frame("cells", id_, {"district": code, **of, **about}), to)
        for code, of in sorted(districts.items())
    ]


def traced(parents: Sequence[str]) -> dict[str, Any]:
    """Which traces led to an event: the first, and all where they are several."""
    if not parents:
        return {}
    more = {"traceparents": list(parents)} if len(parents) > 1 else {}
    return {"traceparent": parents[0], **more}


def alert_events(step: alerts_codec.Step, parents: Sequence[str] = ()) -> list[Event]:
    """The bureau's, and the district's with its figures rounded."""
    said = msgspec.to_builtins(step)
    public = {name: said[name] for name in alerts_codec.Step.__struct_fields__}
    body = {"district": step.district, **public, **traced(parents)}
    return [
        Event(step.district, "", frame("alert", f"{step.id}-{step.seq}", body | more), to)
        for to, more in (("bureau", {}), ("district", coarse(body)))
    ]


class HeldBack:
    """Changes that districts are not told yet: fewer than three entries would tell of single ones."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], tuple[int, int]] = {}

    def told(self, changes: Iterable[Change]) -> list[Change]:
        """What may be told now, with what was held back before."""
        for district, sector, net_fen, entries in changes:
            net, number = self._sums.get((district, sector), (0, 0))
            self._sums[district, sector] = (net + net_fen, number + entries)
        ready = [key for key, (_, number) in self._sums.items() if number >= LEAST]
        return [(*key, *self._sums.pop(key)) for key in ready]


class Hub:
    """Hands every commit and alert to the readers who may see it."""

    def __init__(self, store: Store, streams_each: int) -> None:
        self._store = store
        self._streams = Budget(STREAMS_MOST, streams_each)
        self._subscribers: set[Subscriber] = set()
        self._offsets: dict[tuple[int, int], int] = {}
        self._held = HeldBack()
        self._platform_work: asyncio.Queue[tuple[commits_codec.Commit, int, tuple[str, ...]]] = (
            asyncio.Queue(1_000)
        )
        self.closed = False
        self.read_whole = False
        """The commits are known from the first on: a partition not seen yet has told nothing."""

    def subscribe(self, principal: Principal) -> Subscriber:
        """Raises TooMuch."""
        try:
            self._streams.take(name_of(principal), 1)
        except Spent as spent:
            raise TooMuch("streams", spent.own) from spent
        subscriber = Subscriber(principal)
        self._subscribers.add(subscriber)
        telemetry.GATEWAY_SUBSCRIBERS.set(len(self._subscribers))
        if self.closed:
            subscriber.queue.put_nowait(None)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        if subscriber in self._subscribers:
            self._streams.give(name_of(subscriber.principal), 1)
        self._subscribers.discard(subscriber)
        telemetry.GATEWAY_SUBSCRIBERS.set(len(self._subscribers))

    def close(self) -> None:
        """Ends every stream, so that a stopping server waits for none."""
        self.closed = True
        for subscriber in list(self._subscribers):
            self._end(subscriber)

    def learn(self, commit: commits_codec.Commit) -> int | None:
        """Remembers how far a partition is told; where it was before, None if that is unknown."""
        key = (commit.epoch, commit.partition)
        before = self._offsets.get(key)
        self._offsets[key] = max(commit.last_offset, before if before is not None else -1)
        return before

    def whole(self) -> None:
        self.read_whole = True

    def commit(self, commit: commits_codec.Commit, parents: Sequence[str] = ()) -> None:
        before = self.learn(commit)
        telemetry.GATEWAY_COMMITS.inc()
        if before is not None and commit.last_offset <= before:
            return
        changes = [(c.district, c.sector, c.net_fen, c.entries) for c in commit.changes]
        with self._telling("cells", parents) as work:
            parents = work.parents or parents
            self.publish(cells_events(commit, changes, "", parents, "bureau"))
            held = self._held.told(changes)
            self.publish(cells_events(commit, held, "", parents, "district"))
        age = time.time() - commit.recorded_from / 1000
        telemetry.GATEWAY_STREAM_SECONDS.observe(max(age, 0.0))
        if self._platforms() and changes:
            if before is None:
                before = -1 if self.read_whole else commit.block * BLOCK_OFFSETS - 1
            try:
                # Traces of several requests may be those of several platforms.
                only = tuple(parents) if len(parents) == 1 else ()
                self._platform_work.put_nowait((commit, before, only))
            except asyncio.QueueFull:
                log.warning("stream: the store is too slow for platform events")

    def alert(self, step: alerts_codec.Step, parents: Sequence[str] = ()) -> None:
        with self._telling("alert", parents) as work:
            self.publish(alert_events(step, work.parents or parents))

    def _telling(self, kind: str, parents: Sequence[str]) -> tracing.Work:
        attributes: dict[str, str | int] = {"yumai.streams": len(self._subscribers)}
        return tracing.work(f"event {kind}", parents, "producer", attributes)

    def publish(self, events: list[Event]) -> None:
        for subscriber in list(self._subscribers):
            for event in events:
                if not subscriber.dropped and subscriber.wants(event):
                    try:
                        subscriber.queue.put_nowait(event.text)
                    except asyncio.QueueFull:
                        subscriber.dropped = True
                        telemetry.GATEWAY_DROPPED.inc()
                        self._end(subscriber)

    @staticmethod
    def _end(subscriber: Subscriber) -> None:
        while subscriber.queue.full():
            subscriber.queue.get_nowait()
        subscriber.queue.put_nowait(None)

    def _platforms(self) -> list[str]:
        return sorted(
            {s.principal.code for s in self._subscribers if s.principal.role == "platform"}
        )

    async def serve_platforms(self) -> None:
        """Reads what a commit brought to each platform that listens. Runs until cancelled."""
        while True:
            commit, before, parents = await self._platform_work.get()
            platforms = self._platforms()
            if not platforms:
                continue
            query = ledger_changes(
                commit.epoch, commit.partition, before, commit.last_offset, platforms
            )
            for wait in STORE_TRIES_SECONDS:
                await asyncio.sleep(wait)
                try:
                    rows = await self._store.rows(query)
                    break
                except Unavailable as error:
                    log.info("stream: platform events wait for the store: %s", error)
            else:
                continue
            for platform in platforms:
                changes = [
                    (f"{district:06d}", sector, int(net), int(entries))
                    for of, district, sector, net, entries in rows
                    if of == platform
                ]
                self.publish(cells_events(commit, changes, platform, parents))


class EventStream(Response):
    media_type = "text/event-stream"


router = APIRouter(route_class=Direct, tags=["stream"])
TOKEN = {
    "parameters": [
        {
            "name": "token",
            "in": "query",
            "description": "In place of the header, which a browser's EventSource can't set",
            "schema": {"type": "string"},
        }
    ]
}
DOCUMENTED: Responses = {
    200: {
        "description": "Events `cells` (sums that changed, one a district) and `alert` (a step of"
        " `alerts.v1`), each with JSON in `data`; comments keep the connection alive",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.get(
    STREAM_PATH, response_class=EventStream, responses=DOCUMENTED | errors(), openapi_extra=TOKEN
)
async def stream(request: Request) -> Response:
    """What changes, as server-sent events."""
    if request.method == "HEAD":
        return Response(media_type="text/event-stream", headers=HEADERS)
    hub: Hub = request.app.state.hub
    identity: Identity = request.app.state.identity
    subscriber = hub.subscribe(principal_of(request))
    return _Stream(
        hub,
        subscriber,
        _frames(subscriber, identity, request.state.credential),
        media_type="text/event-stream",
        headers=HEADERS,
    )


class _Stream(StreamingResponse):
    """Gives its place back however it ends, also where it never began."""

    def __init__(self, hub: Hub, subscriber: Subscriber, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._hub, self._subscriber = hub, subscriber

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._hub.unsubscribe(self._subscriber)


async def _frames(
    subscriber: Subscriber, identity: Identity, credential: str
) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n: connected\n\n"
    told = looked = time.monotonic()
    while True:
        text: bytes | None = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                text = await subscriber.queue.get()
        now = time.monotonic()
        if now - looked >= LOOK_SECONDS:
            looked = now
            # A token that has run out, or a key taken back, ends the stream.
            if identity.authenticate(credential) != subscriber.principal:
                return
        if text is None:
            return
        if not text and now - told >= HEARTBEAT_SECONDS:
            text = b": heartbeat\n\n"
        if text:
            told = now
            yield text
