"""The life of an alert as a state machine: alert and progress in, the next step out. Pure.

    (none) ─ pace < 0.97 ─▶ open (yellow; red below 0.94) ─ pace ≥ 0.98 ─▶ resolved ─ < 0.97 ─▶ open again

Between the lines nothing changes, so that a pace that swings around one of them is told once.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.alerts.codec import Figures, Kind, Level, State, Step, alert_id
from yumai.methods.pace import RED_BELOW, YELLOW_BELOW, Progress

RECOVERED_FROM = 0.98
EASED_FROM = 0.95


@dataclass(frozen=True)
class Alert:
    """An alert as its last step left it."""

    seq: int
    state: State
    level: Level


Alerts = dict[str, Alert]
"""By alert id."""


def applied(alerts: Alerts, step: Step) -> bool:
    """Takes a step of the log in; False if it was known already."""
    known = alerts.get(step.id)
    if known is not None and step.seq <= known.seq:
        return False
    alerts[step.id] = Alert(step.seq, step.state, step.level)
    return True


def change(alert: Alert | None, pace: float) -> tuple[Kind, State, Level] | None:
    """What a pace does to an alert; None: nothing."""
    if alert is None or alert.state == "resolved":
        if pace >= YELLOW_BELOW:
            return None
        level: Level = "red" if pace < RED_BELOW else "yellow"
        return ("opened" if alert is None else "reopened"), "open", level
    if pace >= RECOVERED_FROM:
        return "resolved", "resolved", "green"
    if alert.level != "red" and pace < RED_BELOW:
        return "worsened", "open", "red"
    if alert.level == "red" and pace >= EASED_FROM:
        return "eased", "open", "yellow"
    return None


def next_step(
    alerts: Alerts, year: int, district: str, progress: Progress, figures_at: int, now: int
) -> Step | None:
    """The step to tell, if there is one. `figures_at` and `now` in epoch ms."""
    if progress.pace is None:
        return None
    id_ = alert_id(year, district)
    alert = alerts.get(id_)
    changed = change(alert, progress.pace)
    if changed is None:
        return None
    kind, state, level = changed
    figures = Figures(
        progress.target_fen,
        progress.attained_fen,
        progress.expected_fen,
        progress.pace,
        figures_at,
    )
    return Step(
        id_, alert.seq + 1 if alert else 1, now, year, district, kind, state, level, figures
    )
