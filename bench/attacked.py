"""How long another sender's bodies and a district's page take, while somebody is at his worst or nobody is."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

PAGE = ("/v1/overview", "/v1/progress", "/v1/alerts", "/v1/feeds")
"""What a district's page reads, at once as it does; all together are a page."""
BODY_ROWS = 1_000
"""Some 190 kB of NDJSON."""


@dataclass
class Waits:
    """Seconds of each body and each page; `wrong`: what was not answered as it should have been."""

    bodies: list[float] = field(default_factory=list)
    pages: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def quantile(waits: Sequence[float], share: float) -> float:
    ordered = sorted(waits)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("inf")


def body(sender: str, first: int) -> bytes:
    now = int(time.time() * 1000)
    row = {"platform_id": sender, "occurred_at": now, "kind": "sale", "amount_fen": 1_250}
    row |= {"merchant_id": "shop-0000000001", "district_code": "500103", "mcc": "5812"}
    return b"\n".join(
        json.dumps(row | {"entry_id": f"fair-{first + n:012d}"}).encode() for n in range(BODY_ROWS)
    )


def measured(
    ingest: int, gateway: int, sender: str, key: str, token: str, seconds: float, first: int
) -> Waits:
    """One client sends bodies one after the other, another reads pages."""
    waits = Waits()
    until = time.monotonic() + seconds

    def send() -> None:
        number = first
        while time.monotonic() < until:
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
            raw = body(sender, number)
            number += BODY_ROWS
            took, said = _asked(ingest, "POST", "/v1/entries", headers, raw)
            waits.bodies.append(took)
            if said != "200":
                waits.wrong.append(f"body {said}")
            time.sleep(0.05)

    def get(path: str) -> tuple[float, str]:
        return _asked(gateway, "GET", path, {"Authorization": f"Bearer {token}"})

    def read() -> None:
        while time.monotonic() < until:
            begun = time.monotonic()
            for path, (_, said) in zip(PAGE, pool.map(get, PAGE), strict=True):
                if said != "200":
                    waits.wrong.append(f"{path} {said}")
            waits.pages.append(time.monotonic() - begun)
            time.sleep(0.05)

    works: list[Callable[[], None]] = [send, read]
    threads = [threading.Thread(target=work) for work in works]
    with ThreadPoolExecutor(len(PAGE)) as pool:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return waits


def _asked(
    port: int, method: str, path: str, headers: dict[str, str], raw: bytes | None = None
) -> tuple[float, str]:
    """Seconds, and the status or what went wrong. A connection of its own each time."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, raw, headers)
        answer = connection.getresponse()
        answer.read()
        said = str(answer.status)
    except (OSError, http.client.HTTPException) as error:
        said = type(error).__name__
    finally:
        connection.close()
    return time.monotonic() - begun, said


@contextmanager
def attack(
    ingest: int, gateway: int, key: str, token: str, tarpit: int, seconds: float
) -> Iterator[subprocess.Popen[str]]:
    """Somebody at his worst, in a process of his own."""
    command = [sys.executable, "-m", "bench.attack", "--key", key, "--token", token]
    command += ["--ingest", str(ingest), "--gateway", str(gateway), "--tarpit", str(tarpit)]
    process = subprocess.Popen(
        [*command, "--seconds", str(seconds)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)
