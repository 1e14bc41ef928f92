"""`/v1/subscriptions`: whom an office has told. A district's are about itself, the bureau's about all."""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import re
import secrets
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from contracts.actions.codec import Action
from contracts.actions.codec import encode as encode_action
from contracts.alerts.outbox import (
    LEVELS,
    SECRET_PREFIX,
    Channel,
    Delivery,
    QuietHours,
    Subscription,
    Subscriptions,
    delivery_id,
    encode,
    office_of,
)
from services.gateway.alerts import alerts_in_scope, answer, meta, register_of
from services.gateway.bodies import Fields, parsed, taken
from services.gateway.errors import Refused, spent
from services.gateway.login import principal_of
from services.gateway.parameters import Reader
from yumai import apprise_addresses, webhooks
from yumai.access import Principal
from yumai.process.settings import networks
from yumai.sealing import Sealer, is_sealed, shown
from yumai.sharing.aside import Asides
from yumai.sharing.bodies import TooMuch
from yumai.sharing.turns import Rate
from yumai.store.figures import SERVICE_SECTORS
from yumai.topics import ACTIONS, SUBSCRIPTIONS

CHANNELS = get_args(Channel)
FIELDS = (
    "id",
    "channel",
    "address",
    "levels",
    "sectors",
    "language",
    "quiet_hours",
    "secret",
)
LANGUAGES = ("zh", "en")
MOST = 100
JUDGE_SECONDS = 30.0
TESTS_A_MINUTE = 10
TESTS_WAITING = 20
ADDRESS_MOST = 2_000
SECRET_BYTES = 32
NOTHING: Mapping[str, str | None] = MappingProxyType({})
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d|24:00")


async def list_subscriptions(request: Request) -> Response:
    Reader(request.query_params, ()).check()
    office = _office(principal_of(request))
    register = register_of(request)
    await register.ready()
    return answer(await _shown(request, register.offices.get(office, [])))


async def put(request: Request) -> Response:
    principal = principal_of(request)
    office = _office(principal)
    register = register_of(request)
    await register.ready()
    body = parsed(await taken(request))
    if isinstance(body, dict) and isinstance(body.get("data"), list):
        body = body["data"]  # as GET gives it
    if not isinstance(body, list) or len(body) > MOST:
        raise Refused("invalid_field", None, f"want a JSON array of at most {MOST} subscriptions")
    known = {s.id: s for s in register.offices.get(office, ())}
    allowed = networks(request.app.state.settings.webhook_allow_networks)
    found: list[Subscription] = []
    judged: list[tuple[Fields, Subscription]] = []
    rows: list[Fields] = []
    for index, row in enumerate(body):
        fields = Fields(row, FIELDS, index)
        subscription = _read(fields, known)
        if subscription is not None and any(s.id == subscription.id for s in found):
            fields.wrong("id", f"{subscription.id!r} is there twice")
        if subscription is not None and not fields.problems:
            judged.append((fields, subscription))
            found.append(subscription)
        rows.append(fields)
    # Names are looked up in a thread of the office's own: one that hangs hangs nobody else's.
    asides: Asides = request.app.state.asides
    await asides.of(office).run(
        lambda: asyncio.gather(*(_judge(*one, allowed) for one in judged)), JUDGE_SECONDS
    )
    problems = [problem for fields in rows for problem in fields.problems]
    if problems:
        raise Refused.all(problems)
    sealer: Sealer = request.app.state.sealer
    kept = [sealer.sealed(s) for s in found]
    record = Subscriptions(office, kept, principal.name, int(time.time() * 1000))
    offset = await register.write(SUBSCRIPTIONS, office, encode(record))
    await register.seen(SUBSCRIPTIONS, offset)
    # Who sets a webhook's secret, or had one made, is told it here and never again.
    return answer(await _shown(request, found, {s.id: s.secret for s in found}))


async def test(request: Request) -> Response:
    principal = principal_of(request)
    office = _office(principal)
    register = register_of(request)
    await register.ready()
    id_ = request.path_params["id"]
    if not any(s.id == id_ for s in register.offices.get(office, ())):
        raise Refused("not_found", "id", f"no subscription {id_}")
    tests: Tests = request.app.state.tests
    tests.allow(office, register.deliveries.values())
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


def _read(fields: Fields, known: dict[str, Subscription]) -> Subscription | None:
    """One subscription; what is wrong is remembered in `fields`."""
    id_ = fields.text("id", required=True, most=64)
    if id_ is not None and not _ID.fullmatch(id_):
        fields.wrong("id", f"want {_ID.pattern}")
    channel = fields.get("channel")
    if channel not in CHANNELS:
        fields.wrong("channel", f"want one of {', '.join(CHANNELS)}")
    address = fields.text("address", required=channel != "inbox", most=ADDRESS_MOST)
    before = known.get(id_ or "")
    if before is not None and before.channel == channel and address == shown(before).address:
        address = before.address  # as GET gives it: nothing new
    levels = _list(fields, "levels", LEVELS)
    sectors = _list(fields, "sectors", SERVICE_SECTORS)
    language: Any = fields.get("language") or "zh"
    if language not in LANGUAGES:
        fields.wrong("language", f"want one of {', '.join(LANGUAGES)}")
    quiet = _quiet_hours(fields)
    secret = fields.text("secret", most=200)
    if channel == "webhook":
        secret = secret or (before.secret if before is not None else None) or new_secret()
        if not is_secret(secret):
            fields.wrong("secret", f"want {SECRET_PREFIX} and the base64 of 24 to 64 bytes")
    elif secret is not None:
        fields.wrong("secret", "only a webhook has one")
    if fields.problems:
        return None
    return Subscription(
        id_ or "",
        channel,
        address or "",
        list(LEVELS) if levels is None else levels,
        sectors or None,
        language,
        quiet,
        secret,
    )


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def is_secret(text: str) -> bool:
    if not text.startswith(SECRET_PREFIX):
        return False
    try:
        raw = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    return 24 <= len(raw) <= 64


def _list(fields: Fields, name: str, known: Sequence[str]) -> list[str] | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, list):
        fields.wrong(name, "want a list")
        return None
    for code in value:
        if code not in known:
            fields.wrong(name, f"{code!r} is none of {', '.join(known)}")
    return list(dict.fromkeys(map(str, value)))


def _quiet_hours(fields: Fields) -> QuietHours | None:
    value = fields.get("quiet_hours")
    if value is None:
        return None
    inner = Fields(value, ("from", "to"))
    first, last = inner.text("from", True, 5), inner.text("to", True, 5)
    for name, text in (("from", first), ("to", last)):
        if text is not None and not _CLOCK.fullmatch(text):
            inner.wrong(name, f"{text!r} is no time of day; want HH:MM")
    if first == "24:00" or (first is not None and first == last):
        inner.wrong("from", "quiet hours end after they begin")
    for problem in inner.problems:
        said = problem.errors[0]
        fields.wrong(
            f"quiet_hours.{said['field']}" if said["field"] else "quiet_hours", str(said["message"])
        )
    return None if inner.problems else QuietHours(first or "", last or "")


async def _judge(
    fields: Fields, subscription: Subscription, allowed: Sequence[webhooks.Network]
) -> None:
    """Where it points. A name that has no address now is judged when something is sent."""
    if is_sealed(subscription.address):
        fields.wrong("address", "it can't be read any more: set it anew")
    elif subscription.channel == "webhook":
        try:
            await webhooks.checked(subscription.address, allowed)
        except webhooks.Unsafe as error:
            fields.wrong("address", str(error))
        except webhooks.Unresolved:
            pass
    elif subscription.channel != "inbox":
        why = await asyncio.to_thread(
            apprise_addresses.problem, subscription.channel, subscription.address
        )
        if why is not None:
            fields.wrong("address", why)
