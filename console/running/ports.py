"""Are our ports free? Asked before anything is started, so that nobody meets a half-started system."""

import contextlib
import socket
import time

import psutil

from console.cli import Refusal


def taken(port: int) -> bool:
    """True where something listens. SO_REUSEADDR: connections of the last run that still linger don't matter."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def holder(port: int) -> str:
    """The process that listens on a port, where the operating system tells it."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr
            if listens and connection.laddr.port == port and connection.pid is not None:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another program"


def require_free(wanted: list[tuple[str, int]], seconds: float) -> None:
    """Waits so long for the ports of a run that is still dying; then says what is in the way. Raises Refusal."""
    deadline = time.monotonic() + seconds
    while True:
        in_the_way = [(name, port) for name, port in wanted if taken(port)]
        if not in_the_way:
            return
        if time.monotonic() >= deadline:
            break
        time.sleep(0.1)
    lines = [
        f"port {port}, wanted for {name}, is taken by {holder(port)}" for name, port in in_the_way
    ]
    base = min(port for _, port in wanted)
    lines.append(
        f"choose other ports with --port-base N (make run PORT_BASE=N), for example "
        f"yumai up --port-base {base + 1000 if base < 64_000 else 8700}"
    )
    raise Refusal("\n  ".join(lines))
