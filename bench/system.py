"""The system under test: `yumai up --empty` on a state of its own, and the commands that steer it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from console.running import addresses, leash, ports, probes
from console.running.processes import Plan
from console.running.state import State
from embedded import certificates

HOST = "127.0.0.1"
READY_SECONDS = 180.0
STOP_SECONDS = 60.0
_BASES = range(9500, 9900, 100)


class Failed(Exception):
    """The system did not do what a part needs of it; its text says what."""


class System:
    def __init__(self, directory: Path, base: int | None) -> None:
        self.state = State(directory)
        self.base = base or _free_base()
        self.internal = Plan(self.state, self.base).internal
        self.ingest, self.gateway = self.base + 1, self.base
        self._up: subprocess.Popen[bytes] | None = None
        self.token = ""

    @property
    def dsn(self) -> str:
        """With the password that `up` has made."""
        return addresses.of(self.state.directory).dsn

    @property
    def kafka(self) -> dict[str, Any]:
        """Options of a client that may do everything: a bench writes where only platforms do."""
        context = certificates.context(self.state.tls)
        return {
            "bootstrap_servers": self.internal,
            "security_protocol": "SSL",
            "ssl_context": context,
        }

    def start(self) -> None:
        """Returns when every service is ready. Raises Failed."""
        self.state.create()
        with (self.state.logs / "up.log").open("wb") as log:
            self._up = subprocess.Popen(
                # On a leash: it must not outlive a bench that was killed.
                [sys.executable, "-I", "-S", leash.__file__, "run", str(os.getpid())]
                + [*_yumai("up"), "--empty", "--port-base", str(self.base), *self._where()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_SECONDS
        while True:
            health = probes.get(f"http://{HOST}:{self.gateway}/health/ready")
            if health.healthy:
                break
            if self._up.poll() is not None:
                raise Failed(f"`yumai up` ended: see {self.state.logs}")
            if time.monotonic() > deadline:
                raise Failed(f"not ready after {READY_SECONDS:.0f} s: {health.reason}")
            time.sleep(0.2)
        self.token = self.ask("token", "--role", "bureau")["token"]

    def stop(self) -> None:
        if self._up is None or self._up.poll() is not None:
            return
        self._up.send_signal(signal.SIGTERM)
        try:
            self._up.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._up.kill()
            self._up.wait(10)

    def pids(self) -> dict[str, int]:
        """Names of the processes as `up` gives them, and of `up` itself."""
        listed = (self.state.read_up() or {}).get("processes", [])
        found = {p["name"]: p["pid"] for p in listed if p.get("pid")}
        return (
            found | ({"up": self._up.pid} if self._up is not None else {}) | {"bench": os.getpid()}
        )

    def scale(self, workers: int) -> None:
        """So many metrics workers, when it returns."""
        self.ask("scale", "metrics", str(workers), timeout=90)

    def key(self, platform: str) -> str:
        """A platform's key; its feed topic is there then."""
        return str(self.ask("keys", "issue", "--platform", platform, timeout=60)["key"])

    def status(self) -> dict[str, Any]:
        return self.ask("status")

    def audit(self) -> tuple[bool, str]:
        """Whether the books agree with themselves, and the report in a line."""
        code, out, err = self._run("audit", "--json", timeout=900)
        try:
            report = json.loads(out)
            said = f"{report['entries']:,} entries, {report['difference_fen']} fen, {report['seconds']} s"
        except (ValueError, KeyError):
            said = (err or out)[-300:]
        return code == 0, said

    def ask(self, *command: str, timeout: float = 60) -> dict[str, Any]:
        """The JSON that a command prints. Raises Failed."""
        code, out, err = self._run(*command, "--json", timeout=timeout)
        if code != 0:
            raise Failed(f"yumai {' '.join(command)}: exit code {code}: {(err or out)[-300:]}")
        return json.loads(out)  # type: ignore[no-any-return]

    def _run(self, *command: str, timeout: float) -> tuple[int, str, str]:
        try:
            done = subprocess.run(
                [*_yumai(*command), *self._where()],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"yumai {' '.join(command)}: not done after {timeout:.0f} s") from error
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def _where(self) -> list[str]:
        return ["--state", str(self.state.directory)]


def _yumai(*command: str) -> list[str]:
    return [sys.executable, "-m", "console", *command]


def _free_base() -> int:
    for base in _BASES:
        if not any(ports.taken(base + n) for n in (0, 1, 2, 3, 4, 11, 12, 41, 90)):
            return base
    raise Failed(f"no free ports from {_BASES[0]} on: choose with --port-base")
