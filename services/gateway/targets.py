"""`/v1/targets`: what districts and the city are to reach. The log `targets.v1` is the truth.

    body ─▶ asked ─▶ decide (with what is held, and was booked) ─▶ targets.v1 ─▶ held ─▶ answer

Writing is all or nothing: the rows of one request are one Kafka record batch, so that a crash never
leaves half of them. Who writes reads the log to its end first, under one lock; two gateways that write
one key at once both stay in its history.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from contracts.http.targets import Targets, TargetsSet
from contracts.targets.codec import Version, encode, key_of, of_versions
from services.gateway.bodies import taken
from services.gateway.login import principal_of
from services.gateway.parameters import TargetsParameters, as_of_of
from services.gateway.register import register_of
from services.gateway.requests import TargetAsked
from services.gateway.store import Store
from yumai.access import Principal
from yumai.evaluation.reads import booked_of_year
from yumai.http import refusals
from yumai.http.answers import answer
from yumai.http.direct import Direct
from yumai.http.document import errors, takes
from yumai.http.parameters import FROM_QUERY, Asked
from yumai.http.refusals import Refused
from yumai.sharing.asking import asker
from yumai.sharing.workers import Workers
from yumai.targets.asked import Wrong, read
from yumai.targets.decision import Booked, Setter, decide, years_needed
from yumai.targets.versions import Key, holding
from yumai.topics import TARGETS

router = APIRouter(route_class=Direct, tags=["targets"])
BODY_MOST = 16 << 20


@router.get(
    "/v1/targets", response_model=Targets, responses=errors("forbidden", "invalid_parameter")
)
async def get_targets(
    request: Request, asked: Annotated[TargetsParameters, FROM_QUERY]
) -> Response:
    """Each target as it holds, and its history."""
    year, as_of, sectors = asked.year, as_of_of(asked.as_of), asked.sector
    allowed = in_scope(principal_of(request), asked.district)
    held = await register_of(request).targets()
    data = [
        shown(key, versions)
        for key in held.ordered()
        if (year is None or key[0] == year)
        and (allowed is None or key[1] in allowed)
        and (sectors is None or "*" in sectors or key[2] in sectors)
        and (versions := held.of(key, as_of))
    ]
    meta = {
        "count": len(data),
        "as_of": as_of and as_of.isoformat(),
        "currency": "CNY",
        "unit": "fen",
        "generated_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    return answer({"meta": meta, "data": data})


ROW_CODES = (
    *("duplicate", "invalid_value", "missing_field", "not_object", "out_of_range"),
    *("too_long", "unknown_district", "unknown_field", "wrong_type"),
)


@router.put(
    "/v1/targets",
    response_model=TargetsSet,
    responses=errors(
        *("forbidden", "body_undecodable", "too_large", "unsupported_media_type"),
        *("invalid_field", "invalid_parameter", *ROW_CODES),
    ),
    openapi_extra=takes(list[TargetAsked]),
)
async def put_targets(request: Request, _: Annotated[Asked, FROM_QUERY]) -> Response:
    """Sets targets, all or none; what holds already makes no version."""
    register = register_of(request)
    principal = principal_of(request)
    if not principal.is_bureau:
        raise Refused("forbidden", None, "targets are set by the bureau")
    came = await taken(request, BODY_MOST)
    workers: Workers = request.app.state.workers
    asked, wrong = await workers.run(asker(), lambda: read(_rows(came)))
    if wrong:
        raise refused(wrong)
    async with register.setting_targets:
        held = await register.targets_now()
        booked = await _booked(request.app.state.store, years_needed(asked))
        setter = Setter(principal.name, int(time.time() * 1000))
        decision = decide(asked, held, booked, setter)
        if decision.wrong:
            raise refused(decision.wrong)
        if decision.versions:
            await register.write_all(TARGETS, _records(decision.versions.items()))
            held = await register.targets_now()
            while torn := held.torn & decision.versions.keys():
                # Another gateway wrote between our reading and our writing: one record says it all.
                await register.write_all(TARGETS, _records((key, held.of(key)) for key in torn))
                held = await register.targets_now()
    data = []
    for row in asked:
        version = holding(held.of(row.key), row.form)
        assert version is not None
        data.append(shown(row.key, [version], history=False))
    meta = {"count": len(data), "set": len(decision.versions), "currency": "CNY", "unit": "fen"}
    return answer({"meta": meta, "data": data})


def _records(held: Iterable[tuple[Key, Any]]) -> list[tuple[str, bytes]]:
    return [(key_of(*key), encode(of_versions(*key, versions))) for key, versions in held]


def in_scope(principal: Principal, asked: Sequence[str] | None) -> Sequence[str] | None:
    """Districts (and `city`) that may be read; None: all. A district's are its own. Raises Refused."""
    if principal.role == "platform":
        raise Refused("forbidden", None, "targets are the bureau's and the districts'")
    if asked is not None and "*" in asked:
        asked = None if principal.is_bureau else [principal.code]
    if principal.is_bureau:
        return asked
    if asked is not None and any(code != principal.code for code in asked):
        raise Refused("forbidden", "district", f"district {', '.join(asked)}: not yours")
    return [principal.code]


def _rows(body: bytes) -> list[Any]:
    """Numbers exactly as they were written. Raises Refused."""
    try:
        # Half of a surrogate pair is no text: nobody could write it down.
        orjson.loads(body.removeprefix(b"\xef\xbb\xbf"))
        rows = json.loads(body, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise Refused("body_undecodable", None, f"not JSON: {error}") from error
    if not isinstance(rows, list):
        raise Refused("invalid_field", None, "want an array of targets")
    return rows


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def refused(wrong: Sequence[Wrong]) -> Refused:
    """All that is wrong, row by row; nothing was changed."""
    return Refused.rows(refusals.error(w.code, w.field, w.message, w.index) for w in wrong)


async def _booked(store: Store, years: Iterable[int]) -> dict[int, Booked]:
    """What was booked in each of these years. Raises Unavailable."""
    return {
        year: {
            (f"{number:06d}", sector): int(fen)
            for number, sector, fen in await store.rows(booked_of_year(year))
        }
        for year in years
    }


def shown(key: Key, versions: Sequence[Version], *, history: bool = True) -> dict[str, Any]:
    """A target: the version that holds, and its history."""
    year, district, sector = key
    row = {"year": year, "district": district, "sector": sector, **_shown(versions[-1])}
    if history:
        row["history"] = [_shown(version) for version in versions]
    return row


def _shown(version: Version) -> dict[str, Any]:
    return {
        "form": version.form,
        "value": version.value,
        "target_fen": version.target_fen,
        "base_fen": version.base_fen,
        "base_approximate": version.base_approximate,
        "basis": version.basis,
        "note": version.note,
        "version": version.version,
        "by": version.by,
        "at": None
        if version.at is None
        else datetime.fromtimestamp(version.at / 1000, UTC).isoformat(timespec="milliseconds"),
    }
