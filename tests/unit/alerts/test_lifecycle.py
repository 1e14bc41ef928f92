"""An alert's life as a state machine."""

from hypothesis import given
from hypothesis import strategies as st

from contracts.alerts import codec
from services.alerts.lifecycle import Alerts, applied, change, next_step
from yumai.methods.pace import Progress

paces = st.floats(0.5, 1.5)


def live(values: list[float], alerts: Alerts | None = None) -> list[codec.Step]:
    """The steps that a course of paces brings."""
    alerts = {} if alerts is None else alerts
    steps = []
    for at, value in enumerate(values):
        progress = Progress(1_000, int(1_000 * value), 1_000, value)
        step = next_step(alerts, 2026, "500101", progress, at, at)
        if step is not None:
            assert applied(alerts, step)
            steps.append(step)
    return steps


def test_lagging_opens_worsens_eases_and_is_resolved():
    steps = live([1.0, 0.96, 0.93, 0.945, 0.955, 0.975, 0.98, 0.99, 0.93])
    assert [(s.kind, s.state, s.level) for s in steps] == [
        ("opened", "open", "yellow"),
        ("worsened", "open", "red"),
        ("eased", "open", "yellow"),
        ("resolved", "resolved", "green"),
        ("reopened", "open", "red"),
    ]
    assert [s.seq for s in steps] == [1, 2, 3, 4, 5]
    assert {s.id for s in steps} == {"2026-500101"}


@given(st.floats(0.9701, 0.9799))
def test_between_the_lines_nothing_is_told(pace):
    assert change(None, pace) is None
    steps = live([0.96, pace, pace])
    assert [s.kind for s in steps] == ["opened"]


@given(st.lists(paces, max_size=40))
def test_the_same_pace_twice_tells_nothing_more(values):
    doubled = [value for value in values for _ in (1, 2)]
    assert [s.kind for s in live(values)] == [s.kind for s in live(doubled)]


@given(st.lists(paces, max_size=40))
def test_steps_have_no_holes_and_begin_and_end_alternately(values):
    steps = live(values)
    assert [s.seq for s in steps] == list(range(1, len(steps) + 1))
    ends = [s.kind for s in steps if s.kind in ("opened", "reopened", "resolved")]
    assert ends == [
        ("resolved" if n % 2 else "opened" if n == 0 else "reopened") for n in range(len(ends))
    ]


@given(st.lists(paces, max_size=40), st.data())
def test_a_log_read_again_from_anywhere_comes_to_the_same_state(values, data):
    alerts: Alerts = {}
    steps = live(values, alerts)
    again: Alerts = {}
    for step in steps:
        applied(again, codec.decode(codec.encode(step)))
    for step in steps[data.draw(st.integers(0, len(steps))) :]:
        assert not applied(again, step)
    assert again == alerts


def test_without_a_pace_there_is_no_step():
    assert next_step({}, 2026, "500101", Progress(1, 0, 0, None), 0, 0) is None
