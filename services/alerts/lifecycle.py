"""The life of an alert as a state machine: state and event in, state and messages out. Pure.

    ok ─▶ watch ─▶ open ─▶ acknowledged ─▶ explained ─▶ resolved | withdrawn ─ relapse ─▶ open again
                    └────── escalated, reminded, silenced: the state stays ──────┘  last year: missed

Hysteresis is in the level that comes in: green keeps still, worse opens. A level of None (a guard) changes
nothing. Every step is a message; `is_told` says whether anybody gets it. Times are epoch ms.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from contracts.actions.codec import Action
from contracts.alerts.codec import (
    ENDED,
    HELD_BACK,
    LIVE,
    QUIET_KINDS,
    SYSTEM,
    Kind,
    Sector,
    Silence,
    State,
    StepRecord,
    alert_id,
)
from yumai.evaluation.rows import ProgressRow

RANKS = {"green": 0, "blue": 1, "yellow": 2, "red": 3}
Alerts = dict[str, StepRecord]
"""Each alert's last step, by its id: all that is remembered."""


@dataclass(frozen=True)
class Judged:
    """What a run says of one district and year: the worst of its rows."""

    year: int
    district: str
    at: int
    day: str
    """The day (Shanghai) as of which it was judged."""
    level: str | None
    """None: nothing may be said now (a guard, or no target)."""
    raw_level: str | None
    figures: dict[str, Any]
    sectors: tuple[Sector, ...] = ()
    unknown: frozenset[str | None] = frozenset()
    """Sectors (None: all services) about which nothing may be said now."""
    withdraw: bool = False
    """The day it opened is green, judged again with that day's target and today's entries."""


@dataclass(frozen=True)
class Tick:
    """Time goes by. `over`: years that are judged no more."""

    at: int
    escalate_after: int
    repeat_after: int
    over: frozenset[int] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Overdue:
    """The alert's work item is overdue."""

    at: int


Event = Judged | Tick | Overdue | Action


class Ended(Exception):
    """The alert has ended, or not begun: nobody can act on it."""


def worst(rows: Iterable[ProgressRow], year: int, district: str, at: int, day: str) -> Judged:
    """An event of a district's progress rows: its level is the worst of all with a target.

    A row without a level says nothing, nor does a frozen one (stale keeps the last day's); without any that
    speaks the event says nothing: missing is not lagging.
    """
    rows = list(rows)
    said = [row for row in rows if row.level is not None and "stale" not in row.guards]
    level = max((row.level for row in said if row.level), key=RANKS.__getitem__, default=None)
    raw = max(
        (row.raw_level for row in rows if row.raw_level is not None and not row.guards),
        key=RANKS.__getitem__,
        default=None,
    )
    main = next((row for row in said if row.sector is None), None)
    if main is None and said:
        main = max(said, key=lambda row: RANKS[row.level or "green"])
    sectors = tuple(
        Sector(row.sector, row.level, row.pace, row.attained_fen)
        for row in sorted(rows, key=lambda row: row.sector or "")
        if row.sector is not None and row.target_fen is not None
    )
    unknown = frozenset(
        row.sector for row in rows if row.level is None and "no_target" not in row.guards
    )
    figures = {} if main is None else asdict(main)
    return Judged(year, district, at, day, level, raw, figures, sectors, unknown)


def next_step(alert: StepRecord | None, event: Event) -> StepRecord | None:
    """The step that an event brings, if any. An explanation of an open alert brings two: ask again.

    Raises Ended for an action on an alert that has ended.
    """
    if isinstance(event, Judged):
        return _judged(alert, event)
    if isinstance(event, Tick):
        return _tick(alert, event) if alert is not None else None
    if isinstance(event, Overdue):
        return _overdue(alert, event) if alert is not None else None
    return _acted(alert, event)


def advance(alert: StepRecord | None, event: Event) -> tuple[StepRecord | None, list[StepRecord]]:
    """State and event in, state and messages out. Raises Ended."""
    steps: list[StepRecord] = []
    while (step := next_step(alert, event)) is not None:
        steps.append(step)
        alert = step
    return alert, steps


def is_silent(alert: StepRecord, at: int) -> bool:
    return alert.silence is not None and at < alert.silence.until_ms


def is_told(step: StepRecord) -> bool:
    """All but watched and eased; a silence holds back worsened and reminded only."""
    if step.kind in QUIET_KINDS:
        return False
    return not (step.kind in HELD_BACK and is_silent(step, step.at))


def _judged(alert: StepRecord | None, event: Judged) -> StepRecord | None:
    if event.level is None or (alert is not None and alert.state == "missed"):
        return None
    rank = RANKS[event.level]
    if alert is None or alert.state in ("ok", "watch"):
        if rank:
            return _open(alert, event, "opened")
        lags = event.raw_level is not None and RANKS[event.raw_level] > 0
        if lags and (alert is None or alert.state == "ok"):
            return _of(alert, event, "watched", "watch")
        if (
            alert is not None
            and alert.state == "watch"
            and event.raw_level is not None
            and not lags
        ):
            return _of(alert, event, "eased", "ok")
        return None
    if alert.state in ENDED:
        return _open(alert, event, "reopened") if rank else None
    if rank < RANKS[alert.level or "green"] and rests_on(alert, event.unknown):
        return None
    if not rank:
        ended: Kind = "withdrawn" if event.withdraw else "resolved"
        return _of(alert, event, ended, ended)  # type: ignore[arg-type]
    before = RANKS[alert.level or "green"]
    if rank > before:
        return _of(alert, event, "worsened", alert.state, told=not is_silent(alert, event.at))
    if rank < before:
        return _of(alert, event, "eased", alert.state)
    return None


def rests_on(alert: StepRecord, unknown: frozenset[str | None]) -> bool:
    """Something that lagged may not be judged now: that is no recovery."""
    lagging: set[str | None] = {s.sector for s in alert.sectors if RANKS.get(s.level or "", 0) > 0}
    if RANKS.get(alert.figures.get("level") or "", 0) > 0:
        lagging.add(alert.figures.get("sector"))
    return bool(lagging & unknown)


def _open(alert: StepRecord | None, event: Judged, kind: Kind) -> StepRecord:
    step = _of(alert, event, kind, "open", told=True)
    step.opened_at, step.opened_on, step.escalated_at = event.at, event.day, None
    step.seen_levels = [event.level] if event.level else []
    step.seen_sectors = _lagging(event)
    return step


def _of(
    alert: StepRecord | None, event: Judged, kind: Kind, state: State, told: bool = False
) -> StepRecord:
    """A step of judging: level, figures and sectors are the event's."""
    if alert is None:
        step = StepRecord(
            alert_id(event.year, event.district),
            1,
            event.at,
            event.year,
            event.district,
            kind,
            state,
            None,
            {},
        )
    else:
        step = _after(alert, event.at, kind, state)
    step.level = event.level  # type: ignore[assignment]
    step.figures = event.figures
    step.sectors = list(event.sectors)
    if event.level not in (None, "green"):
        step.seen_levels = sorted({*step.seen_levels, str(event.level)})
        step.seen_sectors = sorted({*step.seen_sectors, *_lagging(event)})
    if told:
        step.told_at = event.at
    return step


def _lagging(event: Judged) -> list[str]:
    return [s.sector for s in event.sectors if RANKS.get(s.level or "", 0) > 0]


def _after(alert: StepRecord, at: int, kind: Kind, state: State, by: str = SYSTEM) -> StepRecord:
    """The next step, with all that stays."""
    return msgspec.structs.replace(
        alert,
        seq=alert.seq + 1,
        at=max(at, alert.at),
        kind=kind,
        state=state,
        by=by,
        text=None,
        tell=[],
        action=None,
    )


def _tick(alert: StepRecord, event: Tick) -> StepRecord | None:
    if alert.state not in LIVE:
        return None
    if alert.year in event.over:
        return _after(alert, event.at, "missed", "missed")
    opened = alert.at if alert.opened_at is None else alert.opened_at
    if (
        alert.state == "open"
        and alert.escalated_at is None
        and event.at - opened >= event.escalate_after
    ):
        return _escalated(alert, event.at)
    since = opened if alert.told_at is None else alert.told_at
    if event.at - since >= event.repeat_after and not is_silent(alert, event.at):
        step = _after(alert, event.at, "reminded", alert.state)
        step.told_at = event.at
        return step
    return None


def _overdue(alert: StepRecord, event: Overdue) -> StepRecord | None:
    if alert.state in LIVE and alert.escalated_at is None:
        return _escalated(alert, event.at)
    return None


def _escalated(alert: StepRecord, at: int) -> StepRecord:
    step = _after(alert, at, "escalated", alert.state)
    step.escalated_at = at
    return step


def _acted(alert: StepRecord | None, action: Action) -> StepRecord | None:
    if alert is None or alert.state not in LIVE:
        raise Ended(alert.state if alert is not None else "unknown")
    if action.kind == "silence":
        silence = Silence(action.by, action.until or "", action.until_ms or 0, action.reason or "")
        known = alert.silence
        if known and (known.until, known.reason) == (silence.until, silence.reason):
            return None
        step = _after(alert, action.at, "silenced", alert.state, action.by)
        step.silence, step.text, step.action = silence, action.reason, action.id
        return step
    if action.kind == "acknowledge" or (action.kind == "explain" and alert.state == "open"):
        if alert.state != "open":
            return None
        step = _after(alert, action.at, "acknowledged", "acknowledged", action.by)
        step.text, step.action = action.note, action.id
        return step
    if action.kind != "explain":
        return None
    said = (action.text, action.measure, action.due_date)
    if alert.state == "explained" and said == (alert.explanation, alert.measure, alert.due_date):
        return None
    step = _after(alert, action.at, "explained", "explained", action.by)
    step.explanation, step.measure, step.due_date = said
    step.text = action.text
    step.action, step.work_item_id = action.id, work_item_id(alert.id)
    return step


def work_item_id(alert: str) -> str:
    return f"wi-{alert}"
