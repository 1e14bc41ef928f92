"""`yumai up`, `scale` and `status` over stand-ins: what happens to the children, whatever happens."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from console.commands import status
from console.running.state import State

ROOT = Path(__file__).parent.parent.parent
STAND_IN = str(Path(__file__).with_name("stand_in.py"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def until(true: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = true()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


class Up:
    def __init__(self, state: Path) -> None:
        self.state = state
        # Below the ephemeral ports, so that no test's client sits on one of them.
        self.base = random.randrange(20_000, 30_000, 100)
        self.process: subprocess.Popen[str] | None = None

    def start(self, workers: int = 1) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [sys.executable, STAND_IN, "up", str(self.state), str(self.base), str(workers)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENVIRONMENT,
        )
        return self.process

    def yumai(self, *words: str, state: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "console", "--state", str(state or self.state), *words],
            capture_output=True,
            text=True,
            timeout=90,
            env=ENVIRONMENT,
            cwd=ROOT,
        )

    def status(self) -> dict[str, Any]:
        return json.loads(self.yumai("status", "--json").stdout)  # type: ignore[no-any-return]

    def processes(self) -> dict[str, dict[str, Any]]:
        """As `status` has them, without the figures, which stand-ins can't answer for."""
        return {p["name"]: p for p in status.processes(State(self.state).read_up() or {})}

    def healthy(self, *names: str) -> bool:
        found = self.processes()
        return set(found) == set(names) and all(p["healthy"] for p in found.values())

    def children(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def ready(self, workers: int = 1) -> None:
        metrics = [f"metrics-{n}" for n in range(1, workers + 1)]
        names = ["broker", "store", "ingest", "gateway", "alerts-1", *metrics]
        until(lambda: self.healthy(*names), 20, f"{names} healthy")


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    mine = Up(tmp_path / ("a-long-name-" * 8) / "state")  # longer than a Unix socket's path may be
    yield mine
    if mine.process is not None and mine.process.poll() is None:
        children = mine.children()
        mine.process.kill()
        mine.process.wait()
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()


def test_a_child_killed_with_9_runs_again_at_once_under_another_pid(up: Up) -> None:
    up.start()
    up.ready()
    before = up.processes()["metrics-1"]
    os.kill(before["pid"], signal.SIGKILL)
    killed = time.monotonic()
    after = until(
        lambda: (found := up.processes()["metrics-1"])["healthy"] and found, 5, "metrics-1 again"
    )
    assert time.monotonic() - killed < 3
    assert after["pid"] != before["pid"]
    assert (before["restarts"], after["restarts"]) == (0, 1)


def test_a_crash_loop_is_slowed_down_and_does_not_disturb_the_others(up: Up) -> None:
    up.start()
    up.ready()
    for deaths in range(1, 5):
        found = until(
            lambda: (p := up.processes()["ingest"])["healthy"] and p, 10, "ingest runs again"
        )
        assert found["restarts"] == deaths - 1
        os.kill(found["pid"], signal.SIGKILL)
    until(lambda: up.processes()["ingest"]["healthy"], 10, "ingest runs again")
    assert all(p["restarts"] == 0 for n, p in up.processes().items() if n != "ingest")


def test_scale_starts_and_stops_workers_by_stable_names_and_returns_when_it_is_so(up: Up) -> None:
    up.start()
    up.ready()
    first = up.processes()["metrics-1"]["pid"]
    assert up.yumai("scale", "metrics", "2").returncode == 0
    assert up.healthy("broker", "store", "ingest", "gateway", "alerts-1", "metrics-1", "metrics-2")
    assert up.yumai("scale", "metrics", "1").returncode == 0
    assert up.healthy("broker", "store", "ingest", "gateway", "alerts-1", "metrics-1")
    assert up.processes()["metrics-1"]["pid"] == first
    assert up.yumai("scale", "metrics", "0").returncode == 0
    assert up.healthy("broker", "store", "ingest", "gateway", "alerts-1")
    assert up.yumai("scale", "metrics", "1").returncode == 0
    up.ready()
    assert up.processes()["metrics-1"]["restarts"] == 0


def test_scale_refuses_what_does_not_scale_and_says_so(up: Up) -> None:
    answer = up.yumai("scale", "gateway", "2")
    assert answer.returncode == 2
    assert "always exactly one gateway" in answer.stderr
    answer = up.yumai("scale", "metrics", "1")
    assert answer.returncode == 1
    assert "start it first" in answer.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_also_what_is_deaf_or_frozen(up: Up, number: int) -> None:
    process = up.start()
    up.ready()
    children = up.children()
    os.kill(up.processes()["ingest"]["pid"], signal.SIGSTOP)
    asked = time.monotonic()
    process.send_signal(number)
    assert process.wait(40) == 0
    assert time.monotonic() - asked < 40
    _, alive = psutil.wait_procs(children, timeout=3)
    assert not alive
    assert json.loads((up.state / "run" / "up.json").read_text())["stopped"]


def test_children_of_a_killed_up_are_gone_and_the_next_up_arrives(up: Up) -> None:
    process = up.start(workers=2)
    up.ready(workers=2)
    children = up.children()
    assert len(children) >= 8
    os.kill(up.processes()["metrics-1"]["pid"], signal.SIGSTOP)
    process.kill()
    process.wait()
    up.start(workers=2)  # at once, while they die
    _, alive = psutil.wait_procs(children, timeout=15)
    assert not alive
    up.ready(workers=2)


def test_the_watchdog_reaches_grandchildren_too(up: Up) -> None:
    process = up.start()
    up.ready()
    # The deaf stand-in's own child: Linux' parent-death signal does not reach it.
    sleeping = [child for child in up.children() if "sleep" in child.name()]
    assert len(sleeping) == 1
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(sleeping, timeout=15)
    assert not alive


def test_a_killed_watchdog_is_replaced(up: Up) -> None:
    up.start()
    up.ready()

    def watchdog() -> list[int]:
        return [child.pid for child in up.children() if "watch" in child.cmdline()]

    (first,) = watchdog()
    os.kill(first, signal.SIGKILL)
    until(lambda: len(found := watchdog()) == 1 and found != [first], 5, "a new watchdog")
    up.ready()


def test_a_second_up_on_the_same_state_is_refused(up: Up) -> None:
    first = up.start()
    up.ready()
    second = Up(up.state)
    answer, _ = second.start().communicate(timeout=20)
    assert second.process is not None
    assert second.process.returncode == 2
    assert f"another `yumai up` (pid {first.pid}) already runs" in answer
    up.ready()


@pytest.mark.parametrize(("offset", "what"), [(0, "gateway"), (2, "broker"), (11, "metrics-1")])
def test_a_taken_port_is_named_before_anything_starts(up: Up, offset: int, what: str) -> None:
    with socket.create_server(("127.0.0.1", up.base + offset)):
        process = up.start()
        answer, _ = process.communicate(timeout=20)
    assert process.returncode == 2
    assert f"port {up.base + offset}, wanted for {what}, is taken" in answer
    assert "--port-base" in answer
    assert not list((up.state / "logs").iterdir())


def test_status_answers_whatever_is_dead(up: Up) -> None:
    process = up.start()
    up.ready()
    found = up.processes()
    assert found["broker"]["url"] == f"127.0.0.1:{up.base + 2}"
    assert found["store"]["data_dir"] == str(up.state / "store")
    os.kill(found["store"]["pid"], signal.SIGSTOP)
    os.kill(found["broker"]["pid"], signal.SIGSTOP)
    asked = time.monotonic()
    answer = up.status()
    assert time.monotonic() - asked < 5
    health = {p["name"]: p["healthy"] for p in answer["processes"]}
    assert health == dict.fromkeys(health, True) | {"store": False, "broker": False}
    assert answer["lag"]["records"] is None
    assert any(problem.startswith("store: ") for problem in answer["problems"])
    process.kill()
    process.wait()
    asked = time.monotonic()
    answer = up.status()
    assert time.monotonic() - asked < 5
    assert len(answer["processes"]) == 6
    assert not any(p["healthy"] for p in answer["processes"])
    assert "died, about to be restarted" not in str(answer)
    assert up.yumai("status").returncode == 0


def test_while_it_starts_status_names_every_process_and_says_what_is_not_there_yet(up: Up) -> None:
    up.start()
    until(lambda: up.processes(), 10, "a first status")
    found = up.processes()
    assert set(found) == {"broker", "store", "ingest", "metrics-1", "alerts-1", "gateway"}
    assert not found["gateway"]["healthy"]
    assert found["gateway"]["reason"] == "not started yet" or found["gateway"]["pid"]
    up.ready()


def test_status_of_a_state_that_never_was_is_an_answer_too(up: Up, tmp_path: Path) -> None:
    answer = up.yumai("status", "--json", state=tmp_path / "never")
    assert answer.returncode == 0
    assert json.loads(answer.stdout)["processes"] == []
    assert not (tmp_path / "never").exists()
