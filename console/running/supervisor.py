"""Keeps a set of programs running, as Kubernetes would: starts, restarts, stops them.

One thread (the main one) does everything to the children; another may only ask through `request`. What stands in
`Program` is all that is known about a child, so that tests supervise stand-ins.
"""

import contextlib
import os
import queue
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LEASH = str(Path(__file__).with_name("leash.py"))
LARGEST_LOG = 16 * 2**20
LONG_LIFE = 10.0  # seconds after which a death is no longer a crash loop
FIRST_DELAY, LONGEST_DELAY = 0.5, 5.0
# Seconds a stage has between SIGTERM and SIGKILL: 12 + 10 + 10, well below the 40 that a clean stop may take.
GRACE = {0: 12.0, 1: 10.0, 2: 10.0}


@dataclass(frozen=True)
class Program:
    """What to run, and when to stop it: stage 0 first (services), then 1 (store), then 2 (broker)."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None
    health: str | None = None  # what `probes.ask` asks
    port: int | None = None
    stage: int = 0
    data_dir: Path | None = None
    once: bool = (
        False  # ends by itself with 0 when its work is done; only another exit code is a death
    )
    listed: bool = True  # in `status`
    console: bool = False  # writes to our standard output instead of a log file


class Child:
    """One program's life: processes that follow each other."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.process: subprocess.Popen[bytes] | None = None
        self.wanted = True
        self.done = False  # a `once` program that has ended well
        self.restarts = 0
        self.starts = 0
        self.deaths_in_a_row = 0
        self.started_at = 0.0
        self.start_at = 0.0
        self.kill_at: float | None = None
        self.last_exit: int | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None else None

    def delay(self) -> float:
        """How long to wait before the next start: not at all after a first death, then longer and longer."""
        if self.deaths_in_a_row <= 1:
            return 0.0
        return min(FIRST_DELAY * 2.0 ** (self.deaths_in_a_row - 2), LONGEST_DELAY)


class Supervisor:
    """`changed` is called after every start, death and stop (to write `run/up.json`); `ended` when a child has died
    by itself or a `once` program has finished (to tell the user, or to start what comes next)."""

    def __init__(
        self,
        logs: Path,
        changed: Callable[[], None] = lambda: None,
        ended: Callable[[Child, int], None] = lambda child, code: None,
    ) -> None:
        self.logs = logs
        self.changed = changed
        self.ended = ended
        self.children: dict[str, Child] = {}
        self.stopping = False
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)
        self._watchdog: subprocess.Popen[str] | None = None
        self._next_log_check = 0.0
        logs.mkdir(parents=True, exist_ok=True)

    # Asked for from outside

    def request(self, action: Callable[[], None]) -> None:
        """Runs `action` in the supervising thread soon."""
        self._requests.put(action)
        self.wake()

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"!")

    def add(self, program: Program) -> Child:
        """Wants the program: started at the next turn, or left alone where it already runs."""
        child = self.children.get(program.name)
        if child is None:
            child = self.children[program.name] = Child(program)
        child.program = program
        child.wanted, child.done = True, False
        self.wake()
        return child

    def remove(self, name: str) -> None:
        """Wants it no longer: SIGTERM now, SIGKILL after its grace."""
        child = self.children[name]
        child.wanted = False
        self._terminate(child)
        self.wake()

    def running(self) -> list[Child]:
        return [child for child in self.children.values() if child.process is not None]

    # The loop

    def catch_signals(self, on_stop: Callable[[], None]) -> None:
        """SIGINT and SIGTERM call `on_stop`; a child's death ends the wait in `turn` at once."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup
            signal.signal(number, lambda *_: on_stop())

    def turn(self, longest: float = 0.5) -> None:
        """One round: carry out requests, reap the dead, start what is wanted, kill what lingers, wait a little."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._requests.get_nowait()()
        self._watch()
        before = self._state()
        for child in list(self.children.values()):
            self._reap(child)
            self._start_if_wanted(child)
            self._kill_if_late(child)
        if self._state() != before:
            self.changed()
        self._bound_logs()
        now = time.monotonic()
        due = [
            c.start_at
            for c in self.children.values()
            if c.wanted and c.process is None and not c.done
        ]
        due += [c.kill_at for c in self.running() if c.kill_at is not None]
        wait = max(min([longest, *(moment - now for moment in due)]), 0.0)
        readable, _, _ = select.select([self._wake_read], [], [], wait)
        if readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 4096)

    def stop(self) -> None:
        """Ends everything in order: services, store, broker. Takes as long as the stages' graces at most."""
        self.stopping = True
        for child in self.children.values():
            child.wanted = False
        for stage in sorted(GRACE):
            for child in self.running():
                if child.program.stage == stage:
                    self._terminate(child)
            while any(child.program.stage == stage for child in self.running()):
                self.turn(0.2)
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            self._watchdog.wait()

    # One child

    def _state(self) -> list[tuple[str, int | None, bool, bool]]:
        return [(n, c.pid, c.wanted, c.done) for n, c in self.children.items()]

    def _reap(self, child: Child) -> None:
        if child.process is None:
            if not child.wanted and not self.stopping:
                self.children.pop(child.program.name, None)
            return
        code = child.process.poll()
        if code is None:
            return
        # The rest of its group goes with it: a worker's own processes must not hold its port.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)
        self._tell_watchdog("-", child.process.pid)
        was_wanted = child.wanted and child.kill_at is None
        child.process, child.kill_at, child.last_exit = None, None, code
        if child.program.once and code == 0:
            child.done = True
        elif was_wanted:
            lived = time.monotonic() - child.started_at
            child.deaths_in_a_row = 1 if lived > LONG_LIFE else child.deaths_in_a_row + 1
            child.restarts += 1
            child.start_at = time.monotonic() + child.delay()
        if was_wanted:
            self.ended(child, code)

    def _start_if_wanted(self, child: Child) -> None:
        ready = child.wanted and not child.done and child.process is None
        if not ready or self.stopping or time.monotonic() < child.start_at:
            return
        program = child.program
        leash = [sys.executable, "-I", "-S", LEASH, "run", str(os.getpid()), *program.command]
        try:
            with open(self.logs / f"{program.name}.log", "ab") as log:
                child.process = subprocess.Popen(
                    leash,
                    stdin=subprocess.DEVNULL,
                    stdout=None if program.console else log,
                    stderr=log,
                    env={**os.environ, **program.environment},
                    start_new_session=True,  # the terminal's Ctrl-C comes to us; we stop children in order
                )
        except OSError:
            # No process or no file to be had just now: the same as a death, but nobody's fault.
            child.start_at = time.monotonic() + LONGEST_DELAY
            return
        child.started_at = time.monotonic()
        child.starts += 1
        self._tell_watchdog("+", child.process.pid)

    def _terminate(self, child: Child) -> None:
        if child.process is None or child.kill_at is not None:
            return
        child.kill_at = time.monotonic() + GRACE[child.program.stage]
        with contextlib.suppress(ProcessLookupError):
            child.process.terminate()
            child.process.send_signal(signal.SIGCONT)  # a stopped process can't act on SIGTERM

    def _kill_if_late(self, child: Child) -> None:
        if child.process is None or child.kill_at is None or time.monotonic() < child.kill_at:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.kill_at = time.monotonic() + 1.0

    # Around them

    def _watch(self) -> None:
        """The watchdog is a child too: if somebody killed it, there is a new one."""
        if self._watchdog is not None and self._watchdog.poll() is None:
            return
        if self._watchdog is not None and self._watchdog.stdin is not None:
            with contextlib.suppress(OSError):
                self._watchdog.stdin.close()
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", LEASH, "watch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        for child in self.running():
            if child.pid is not None:
                self._tell_watchdog("+", child.pid)

    def _tell_watchdog(self, sign: str, group: int) -> None:
        if self._watchdog is None or self._watchdog.stdin is None:
            return
        with contextlib.suppress(OSError):
            self._watchdog.stdin.write(f"{sign}{group}\n")
            self._watchdog.stdin.flush()

    def _bound_logs(self) -> None:
        """Copies a log that has grown large to NAME.log.1 and empties it: the child goes on appending to it."""
        now = time.monotonic()
        if now < self._next_log_check:
            return
        self._next_log_check = now + 5.0
        for log in self.logs.glob("*.log"):
            with contextlib.suppress(OSError):
                if log.stat().st_size > LARGEST_LOG:
                    shutil.copyfile(log, log.with_name(log.name + ".1"))
                    os.truncate(log, 0)
