"""Clients of the HTTP door: processes of their own, with bodies made beforehand, over a connection kept alive."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

TRIES = 10


@dataclass(frozen=True)
class Job:
    """One client's work: bodies in this order. `every`: seconds between two of them; None: at once."""

    port: int
    headers: dict[str, str]
    bodies: tuple[Path, ...]
    every: float | None = None
    delay: float = 0.0


@dataclass(frozen=True)
class Answer:
    """Instants of the monotonic clock, which all processes of a machine share."""

    sent_at: float
    acked_at: float
    status: int
    accepted: int = 0
    rejected: int = 0
    text: str = ""


def run(
    jobs: Sequence[Job], watch: Callable[[str, int], None], seconds: float
) -> list[list[Answer]]:
    """All clients at once; their answers. Raises TimeoutError when they are not done in time."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(jobs))
    pipes, processes = [], []
    for number, job in enumerate(jobs):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_client, args=(job, barrier, there), daemon=True)
        process.start()
        watch(f"client-{number}", process.pid or 0)
        there.close()
        pipes.append(here)
        processes.append(process)
    deadline = time.monotonic() + seconds
    try:
        answers = []
        for pipe in pipes:
            if not pipe.poll(max(deadline - time.monotonic(), 0)):
                raise TimeoutError(f"clients not done after {seconds:.0f} s")
            answers.append(pipe.recv())
        return answers
    finally:
        for process in processes:
            process.join(2)
            if process.is_alive():
                process.kill()


def _client(job: Job, barrier: Barrier, pipe: Connection) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", job.port, timeout=60)
    connection.connect()
    barrier.wait(60)
    begun = time.monotonic() + job.delay
    answers = []
    for number, path in enumerate(job.bodies):
        body = path.read_bytes()
        if job.every is not None:
            time.sleep(max(begun + number * job.every - time.monotonic(), 0))
        answers.append(_post(connection, job.headers, f"{path.stem}-{number}", body))
    pipe.send(answers)
    pipe.close()


def _post(
    connection: http.client.HTTPConnection, headers: dict[str, str], key: str, body: bytes
) -> Answer:
    sent = time.monotonic()
    answer, status = b"", 0
    for _ in range(TRIES):
        try:
            connection.request("POST", "/v1/entries", body, {**headers, "Idempotency-Key": key})
            reply = connection.getresponse()
            status, answer = reply.status, reply.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            status, answer = 0, str(error).encode()
        if status not in (0, 429, 503):
            break
        time.sleep(0.5)
    acked = time.monotonic()
    if status != 200:
        return Answer(sent, acked, status, text=answer[:300].decode(errors="replace"))
    receipt = json.loads(answer)
    return Answer(sent, acked, status, receipt["accepted"], receipt["rejected"])
