"""Short questions to a process: do you serve? Each ends within its timeout and never raises.

`ask` takes any address: `http://…`, `kafka://host:port`, or `kafkas://host:port#DIR` with the administrator's
certificate in DIR (`embedded/certificates.py`).
"""

import http.client
import json
import socket
import ssl
import struct
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from yumai.http import health


class Health(NamedTuple):
    healthy: bool
    reason: str | None = None


def ask(url: str, timeout: float = 1.5) -> Health:
    parts = urlsplit(url)
    if parts.scheme == "kafka":
        return broker(parts.netloc, timeout)
    if parts.scheme == "kafkas":
        return broker(parts.netloc, timeout, Path(parts.fragment))
    return get(url, timeout)


def broker(address: str, timeout: float = 1.5, tls: Path | None = None) -> Health:
    """Asks for the cluster's brokers (Metadata v1, no topics): the list is empty while the broker is fenced.

    By hand, since a Kafka client takes longer to import than the answer takes to come.
    """
    host, _, port = address.rpartition(":")
    request = struct.pack(">hhihi", 3, 1, 1, -1, 0)
    deadline = time.monotonic() + timeout
    try:
        with _connected(host, int(port), timeout, tls) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _receive(connection, 4, deadline))
            _, brokers = struct.unpack(">ii", _receive(connection, size, deadline)[:8])
    except (OSError, struct.error) as error:  # ssl.SSLError is an OSError
        return Health(False, _words(error))
    return Health(True) if brokers > 0 else Health(False, "starting: not yet registered")


def get(url: str, timeout: float = 1.5) -> Health:
    """GET; healthy is 2xx. What our processes say they wait for (yumai/http/health.py) is passed on."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        body = answer.read(4096)
    except (OSError, http.client.HTTPException) as error:
        return Health(False, _words(error))
    finally:
        connection.close()
    if 200 <= answer.status < 300:
        return Health(True)
    return Health(False, _reason(body) or f"HTTP {answer.status}")


def _connected(host: str, port: int, timeout: float, tls: Path | None) -> socket.socket:
    if tls is None:
        return socket.create_connection((host, port), timeout)
    from embedded import certificates

    plain = socket.create_connection((host, port), timeout)
    try:
        return certificates.context(tls).wrap_socket(plain, server_hostname=host)
    except (OSError, ssl.SSLError):
        plain.close()
        raise


def _receive(connection: socket.socket, size: int, deadline: float) -> bytes:
    received = b""
    while len(received) < size:
        connection.settimeout(max(deadline - time.monotonic(), 0.01))
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionResetError("closed the connection")
        received += part
    return received


def _reason(body: bytes) -> str | None:
    try:
        why = health.why_not(json.loads(body))
    except ValueError:
        return None
    return why[:300] if why else None


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens on its port"
    return str(error) or type(error).__name__
