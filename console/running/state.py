"""The state directory as `up`, `status` and `scale` see it: paths, the lock, `run/up.json`, the control socket."""

import contextlib
import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import psutil


class State:
    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.kafka = self.directory / "kafka"
        self.store = self.directory / "store"
        self.identity = self.directory / "identity"
        self.secrets = self.directory / "secrets"
        self.store_password = self.secrets / "store"
        self.metrics_token = self.secrets / "metrics"
        self.tls = self.secrets / "tls"
        self.logs = self.directory / "logs"
        self.work = self.directory / "work"
        self.run = self.directory / "run"
        self.up_file = self.run / "up.json"

    def create(self) -> bool:
        """Makes what is missing, for its owner alone. True where others could get in before."""
        was_there = self.directory.is_dir()
        self.logs.mkdir(parents=True, exist_ok=True)
        was_open = was_there and bool(self.directory.stat().st_mode & 0o077)
        self.directory.chmod(0o700)
        for folder in (self.logs, self.run, self.work, self.identity, self.secrets):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)  # who can reach the control socket can scale
        return was_open

    def read_up(self) -> dict[str, Any] | None:
        """What the last `up` wrote, whether it still runs or not."""
        try:
            decoded = json.loads(self.up_file.read_text())
        except (OSError, ValueError):
            return None
        return decoded if isinstance(decoded, dict) else None

    def write_up(self, content: dict[str, Any]) -> None:
        """At once and whole: `status` may read at any moment."""
        fresh = self.up_file.with_suffix(".new")
        fresh.write_text(json.dumps(content, indent=1) + "\n")
        fresh.replace(self.up_file)

    def lock(self) -> TextIO | None:
        """Held by the running `up` and gone with it, however it ends; None where another one holds it."""
        file = (self.run / "lock").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file

    def is_up(self) -> bool:
        if not (self.run / "lock").exists():
            return False
        held = self.lock()
        if held is None:
            return True
        held.close()
        return False

    @contextlib.contextmanager
    def _beside_the_socket(self) -> Iterator[str]:
        # A Unix socket's path may have some 100 characters; its name within the current directory always fits.
        before = os.getcwd()
        os.chdir(self.run)
        try:
            yield "control.sock"
        finally:
            os.chdir(before)

    def listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with self._beside_the_socket() as name:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            listener.bind(name)
        listener.listen()
        return listener

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        """One question to the running `up`. Raises OSError where none answers."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            with self._beside_the_socket() as name:
                connection.connect(name)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile() as lines:
                answer = lines.readline()
        if not answer:
            raise ConnectionResetError("up ended while it was asked")
        return json.loads(answer)  # type: ignore[no-any-return]


def born(pid: int) -> float | None:
    """When the process with this pid started; with the pid it names a process for good. None: there is none.

    On Linux in ticks since boot, which no step of the system's clock changes.
    """
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else float(fields[19])
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return process.create_time()
    return None


def lives(process: dict[str, Any]) -> bool:
    """Is the process of an entry of `run/up.json` still that process?"""
    pid, then = process.get("pid"), process.get("born")
    if pid is None:
        return False
    now = born(pid)
    return now is not None and (then is None or abs(now - then) < 1.0)
