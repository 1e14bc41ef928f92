"""`/v1/subscriptions`: whom an office has told. A district's are about itself, the bureau's about all."""

from __future__ import annotations

import asyncio
import base64
import math
import secrets
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from contracts.actions.codec import Action
from contracts.actions.codec import encode as encode_action
from contracts.alerts.outbox import (
    LEVELS,
    SECRET_PREFIX,
    Delivery,
    Subscription,
    Subscriptions,
    delivery_id,
    encode,
    office_of,
)
from contracts.http import alerts as contract
from services.gateway.alerts import alerts_in_scope, meta
from services.gateway.bodies import parsed, read, taken
from services.gateway.login import principal_of
from services.gateway.register import register_of
from services.gateway.requests import SubscriptionAsked, is_secret
from yumai import apprise_addresses, webhooks
from yumai.access import Principal
from yumai.http.answers import answer
from yumai.http.direct import Direct
from yumai.http.document import errors, takes
from yumai.http.parameters import FROM_QUERY, Asked
from yumai.http.refusals import Refused, spent
from yumai.process.settings import networks
from yumai.sealing import Sealer, is_sealed, shown
from yumai.sharing.aside import Asides
from yumai.sharing.bodies import TooMuch
from yumai.sharing.turns import Rate
from yumai.topics import ACTIONS, SUBSCRIPTIONS

router = APIRouter(route_class=Direct, tags=["subscriptions"])
MOST = 100
JUDGE_SECONDS = 30.0
TESTS_A_MINUTE = 10
TESTS_WAITING = 20
SECRET_BYTES = 32
NOTHING: Mapping[str, str | None] = MappingProxyType({})


@router.get(
    "/v1/subscriptions",
    response_model=contract.Subscriptions,
    responses=errors("forbidden", "invalid_parameter"),
)
async def list_subscriptions(request: Request, _: Annotated[Asked, FROM_QUERY]) -> Response:
    """Whom your office has told."""
    office = _office(principal_of(request))
    register = register_of(request)
    await register.ready()
    return answer(await _shown(request, register.journal.offices.get(office, [])))


@router.put(
    "/v1/subscriptions",
    response_model=contract.Subscriptions,
    responses=errors(
        *("forbidden", "body_undecodable", "too_large", "unsupported_media_type"),
        "invalid_field",
    ),
    openapi_extra=takes(Annotated[list[SubscriptionAsked], Field(max_length=MOST)]),
)
async def put(request: Request) -> Response:
    """All of your office's, in place of those before."""
    principal = principal_of(request)
    office = _office(principal)
    register = register_of(request)
    await register.ready()
    body = parsed(await taken(request))
    if isinstance(body, dict) and isinstance(body.get("data"), list):
        body = body["data"]  # as GET gives it
    if not isinstance(body, list) or len(body) > MOST:
        raise Refused("invalid_field", None, f"want a JSON array of at most {MOST} subscriptions")
    known = {s.id: s for s in register.journal.offices.get(office, ())}
    allowed = networks(request.app.state.settings.webhook_allow_networks)
    found: list[Subscription] = []
    problems: list[Refused] = []
    judged = []
    for index, row in enumerate(body):
        try:
            one = _kept(read(SubscriptionAsked, row, index), known)
        except Refused as refused:
            problems.append(refused)
            continue
        if any(s.id == one.id for s in found):
            problems.append(_wrong("id", f"{one.id!r} is there twice", index))
        judged.append(_judge(one, index, allowed))
        found.append(one)
    # Names are looked up in a thread of the office's own: one that hangs hangs nobody else's.
    asides: Asides = request.app.state.asides
    told = await asides.of(office).run(lambda: asyncio.gather(*judged), JUDGE_SECONDS)
    problems += [problem for problem in told if problem is not None]
    if problems:
        raise Refused.all(sorted(problems, key=lambda problem: problem.errors[0].index or 0))
    sealer: Sealer = request.app.state.sealer
    kept = [sealer.sealed(s) for s in found]
    record = Subscriptions(office, kept, principal.name, int(time.time() * 1000))
    offset = await register.write(SUBSCRIPTIONS, office, encode(record))
    await register.seen(SUBSCRIPTIONS, offset)
    # Who sets a webhook's secret, or had one made, is told it here and never again.
    return answer(await _shown(request, found, {s.id: s.secret for s in found}))


@router.post(
    "/v1/subscriptions/{id}/test",
    status_code=202,
    response_model=contract.TestSent,
    responses=errors("forbidden", "not_found"),
)
async def test(
    request: Request, id_: Annotated[str, Path(alias="id", description="A subscription's id")]
) -> Response:
    """A message that says that it is a test."""
    principal = principal_of(request)
    office = _office(principal)
    register = register_of(request)
    await register.ready()
    if not any(s.id == id_ for s in register.journal.offices.get(office, ())):
        raise Refused("not_found", "id", f"no subscription {id_}")
    tests: Tests = request.app.state.tests
    tests.allow(office, register.journal.deliveries.values())
    action = Action(
        uuid.uuid4().hex,
        "test",
        int(time.time() * 1000),
        principal.name,
        office=office,
        subscription=id_,
    )
    await register.write(ACTIONS, action.id, encode_action(action))
    data = {"id": delivery_id(office, id_, f"test/{action.id}"), "subscription": id_}
    return answer({"meta": await meta(request), "data": data}, 202)


class Tests:
    """Test messages: so many of an office in a minute, and so many that wait to be sent."""

    def __init__(self) -> None:
        self._rate = Rate(TESTS_A_MINUTE, 60.0)

    def allow(self, office: str, deliveries: Iterable[Delivery]) -> None:
        """Raises Refused (429)."""
        waiting = sum(
            d.office == office and d.state == "pending" and d.source.startswith("test/")
            for d in deliveries
        )
        if waiting >= TESTS_WAITING:
            raise spent(TooMuch("tests", own=True), 60)
        wait = self._rate.take(office, time.monotonic())
        if wait > 0:
            raise spent(TooMuch("tests", own=True), math.ceil(wait))


def _office(principal: Principal) -> str:
    """Raises Refused for a platform."""
    alerts_in_scope(principal, None)
    return office_of(principal.role, principal.code)


async def _shown(
    request: Request, found: Sequence[Subscription], secrets: Mapping[str, str | None] = NOTHING
) -> dict[str, Any]:
    about = await meta(request) | {"count": len(found)}
    data = [msgspec.to_builtins(shown(s)) | {"secret": secrets.get(s.id)} for s in found]
    return {"meta": about, "data": data}


def _wrong(field: str, detail: str, index: int) -> Refused:
    return Refused("invalid_field", field, detail, index)


def _kept(asked: SubscriptionAsked, known: dict[str, Subscription]) -> Subscription:
    """The subscription to keep: a masked address, or a secret left out, means the one that was there."""
    before = known.get(asked.id)
    address, secret = asked.address, asked.secret
    if before is not None and before.channel == asked.channel and address == shown(before).address:
        address = before.address
    if asked.channel == "webhook" and secret is None:
        kept = before.secret if before is not None else None
        secret = kept if kept is not None and is_secret(kept) else new_secret()
    levels = LEVELS if asked.levels is None else dict.fromkeys(asked.levels)
    return Subscription(
        asked.id,
        asked.channel,
        address,
        list(levels),
        list(dict.fromkeys(asked.sectors or ())) or None,
        asked.language,
        asked.quiet_hours.kept() if asked.quiet_hours is not None else None,
        secret,
    )


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


async def _judge(
    subscription: Subscription, index: int, allowed: Sequence[webhooks.Network]
) -> Refused | None:
    """Judges where a webhook points. A name without an address now is judged again at each sending."""
    if is_sealed(subscription.address):
        return _wrong("address", "it can't be read any more: set it anew", index)
    if subscription.channel == "webhook":
        try:
            await webhooks.checked(subscription.address, allowed)
        except webhooks.Unsafe as error:
            return _wrong("address", str(error), index)
        except webhooks.Unresolved:
            pass
    elif subscription.channel != "inbox":
        why = await asyncio.to_thread(
            apprise_addresses.problem, subscription.channel, subscription.address
        )
        if why is not None:
            return _wrong("address", why, index)
    return None
