"""Alerts workers in their own processes: who judges, what is told, and that it is told once."""

import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.seams.alerts_place import TODAY, YEAR_FEN, Place, place
from yumai.methods.guards import is_warming_up

pytestmark = pytest.mark.skipif(
    is_warming_up(TODAY),
    reason="nobody is judged before March, and the workers read the real clock",
)


def judges(at: Place, names: list[str]) -> str:
    """The one that judges, as soon as it is one that says so twice running."""
    before: list[str] | None = None

    def one() -> str | None:
        nonlocal before
        found = [
            n for n in names if httpx.get(f"{at.ports[n]}/health/ready").json()["about"]["judges"]
        ]
        same, before = found == before, found
        return found[0] if same and len(found) == 1 else None

    return str(at.until(one))


def test_a_life_is_told_once_by_two_workers_and_over_kills(
    kafka: str, store: str, tmp_path: Path
) -> None:
    with place(kafka, store, tmp_path) as at, ExitStack() as stack:
        at.set_target("500101", int(YEAR_FEN * 1.015))
        at.set_target("500102", int(YEAR_FEN * 0.98))
        stack.enter_context(at.worker())
        (opened,) = at.until(lambda: at.steps("500101"))
        assert (opened.id, opened.seq) == (f"{TODAY.year}-500101", 1)
        assert (opened.kind, opened.state, opened.level) == ("opened", "open", "yellow")
        assert opened.figures["target_fen"] == int(YEAR_FEN * 1.015)
        assert opened.figures["pace"] < 1
        url = at.ports["alerts-1"]
        assert httpx.get(f"{url}/health/live").status_code == 200
        assert "yumai_alerts_steps" in httpx.get(f"{url}/metrics").text

        # One of two judges; it dies, and the other goes on from the log.
        stack.enter_context(at.worker("alerts-2"))
        judging = judges(at, ["alerts-1", "alerts-2"])
        at.kill(judging)
        other = "alerts-2" if judging == "alerts-1" else "alerts-1"
        assert judges(at, [other]) == other
        time.sleep(2.5)
        assert len(at.steps("500101")) == 1
        at.set_target("500101", int(YEAR_FEN * 0.98))
        steps = at.until(lambda: at.steps("500101")[1:])
        assert [(s.kind, s.state, s.level) for s in steps] == [("resolved", "resolved", "green")]
        # A target set anew judges at once, without a commit.
        at.set_target("500102", int(YEAR_FEN * 1.1))
        assert [s.level for s in at.until(lambda: at.steps("500102"))] == ["red"]
        at.book(500103, 1, 3)
        time.sleep(2.5)
        assert [len(at.steps(d)) for d in ("500101", "500102", "500103")] == [2, 1, 0]
