"""A whole Yumai of one's own, `yumai up --empty` on its own state and ports: for the bench and the end-to-end tests."""

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
ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS = float(os.environ.get("YUMAI_E2E_READY_SECONDS", "180"))
STOP_SECONDS = 60.0
_OFFSETS = (0, 1, 2, 3, 4, 5, 6, 11, 12, 41, 90)


class Failed(AssertionError):
    """The system did not become or stay ready; the text says what happened."""


class System:
    """`secure`: Kafka by TLS, too; `canary`: with its synthetic entries."""

    def __init__(
        self,
        directory: Path,
        base: int | None = None,
        *,
        metrics_workers: int = 1,
        secure: bool = False,
        canary: bool = False,
    ) -> None:
        self.state = State(directory)
        self.base = base or free_base(range(9500, 9900, 100))
        self._options = ["--metrics-workers", str(metrics_workers)]
        self._options += ["--secure"] if secure else []
        self._options += ["--canary"] if canary else []
        self._tokens: dict[str, str] = {}
        self.up: subprocess.Popen[bytes] | None = None

    # -- where it is -----------------------------------------------------------------------------

    @property
    def gateway_port(self) -> int:
        return self.base

    @property
    def ingest_port(self) -> int:
        return self.base + 1

    @property
    def gateway(self) -> str:
        return f"http://{HOST}:{self.gateway_port}"

    @property
    def ingest(self) -> str:
        return f"http://{HOST}:{self.ingest_port}"

    @property
    def internal(self) -> str:
        """Kafka's address for who may do everything."""
        return Plan(self.state, self.base).internal

    @property
    def dsn(self) -> str:
        """The store's address, with the password that `up` has made."""
        return addresses.of(self.state.directory).dsn

    def kafka(self) -> dict[str, Any]:
        """Options of a client that may do everything."""
        return {
            "bootstrap_servers": self.internal,
            "security_protocol": "SSL",
            "ssl_context": certificates.context(self.state.tls),
        }

    # -- its life ----------------------------------------------------------------------------------

    def start(self, ready: bool = True) -> float:
        """Seconds until every service was ready. Raises Failed."""
        began = time.monotonic()
        self.state.logs.mkdir(parents=True, exist_ok=True)
        with (self.state.logs / "up.log").open("ab") as log:
            self.up = subprocess.Popen(
                # On a leash: it must not outlive its parent, also where that was killed.
                [sys.executable, "-I", "-S", leash.__file__, "run", str(os.getpid())]
                + [*_yumai("up"), "--empty", "--port-base", str(self.base)]
                + [*self._options, *self._where()],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if ready:
            self.wait_ready()
        return time.monotonic() - began

    def is_ready(self) -> bool:
        """Raises Failed where it has ended."""
        assert self.up is not None
        if self.up.poll() is not None:
            raise Failed(f"`yumai up` ended with {self.up.returncode}: {self.log('up')}")
        return probes.get(f"{self.gateway}/health/ready").healthy

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise Failed(f"not ready after {seconds:.0f} s\n{self.log('up')}\n{self.why()}")
            time.sleep(0.2)

    def stop(self, seconds: float = STOP_SECONDS) -> float:
        """SIGTERM; seconds until it had ended in order. Raises Failed."""
        assert self.up is not None
        began = time.monotonic()
        self.up.terminate()
        try:
            code = self.up.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"`yumai up` still runs {seconds} s after SIGTERM") from None
        if code != 0:
            raise Failed(f"`yumai up` ended with {code}: {self.log('up')}")
        return time.monotonic() - began

    def destroy(self) -> None:
        """Nothing of it is left running, whatever happened."""
        if self.up is None or self.up.poll() is not None:
            return
        children = self.children()
        self.up.terminate()
        try:
            self.up.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.up.kill()
            self.up.wait()
        for pid in filter(alive, children.values()):
            os.kill(pid, signal.SIGKILL)

    def children(self) -> dict[str, int]:
        """Name -> pid of everything that `up` runs, also what `status` does not list."""
        written = self.state.read_up() or {}
        return {c["name"]: c["pid"] for c in written.get("children", ()) if c.get("pid")}

    def pids(self) -> dict[str, int]:
        """Process ids of `children`, and of `up` itself."""
        return self.children() | ({"up": self.up.pid} if self.up is not None else {})

    def log(self, name: str, size: int = 3000) -> str:
        path = self.state.logs / f"{name}.log"
        return path.read_bytes()[-size:].decode(errors="replace") if path.exists() else ""

    # -- its commands --------------------------------------------------------------------------------

    def command(
        self, *arguments: str, seconds: float = 120.0, code: int | None = 0
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs `yumai …` on its state. Raises Failed for another exit code than `code` (None: any)."""
        try:
            done = subprocess.run(
                [*_yumai(*arguments), *self._where()],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"yumai {' '.join(arguments)}: not done after {seconds:.0f} s") from None
        if code is not None and done.returncode != code:
            said = (done.stdout[-2000:] + done.stderr[-2000:]).decode(errors="replace")
            raise Failed(f"yumai {' '.join(arguments)}: exit code {done.returncode}\n{said}")
        return done

    def json(self, *arguments: str, seconds: float = 120.0, code: int | None = 0) -> Any:
        """What the command prints as JSON. Raises Failed."""
        return json.loads(self.command(*arguments, "--json", seconds=seconds, code=code).stdout)

    def status(self) -> dict[str, Any]:
        return self.json("status", seconds=20)  # type: ignore[no-any-return]

    def why(self) -> str:
        """The output of `yumai status`, for the message of a failure."""
        status = self.status()
        return json.dumps({k: status[k] for k in ("processes", "lag", "problems")}, indent=1)

    def scale(self, service: str, workers: int) -> None:
        """So many workers, when it returns."""
        self.command("scale", service, str(workers), seconds=90)

    def key(self, platform: str) -> str:
        """A platform's key; its feed topic is there then."""
        return str(self.json("keys", "issue", "--platform", platform)["key"])

    def token(self, role: str = "bureau") -> str:
        if role not in self._tokens:
            self._tokens[role] = str(self.json("token", "--role", role)["token"])
        return self._tokens[role]

    def audit(self) -> tuple[bool, str]:
        """Whether the books agree with themselves, and the report in a line."""
        done = self.command("audit", "--json", seconds=900, code=None)
        try:
            report = json.loads(done.stdout)
            said = f"{report['entries']:,} entries, {report['difference_fen']} fen, {report['seconds']} s"
        except (ValueError, KeyError):
            said = (done.stderr or done.stdout)[-300:].decode(errors="replace")
        return done.returncode == 0, said

    def _where(self) -> list[str]:
        return ["--state", str(self.state.directory)]


def alive(pid: int | None) -> bool:
    """A zombie is dead."""
    if pid is None:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def free_base(bases: range) -> int:
    """The first of which nothing that we need is taken. Raises Failed."""
    for base in bases:
        if not any(ports.taken(base + n) for n in _OFFSETS):
            return base
    raise Failed(f"no free ports from {bases.start} on: choose with --port-base")


def _yumai(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "console", *arguments]
