"""How each platform's feed is: ok, silent, broken, late or rejecting, against its own rhythm. Pure.

    silent     nothing for longer than was ever usual lately, while MISSED_LEAST entries would have come;
               in some districts alone, too
    broken     three days with less than a third, or more than three and a half times, of what these
               weekdays usually bring, beyond what the other platforms' days do
    late       what arrives is mostly old, and what used to arrive in time does not; a backfill of past
               days beside punctual new ones is a restatement, no lateness
    rejecting  more than a fifth of its rows of the last day were refused

Days are Shanghai's. Rhythm is learnt from the last `WINDOW_DAYS`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from statistics import median_low
from typing import Any

import numpy as np

from contracts.days import SHANGHAI
from yumai.evaluation.coverage import Doubt
from yumai.methods.breaks import is_break, ratios
from yumai.methods.silence import MISSED_LEAST, silences
from yumai.store.figures import NET, Filter, Query

WINDOW_DAYS = 70
RECENT_DAYS = 28
SEEN_LEAST = 14
GAP_TIMES = 1.5
LAG_MOST = 14
"""Days; what is older was loaded, not delivered."""
LATE_DAYS = 2
"""Lateness is seen in three days of deliveries, today's among them."""
REJECTED_SHARE, REJECTED_LEAST = 0.2, 20
IMPORTER = "bureau"
"""Whose rows of an import can't be read stand under this name: no feed."""
STATES = ("ok", "silent", "broken", "late", "rejecting")
DOUBTFUL = ("late", "rejecting")
"""What the days of a feed don't show by themselves."""


# -- what is asked of the store -------------------------------------------------------------------------


def hours_query(now: datetime) -> Query:
    """Columns platform, hour (epoch seconds of its start), entries, of the window."""
    condition, parameters = _window(now).where()
    return Query(
        "SELECT toString(platform) AS name, toUnixTimestamp(period) AS hour, sum(entries) AS counted"
        f" FROM cells FINAL WHERE {condition} GROUP BY name, hour",
        parameters,
    )


def days_query(now: datetime) -> Query:
    """Columns platform, district (UInt32), day, recorded day, entries, net_fen, of the window."""
    condition, parameters = _window(now).where()
    return Query(
        "SELECT toString(platform) AS name, district, toDate(period) AS day, recorded_date AS recorded,"
        " sum(entries) AS counted,"
        f" sum({NET}) AS fen"
        f" FROM cells FINAL WHERE {condition} GROUP BY name, district, day, recorded",
        parameters,
    )


def last_query(now: datetime) -> Query:
    """Columns platform, last instant at which an entry occurred (epoch ms). Of the window."""
    first = (now.astimezone(SHANGHAI) - timedelta(days=WINDOW_DAYS)).date()
    return Query(
        "SELECT toString(platform) AS name, toUnixTimestamp64Milli(max(occurred_at)) AS at FROM entries"
        " WHERE recorded_date >= {first:Date} GROUP BY name",
        {"first": first},
    )


def rejected_query(now: datetime) -> Query:
    """Columns platform, refused rows of the last 24 hours."""
    return Query(
        "SELECT toString(platform) AS name, count() AS refused FROM dead_letters FINAL"
        " WHERE at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')"
        " AND code NOT IN ('conflict', 'duplicate', 'foreign_record') AND platform != {importer:String}"
        " GROUP BY name",
        {"since": int((now - timedelta(days=1)).timestamp() * 1000), "importer": IMPORTER},
    )


def _window(now: datetime) -> Filter:
    today = now.astimezone(SHANGHAI).date()
    return Filter(today - timedelta(days=WINDOW_DAYS), today + timedelta(days=1))


@dataclass(frozen=True)
class Seen:
    """Answers to the four queries, as rows."""

    hours: Sequence[Sequence[Any]]
    days: Sequence[Sequence[Any]]
    last: Sequence[Sequence[Any]]
    rejected: Sequence[Sequence[Any]]


# -- judging --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Feed:
    """`districts`: those it is silent in, or (broken, late, rejecting) all that it usually serves.

    `lag`: days after which it usually delivers; `since` (late, rejecting): the first day in doubt.
    """

    platform_id: str
    state: str
    last_entry_at: datetime | None
    districts: tuple[str, ...] = ()
    lag: int = 0
    since: date | None = None

    def row(self) -> dict[str, Any]:
        at = self.last_entry_at
        return {
            "platform_id": self.platform_id,
            "state": self.state,
            "last_entry_at": at and at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "districts": list(self.districts),
        }

    def of_district(self, code: str) -> Feed:
        """The feed as one district sees it: without its troubles in other districts."""
        own = tuple(district for district in self.districts if district == code)
        return replace(self, state=self.state if own else "ok", districts=own)


@dataclass
class _Platform:
    """A platform's window: by day of occurrence, by lag of delivery, by district."""

    days: np.ndarray
    on_day: dict[int, dict[int, int]] = field(default_factory=dict)
    """Recorded day -> lag in days -> entries."""
    districts: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    hours: dict[int, int] = field(default_factory=dict)


def health(seen: Seen, now: datetime) -> list[Feed]:
    """Every platform that sent anything in the window, by id."""
    platforms = _platforms(seen, now)
    last = {str(name): datetime.fromtimestamp(int(at) / 1000, UTC) for name, at in seen.last if at}
    refused = {str(name): int(number) for name, number in seen.rejected}
    volumes = {name: _ratio(p) for name, p in platforms.items()}
    found = []
    for name in sorted({*platforms, *refused}):
        platform = platforms.get(name)
        state: str = "ok"
        districts: tuple[str, ...] = ()
        if platform is not None:
            others = [r for n, r in volumes.items() if n != name and r is not None]
            state, districts = _state(platform, volumes[name], others, now)
        if state == "ok" and _rejects(platform, refused.get(name, 0)):
            state, districts = "rejecting", _served(platform)
        lag = usual_lag(platform.on_day) if platform is not None else 0
        since = None
        if platform is not None and state in DOUBTFUL:
            since = _since(platform, state, lag, now)
        found.append(Feed(name, state, last.get(name), districts, lag, since))
    return found


def _platforms(seen: Seen, now: datetime) -> dict[str, _Platform]:
    first = now.astimezone(SHANGHAI).date() - timedelta(days=WINDOW_DAYS)
    size = WINDOW_DAYS + 1
    found: dict[str, _Platform] = {}
    for name, district, day, recorded, counted, fen in seen.days:
        n = (_day(day) - first).days
        if not 0 <= n < size:
            continue
        platform = found.setdefault(str(name), _Platform(np.zeros(size)))
        platform.days[n] += int(counted)
        r = (_day(recorded) - first).days
        lags = platform.on_day.setdefault(r, {})
        lags[r - n] = lags.get(r - n, 0) + int(counted)
        code = f"{int(district):06d}"
        own = platform.districts.setdefault(code, (np.zeros(size, dtype=np.int64), np.zeros(size)))
        own[0][n] += int(counted)
        own[1][n] += float(fen)
    for name, hour, counted in seen.hours:
        if str(name) in found:
            found[str(name)].hours[int(hour) // 3600] = int(counted)
    return found


def _day(value: Any) -> date:
    return value if isinstance(value, date) else date.fromisoformat(str(value))


def _state(
    platform: _Platform, ratio: float | None, others: Sequence[float], now: datetime
) -> tuple[str, tuple[str, ...]]:
    lag = usual_lag(platform.on_day)
    if _is_silent(platform, lag, now):
        return "silent", _served(platform)
    muted = _silent_districts(platform, lag)
    if muted:
        return "silent", muted
    if ratio is not None:
        common = float(np.median(others)) if others else 1.0
        if is_break(ratio, common):
            return "broken", _served(platform)
    if _is_late(platform, lag):
        return "late", _served(platform)
    return "ok", ()


def usual_lag(on_day: Mapping[int, Mapping[int, int]]) -> int:
    """Days after which a delivery's entries are usually there: median of days of delivery, each with its own median.

    A day of which much is backfill is one day among many.
    """
    lags = []
    for recorded, by_lag in on_day.items():
        if recorded >= WINDOW_DAYS - 2:
            continue  # the last days are what is judged
        delivered = sorted((lag, number) for lag, number in by_lag.items() if 0 <= lag <= LAG_MOST)
        total, so_far = sum(number for _, number in delivered), 0
        for lag, number in delivered:
            so_far += number
            if 2 * so_far >= total:
                lags.append(lag)
                break
    return median_low(lags) if lags else 0


def _is_silent(platform: _Platform, lag: int, now: datetime) -> bool:
    """Whether the platform as a whole is silent, judged by the hour."""
    active = sorted(platform.hours)
    if not active or int(np.count_nonzero(platform.days)) < SEEN_LEAST:
        return False
    if lag:
        # What is delivered days later must be there for whole days only.
        now = now.astimezone(SHANGHAI).replace(hour=0, minute=0) - timedelta(days=lag)
    gone = int(now.timestamp()) // 3600 - active[-1]
    if gone <= 1:
        return False
    recent = [h for h in active if h > active[-1] - RECENT_DAYS * 24]
    longest = max((b - a for a, b in pairwise(recent)), default=1)
    usual = np.zeros(24)
    for h in recent:
        usual[(h + 8) % 24] += platform.hours[h]
    usual /= max(min(RECENT_DAYS, (recent[-1] - recent[0]) / 24 + 1), 1)
    whole, rest = divmod(gone - 1, 24)
    missed = whole * usual.sum() + sum(
        usual[(active[-1] + 1 + n + 8) % 24] for n in range(int(rest))
    )
    return gone > GAP_TIMES * longest and missed >= 2 * MISSED_LEAST


def _silent_districts(platform: _Platform, lag: int) -> tuple[str, ...]:
    """Districts in which it alone has fallen silent, by the end of the last day that should be there."""
    codes = sorted(platform.districts)
    end = WINDOW_DAYS - lag
    counted = np.stack([platform.districts[code][0] for code in codes])
    fen = np.stack([platform.districts[code][1] for code in codes])
    found = silences(counted[:, :end], fen[:, :end])
    heard = counted[:, end:].sum(axis=1) > 0
    return tuple(
        code for code, silent in zip(codes, found.silent[:, -1] & ~heard, strict=True) if silent
    )


def _ratio(platform: _Platform) -> float | None:
    """Volume against the usual one, of the last day that is over and due; None where the usual one is too small."""
    end = WINDOW_DAYS - usual_lag(platform.on_day)
    found = float(ratios(platform.days[None, :end])[0, -1])
    return None if math.isnan(found) else found


def _is_late(platform: _Platform, lag: int, until: int = WINDOW_DAYS) -> bool:
    """Whether most entries of the three days up to day number `until` came late."""

    def punctual(recorded: int) -> int:
        return sum(n for of, n in platform.on_day.get(recorded, {}).items() if of <= lag + 1)

    recent = range(until - 2, until + 1)
    old = sum(
        n
        for recorded in recent
        for of, n in platform.on_day.get(recorded, {}).items()
        if lag + 1 < of <= LAG_MOST
    )
    in_time = sum(punctual(recorded) for recorded in recent)
    past = [punctual(recorded) for recorded in range(until - RECENT_DAYS, until - 2)]
    used = [number for number in past if number > 0]
    if len(used) < SEEN_LEAST // 2:
        return False
    # Today is not over: two whole days are what can be asked for.
    return old > in_time and in_time < 0.5 * 2 * float(np.median(used))


def _since(platform: _Platform, state: str, lag: int, now: datetime) -> date:
    """The first day whose figures are in doubt: since it is late; or yesterday, as refusals are counted."""
    today = now.astimezone(SHANGHAI).date()
    if state == "rejecting":
        return today - timedelta(days=1)
    until = WINDOW_DAYS
    while until > RECENT_DAYS and _is_late(platform, lag, until - 1):
        until -= 1
    return today - timedelta(days=WINDOW_DAYS - until + LATE_DAYS + lag)


def _rejects(platform: _Platform | None, refused: int) -> bool:
    booked = 0
    if platform is not None:
        booked = sum(
            sum(platform.on_day.get(recorded, {}).values())
            for recorded in (WINDOW_DAYS - 1, WINDOW_DAYS)
        )
    return refused >= REJECTED_LEAST and refused > REJECTED_SHARE * (refused + booked)


def _served(platform: _Platform | None) -> tuple[str, ...]:
    return () if platform is None else tuple(sorted(platform.districts))


def affected(feeds: Iterable[Feed]) -> dict[str, list[Feed]]:
    """District -> feeds whose trouble touches it."""
    found: dict[str, list[Feed]] = {}
    for feed in feeds:
        for code in feed.districts if feed.state != "ok" else ():
            found.setdefault(code, []).append(feed)
    return found


def doubts(feeds: Iterable[Feed]) -> dict[str, Doubt]:
    """By platform: lags and troubles that an evaluation of the present can't see in daily sums."""
    return {
        feed.platform_id: Doubt(feed.lag, feed.since, frozenset(feed.districts))
        for feed in feeds
        if feed.lag or feed.since is not None
    }
