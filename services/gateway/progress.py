"""`GET /v1/progress`: how far districts and sectors are on the way to their targets, on any day.

A day that is over is answered from the one course of its year (its beginning is the same whatever day
it ends on), so that a year can be drawn day by day; the present is judged when it is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from contracts.days import FIRST_DAY, SHANGHAI
from contracts.http.targets import ProgressRows
from contracts.targets.codec import CITY
from services.gateway.feeds import Health
from services.gateway.figures import meta_of
from services.gateway.login import principal_of
from services.gateway.parameters import ProgressParameters, as_of_of
from services.gateway.register import Register
from services.gateway.store import Store
from services.gateway.targets import in_scope
from yumai.districts import districts, districts_of
from yumai.evaluation import cells, feeds, judge
from yumai.evaluation.books import Books, table_of
from yumai.evaluation.coverage import Doubts
from yumai.evaluation.judge import Judged, Moment
from yumai.evaluation.rows import ProgressRow, progress_rows
from yumai.evaluation.shown import Sums, by_sector, shown_row
from yumai.http.answers import answer
from yumai.http.direct import Direct
from yumai.http.document import errors
from yumai.http.parameters import FROM_QUERY
from yumai.http.refusals import Refused, Unavailable
from yumai.sharing.asking import ALL, asker, for_all
from yumai.sharing.lately import Lately
from yumai.sharing.workers import Workers
from yumai.store import disclosure
from yumai.store.figures import Filter, Freshness
from yumai.targets.asked import SECTORS
from yumai.targets.held import Held

router = APIRouter(route_class=Direct, tags=["targets"])
KEPT = 6
"""Courses."""
STEP_SECONDS = 2
"""The present moves on by so much: requests within it share one judgement."""
WARM_AFTER_SECONDS = 20.0
AS_OF_KEPT = 2
METHOD = "nowcast-1"


class Evaluations:
    """Courses by year and knowledge, each judged by one request at a time."""

    def __init__(
        self, store: Store, register: Register, health: Health, rules: str, workers: Workers
    ) -> None:
        self._workers = workers
        self._store = store
        self._health = health
        self._register = register
        self._books: OrderedDict[date | None, tuple[asyncio.Lock, Books]] = OrderedDict()
        self._kept: OrderedDict[tuple[Any, ...], Judged] = OrderedDict()
        self.lately: Lately[Course] = Lately(keys=8)
        self._rules = rules

    async def warm(self) -> None:
        """Reads the columns once, a while after the start, so that the first who asks need not wait."""
        await asyncio.sleep(WARM_AFTER_SECONDS)
        while True:
            try:
                lock, books = self._books_of(None)
                async with lock:
                    await self._read(books, datetime.now(SHANGHAI).year)
                return
            except Unavailable:
                await asyncio.sleep(WARM_AFTER_SECONDS)

    async def of(
        self, year: int, moment: Moment, today: date, as_of: date | None
    ) -> tuple[Judged, int]:
        """A course, and the place of the moment's day in it. Raises Unavailable."""
        held = await self._register.targets()
        lock, books = self._books_of(as_of)
        async with lock:
            # What is known now is read for all who ask; another day's knowledge for its asker alone.
            with for_all() if as_of is None else contextlib.nullcontext():
                years = await self._read(books, year)
            # Of a day that is over: the whole year's course up to yesterday, so that all days share it.
            whole = Moment(min(today - timedelta(days=1), cells.last_day(year)))
            if (
                moment.fraction == 1.0
                and date(year, *judge.FIRST_JUDGED) <= moment.day <= whole.day
            ):
                asked = whole
            else:
                asked = moment
            # What feeds are now says nothing of another knowledge, nor of a year that is over.
            doubts = {}
            if as_of is None and today - asked.day <= timedelta(days=1):
                doubts = feeds.doubts(await self._health.lately())
            doubted = tuple(sorted(doubts.items()))
            key = (year, asked, books.serial, books.changes, held.changes, doubted)
            judged = self._kept.get(key)
            if judged is None:
                judged = await self._workers.run(
                    asker() if as_of else ALL,
                    self._judge,
                    years,
                    year,
                    asked,
                    held,
                    as_of,
                    books,
                    doubts,
                )
                self._kept[key] = judged
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
        return judged, judged.days.index(moment.day)

    async def rows(
        self,
        judged: Judged,
        districts: Sequence[str] | None,
        sectors: Sequence[str | None] | None,
        shown: str,
        day: int,
    ) -> list[ProgressRow]:
        """Rows of one course, computed in the current asker's turn."""
        rows = functools.partial(progress_rows, judged, districts, sectors, at=shown, day=day)
        return await self._workers.run(asker(), rows)

    async def booked(self) -> datetime:
        """Now, or as far as the books are: what is not booked yet is not lagging. Raises Unavailable."""
        now = datetime.now(UTC)
        through = (await self._store.freshness()).through
        return min(now, through or now).astimezone(SHANGHAI)

    async def targets_stand(self) -> int:
        """Grows whenever a target is set. Raises Unavailable."""
        return (await self._register.targets()).changes

    def _judge(
        self,
        years: Any,
        year: int,
        moment: Moment,
        held: Held,
        as_of: date | None,
        books: Books,
        doubts: Doubts,
    ) -> Judged:
        return judge.judge(
            years,
            year,
            held.amounts(year, as_of),
            moment,
            share_path=held.share(year, as_of),
            rules=self._rules,
            memory=books.memory,
            doubts=doubts,
        )

    def _books_of(self, as_of: date | None) -> tuple[asyncio.Lock, Books]:
        """One reader at a time for each knowledge: looking back holds up nobody who looks at now."""
        if as_of not in self._books:
            past = [known for known in self._books if known is not None]
            if as_of is not None and len(past) >= AS_OF_KEPT:
                del self._books[past[0]]
            self._books[as_of] = asyncio.Lock(), Books(as_of)
        self._books.move_to_end(as_of)
        return self._books[as_of]

    async def _read(self, books: Books, year: int) -> Any:
        steps = books.refresh(year)
        answer: Any = None
        try:
            while True:
                ask = steps.send(answer)
                if ask.arrow:
                    async with self._store.pieces(ask.query, "ArrowStream") as pieces:
                        answer = table_of(b"".join([piece async for piece in pieces]))
                else:
                    answer = await self._store.rows(ask.query)
        except StopIteration as done:
            return done.value
        finally:
            steps.close()


class Course(NamedTuple):
    """A judged year up to a moment, and how fresh the books were."""

    freshness: Freshness
    moment: Moment
    shown: str
    judged: Judged
    day: int


@router.get(
    "/v1/progress",
    response_model=ProgressRows,
    responses=errors("forbidden", "invalid_parameter"),
)
async def get_progress(
    request: Request, asked: Annotated[ProgressParameters, FROM_QUERY]
) -> Response:
    """How far districts and sectors are on the way to their targets, on any day."""
    evaluations: Evaluations = request.app.state.evaluations
    store: Store = request.app.state.store
    principal = principal_of(request)
    now = datetime.now(UTC)
    here = now.astimezone(SHANGHAI)
    as_of = as_of_of(asked.as_of)
    year = _year(asked, here.date())
    allowed = in_scope(principal, asked.district)
    if allowed is not None and asked.district is None:
        allowed = [code for code in allowed if code in (*districts_of(year), CITY)]

    async def course_of() -> Course:
        freshness = await store.freshness()
        moment, shown = moment_of(year, asked.at, here, await evaluations.booked())
        judged, day = await evaluations.of(year, moment, here.date(), as_of)
        return Course(freshness, moment, shown, judged, day)

    if as_of is None and asked.at in (None, here.date()):
        # As it is now: the same for all who ask, until a target or the day is another.
        key = (year, asked.at, here.date(), await evaluations.targets_stand())
        course = await evaluations.lately.of(key, course_of)
    else:
        course = await course_of()
    freshness, moment, shown, judged, day = course
    data: Sequence[ProgressRow] = await evaluations.rows(
        judged, allowed, _sectors(asked.sector), shown, day
    )
    if principal.role == "district":
        sums = await shown_sums(store, principal.code, year, moment.day, as_of)
        data = [shown_row(row, sums) for row in data]
    meta = meta_of(freshness, now) | {
        "year": year,
        "at": shown,
        "as_of": as_of and as_of.isoformat(),
        "count": len(data),
        "method": METHOD,
        "approximate": sorted(judged.approximate),
    }
    return answer({"meta": meta, "data": data})


def _year(asked: ProgressParameters, today: date) -> int:
    """The year that is asked for. Raises Refused with all that contradicts it."""
    at, year = asked.at, asked.year or (asked.at or today).year
    wrong = []
    if year < FIRST_DAY.year:
        wrong.append(("at" if at is not None else "year", f"{year} is before {FIRST_DAY.year}"))
    if year > today.year:
        wrong.append(("year", f"{year} has not begun"))
    if at is not None and at > today:
        wrong.append(("at", f"{at} is in the future"))
    elif at is not None and at < date(year, 1, 1):
        wrong.append(("at", f"{at} is before {year}"))
    for code in asked.district or ():
        if code in districts() and code not in districts_of(year):
            wrong.append(("district", f"{code} is no district of {year}"))
    if wrong:
        raise Refused.all(Refused("invalid_parameter", *one) for one in wrong)
    return year


async def shown_sums(
    store: Store, district: str, year: int, last: date, as_of: date | None
) -> dict[str | None, Sums]:
    """Sums of a district's year up to a day, as far as it may see them. Raises Unavailable."""
    closed = disclosure.Closed((await store.freshness()).as_of_closed)
    within = Filter(date(year, 1, 1), last, [district], SECTORS, None, as_of)
    query = disclosure.sums(disclosure.atoms(within, closed, "year"))
    return by_sector((str(code), *of) for code, *of in await store.rows(query))


def _sectors(asked: Sequence[str] | None) -> Sequence[str | None] | None:
    """None: all of them. Without the parameter: all services together."""
    if asked is None:
        return [None]
    return None if "*" in asked else list(asked)


def moment_of(year: int, at: date | None, here: datetime, booked: datetime) -> tuple[Moment, str]:
    """The moment to judge, and its name in the answer. Today is judged up to now."""
    today = here.date()
    day = min(at or today, cells.last_day(year))
    if day < today:
        return Moment(day), day.isoformat()
    moment = Moment.of(year, booked - timedelta(seconds=booked.second % STEP_SECONDS), today)
    return moment, booked.isoformat(timespec="seconds") if at is None else moment.day.isoformat()
