"""What the tests share: a real broker and a real engine, each started once a session, on free ports.

Tests take topics and databases of their own (`unique`), so that they don't meet in them.
"""

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from console.running import leash, probes
from embedded import secret_files

ROOT = Path(__file__).parent.parent

# A busy machine is no failure: properties are judged by their answers, not by a first call's time.
settings.register_profile("answers", deadline=None)
settings.load_profile("answers")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(
    arguments: list[str], log: Path, healthy: Callable[[], bool], seconds: float = 30.0
) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m ARGUMENTS`, answering, and killed at the end, also when pytest itself is killed."""
    command = [sys.executable, "-I", "-S", leash.__file__, "run", str(os.getpid())]
    command += [sys.executable, "-m", *arguments]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=ROOT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + seconds
        while not healthy():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{arguments[0]} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap address of a real Apache Kafka."""
    folder = tmp_path_factory.mktemp("kafka")
    address = f"127.0.0.1:{free_port()}"
    arguments = ["embedded.broker", "--plaintext", "--data-dir", str(folder / "data")]
    arguments += ["--port", address.split(":")[1], "--controller-port", str(free_port())]
    with running(arguments, folder / "broker.log", lambda: probes.broker(address).healthy):
        yield address


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real engine behind ClickHouse's HTTP interface, with its password: `{store}/{name}` is a DSN."""
    folder = tmp_path_factory.mktemp("store")
    port, password = free_port(), folder / "password"
    arguments = ["embedded.store", "--data-dir", str(folder / "data"), "--port", str(port)]
    arguments += ["--password-file", str(password)]
    ping = f"http://127.0.0.1:{port}/ping"
    with running(arguments, folder / "store.log", lambda: probes.get(ping).healthy):
        yield f"http://default:{secret_files.read(password)}@127.0.0.1:{port}"


@pytest.fixture
def unique() -> str:
    """A name that no other test uses, fit for a topic, a group and a database."""
    return f"t{uuid.uuid4().hex[:12]}"
