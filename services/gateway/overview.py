"""`GET /v1/overview`: what the page shows at a glance, within the reader's scope.

Pace, levels and guards are those of `/v1/progress`, judged as far as the books are. A platform sees its
own sums and no pace: a district's pace would tell what others sell there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from contracts.days import SHANGHAI
from contracts.http.figures import Overview
from services.gateway.alerts import coarse, in_order, shown_briefly
from services.gateway.feeds import Health
from services.gateway.figures import meta_of
from services.gateway.login import districts_in_scope, platforms_in_scope, principal_of
from services.gateway.progress import Evaluations
from services.gateway.register import Register
from services.gateway.store import Store
from yumai.access import Principal
from yumai.districts import UNKNOWN, districts_of
from yumai.evaluation.feeds import Feed, affected
from yumai.evaluation.judge import Moment
from yumai.evaluation.rows import ProgressRow, progress_rows
from yumai.evaluation.shown import by_sector, shown_row
from yumai.http.answers import answer
from yumai.http.direct import Direct
from yumai.http.document import errors
from yumai.http.parameters import FROM_QUERY, Asked
from yumai.methods.guards import is_warming_up
from yumai.sharing.lately import Lately
from yumai.store import disclosure
from yumai.store.figures import NET, SERVICE_SECTORS, Filter, Query, midnight

PAST_SECONDS = 300.0
"""Past years change seldom."""
SHARE, LEAST_SECONDS = 10, 1.0
MOST_SECONDS = 2.5
"""A reading is used again for ten times as long as it took, but never for longer than this."""
JUDGED_MOST_SECONDS = 5.0
"""The same for judged rows, which cost more; a new target is judged at once."""
HIDDEN_MOST = 0.05
"""Share of a sector's entries that may be left out and its two years still be compared."""


class Overviews:
    """Overviews by scope and their parts, each read by one request at a time."""

    def __init__(
        self, store: Store, evaluations: Evaluations, health: Health, register: Register
    ) -> None:
        self._store = store
        self._evaluations = evaluations
        self._health = health
        self._register = register
        self._shown: Lately[dict[str, Any]] = Lately(
            share=SHARE, least=LEAST_SECONDS, most=MOST_SECONDS
        )
        self._before: Lately[Any] = Lately(
            least=PAST_SECONDS, most=PAST_SECONDS, stale=2 * PAST_SECONDS
        )
        self._standing: Lately[list[ProgressRow]] = Lately(
            share=SHARE, least=LEAST_SECONDS, most=JUDGED_MOST_SECONDS
        )

    async def of(self, principal: Principal) -> dict[str, Any]:
        """Raises Unavailable."""
        scope = (principal.role, principal.code)
        shown = await self._shown.of(scope, lambda: self._read(principal))
        alerts = await self._alerts(principal, shown["meta"]["year"])
        return {
            "meta": shown["meta"] | {"name": principal.name},
            "data": shown["data"] | {"alerts": alerts},
        }

    async def _alerts(self, principal: Principal, year: int) -> list[dict[str, Any]]:
        """Alerts as of now; the rest of an overview may be some seconds old. Raises Unavailable."""
        if principal.role == "platform":
            return []
        await self._register.ready()
        journal = self._register.journal
        found = [
            shown_briefly(journal, step)
            for step in journal.alerts.values()
            if step.year == year and principal.may_see_district(step.district)
        ]
        if principal.role == "district":
            found = [alert | coarse(alert) for alert in found]
        return in_order(found)

    async def _read(self, principal: Principal) -> dict[str, Any]:
        now = datetime.now(UTC)
        districts = districts_in_scope(principal, None)
        platforms = platforms_in_scope(principal, None)
        freshness = await self._store.freshness()
        # As far as the books are: what is not booked yet is not lagging.
        at = min(now, freshness.through or now).astimezone(SHANGHAI)
        today = now.astimezone(SHANGHAI).date()
        year = at.year
        own = principal.role == "district"
        closed = disclosure.Closed(freshness.as_of_closed)
        this = Filter(date(year, 1, 1), date(year, 12, 31), districts, None, platforms)
        last = Filter(date(year - 1, 1, 1), at.date(), districts, None, platforms)
        sums = await self._store.rows(
            _shown_sums(this, today, closed) if own else _sums(this, today)
        )

        async def read_before() -> list[Any]:
            asked = _shown_until(last, at, closed) if own else [_sums_until(last, at)]
            return [row for query in asked for row in await self._store.rows(query)]

        before = await self._before.of((principal.role, principal.code), read_before)
        judged: Mapping[str, ProgressRow] = {}
        troubled: dict[str, list[Feed]] = {}
        if principal.role != "platform":
            rows = await self._judged(at)
            judged = {
                row.district: row for row in rows if districts is None or row.district in districts
            }
            if own:
                shown = by_sector((row[1], row[2], row[3], row[6]) for row in sums)
                judged = {code: shown_row(row, shown) for code, row in judged.items()}
            troubled = affected(await self._health.lately())
        return {
            "meta": meta_of(freshness, now)
            | {
                "year": year,
                "at": at.isoformat(timespec="seconds"),
                "today": today.isoformat(),
                "role": principal.role,
                "code": principal.code,
                "warming_up": is_warming_up(at.date()),
            },
            "data": {
                **_totals(sums),
                "districts": _districts(sums, judged, troubled, year, principal),
                "sectors": _sectors(sums, before),
            },
        }

    async def _judged(self, at: datetime) -> list[ProgressRow]:
        """Rows of all services, a district each, as at `at`; once for all who read."""

        async def read() -> list[ProgressRow]:
            today = datetime.now(SHANGHAI).date()
            moment = Moment.of(at.year, at, today)
            judged, day = await self._evaluations.of(at.year, moment, today, None)
            shown = at.isoformat(timespec="seconds")
            return await asyncio.to_thread(progress_rows, judged, None, [None], at=shown, day=day)

        return await self._standing.of(await self._evaluations.targets_stand(), read)


router = APIRouter(route_class=Direct, tags=["figures"])


@router.get("/v1/overview", response_model=Overview, responses=errors("invalid_parameter"))
async def overview(request: Request, _: Annotated[Asked, FROM_QUERY]) -> Response:
    """What the page shows at a glance: this year's sums, sectors, districts and alerts."""
    overviews: Overviews = request.app.state.overviews
    return answer(await overviews.of(principal_of(request)))


def _sums(within: Filter, today: date) -> Query:
    """Columns district, sector, net, entries, and both of today alone."""
    condition, parameters = within.where()
    return Query(
        f"SELECT district, toString(sector) AS code, sum({NET}) AS net, sum(entries) AS number,"
        f" sumIf({NET}, period >= toDateTime({{today:UInt32}}, 'Asia/Shanghai')) AS net_today,"
        " sumIf(entries, period >= toDateTime({today:UInt32}, 'Asia/Shanghai')) AS number_today"
        f" FROM cells FINAL WHERE {condition} GROUP BY district, code",
        parameters | {"today": midnight(today)},
    )


def _sums_until(within: Filter, at: datetime) -> Query:
    """Last year up to the same instant: columns sector, net."""
    condition, parameters = within.where()
    return Query(
        f"SELECT toString(sector) AS code, sum({NET}) AS net FROM cells FINAL"
        f" WHERE {condition} AND period < toDateTime({{until:UInt32}}, 'Asia/Shanghai')"
        " GROUP BY code",
        parameters | {"until": int(_a_year_before(at).timestamp())},
    )


def _shown_sums(within: Filter, today: date, closed: disclosure.Closed) -> Query:
    """As `_sums`, restricted to what a district may see; then the number of suppressed entries, and of today's among them."""
    inner = disclosure.atoms(within, closed, "year")
    # Of an atom of several days, no part: today's are the base cells that stand for themselves.
    own = f"number >= {disclosure.LEAST}"
    return Query(
        "SELECT district, toString(sector) AS code, sumIf(net, fine), sumIf(number, fine),"
        f" sumIf(net, {own} AND day >= {{today:Date}}), sumIf(number, {own} AND day >= {{today:Date}}),"
        f" sumIf(number, NOT fine), sumIf(number, NOT ({own}) AND day >= {{today:Date}})"
        f" FROM ({inner.sql}) GROUP BY district, code",
        inner.parameters | {"today": today},
    )


def _shown_until(within: Filter, at: datetime, closed: disclosure.Closed) -> list[Query]:
    """As `_sums_until`, in two parts: the days before the last one, and of that what may be shown by the hour.

    Then the entries that are shown, and those that were left out.
    """
    until = _a_year_before(at)
    last = until.date()
    of_day = disclosure.slices(
        replace(within, first=last, last=last), ["hour"], "toUnixTimestamp(hour) < {until:UInt32}"
    )
    of_day = replace(of_day, parameters=of_day.parameters | {"until": int(until.timestamp())})
    before = replace(within, last=last - timedelta(days=1))
    return [disclosure.sums(part) for part in (disclosure.atoms(before, closed, "year"), of_day)]


def _a_year_before(at: datetime) -> datetime:
    return at.replace(year=at.year - 1, day=min(at.day, 28) if at.month == 2 else at.day)


def _is_service(row: Any) -> bool:
    return row[1] in SERVICE_SECTORS


def _by_district(sums: Any) -> dict[str, int]:
    """Services of the year so far."""
    found: dict[str, int] = {}
    for row in filter(_is_service, sums):
        code = f"{row[0]:06d}"
        found[code] = found.get(code, 0) + int(row[2])
    return found


def _totals(sums: Any) -> dict[str, Any]:
    """Sums of all services, and their entries. A district's sums say with `suppressed` that something was left out."""
    services = [row for row in sums if _is_service(row)]
    goods = [row for row in sums if row[1] == "G00"]
    service_fen = sum(int(row[2]) for row in services)
    goods_fen = sum(int(row[2]) for row in goods)
    whole = service_fen + goods_fen
    found: dict[str, dict[str, Any]] = {
        "today": {
            "net_fen": sum(int(row[4]) for row in services),
            "entries": sum(int(row[5]) for row in services),
        },
        "year": {
            "net_fen": service_fen,
            "entries": sum(int(row[3]) for row in services),
            "goods_fen": goods_fen,
            "service_share": service_fen / whole if whole > 0 else None,
        },
    }
    if not sums or len(sums[0]) <= 6:
        return found
    found["today"]["suppressed"] = any(row[7] for row in services)
    found["year"]["suppressed"] = any(row[6] for row in services)
    found["year"]["goods_suppressed"] = any(row[6] for row in goods)
    return {**found, "suppressed": any(row[6] for row in sums)}


JUDGED_FIELDS = (
    "target_fen",
    "comparable_fen",
    "expected_fen",
    "pace",
    "nowcast_fen",
    "p_meet",
    "required_growth",
    "raw_level",
    "level",
)


def _districts(
    sums: Any,
    judged: Mapping[str, ProgressRow],
    troubled: dict[str, list[Feed]],
    year: int,
    principal: Principal,
) -> list[dict[str, Any]]:
    """`guards` and feeds in trouble too; a platform's figures are sums alone."""
    attained = _by_district(sums)
    today: dict[str, int] = {}
    for row in filter(_is_service, sums):
        code = f"{row[0]:06d}"
        today[code] = today.get(code, 0) + int(row[4])
    codes = [*districts_of(year), UNKNOWN]
    if principal.role == "district":
        codes = [principal.code]
    found = []
    for code in codes:
        row = judged.get(code)
        figures = {name: getattr(row, name, None) for name in JUDGED_FIELDS}
        if figures["target_fen"] is None:
            figures["pace"] = figures["expected_fen"] = None
        found.append(
            {
                "code": code,
                "attained_fen": attained.get(code, 0),
                "today_fen": today.get(code, 0),
                **figures,
                "guards": row.guards if row is not None else [],
                "feeds": [
                    {"platform_id": feed.platform_id, "state": feed.state}
                    for feed in troubled.get(code, [])
                ],
            }
        )
    return found


def _sectors(sums: Any, before: Any) -> list[dict[str, Any]]:
    """A district's with `suppressed`; last year's is null where too little of either year is shown to compare."""
    net: dict[str, int] = {}
    today: dict[str, int] = {}
    shown: dict[str, int] = {}
    hidden: dict[str, int] = {}
    for row in sums:
        net[row[1]] = net.get(row[1], 0) + int(row[2])
        today[row[1]] = today.get(row[1], 0) + int(row[4])
        if len(row) > 6:
            shown[row[1]] = shown.get(row[1], 0) + int(row[3])
            hidden[row[1]] = hidden.get(row[1], 0) + int(row[6])
    past: dict[str, int] = {}
    past_shown: dict[str, int] = {}
    past_hidden: dict[str, int] = {}
    for row in before:
        past[row[0]] = past.get(row[0], 0) + int(row[1])
        if len(row) > 2:
            past_shown[row[0]] = past_shown.get(row[0], 0) + int(row[2])
            past_hidden[row[0]] = past_hidden.get(row[0], 0) + int(row[3])
    patchy = {code for code, number in hidden.items() if not _tells(shown[code], number)}
    patchy |= {code for code, number in past_hidden.items() if not _tells(past_shown[code], number)}
    return [
        {
            "code": code,
            "net_fen": net.get(code, 0),
            "today_fen": today.get(code, 0),
            "last_year_fen": past.get(code) if past and code not in patchy else None,
        }
        | ({"suppressed": hidden[code] > 0} if code in hidden else {})
        for code in SERVICE_SECTORS
    ]


def _tells(shown: int, hidden: int) -> bool:
    """Whether what is shown stands for the whole."""
    return hidden <= (shown + hidden) * HIDDEN_MOST
