"""The decoders of this process: started before they are needed, replaced when they die."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import mmap
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass

import pyarrow as pa

from services.ingest.decoder.child import CPU_SECONDS
from services.ingest.refused import BodyRefused
from yumai.observability import telemetry
from yumai.sharing.slots import Slots

log = logging.getLogger("yumai.ingest")

WALL_SECONDS = 60.0
"""A job's time where the machine is busy; its computing is limited to CPU_SECONDS."""
START_SECONDS = 60.0
_RESTART_SECONDS = 1.0
_SMALL = 64 * 1024
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
# No secrets: what reads strangers' bytes has nothing to tell.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZDIR")  # fmt: skip
_SET = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
    # Below what is given back after a body: pages that the next one needs are kept.
    "MALLOC_TRIM_THRESHOLD_": "16777216",
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


Job = dict[str, str | int]


@dataclass(frozen=True)
class Decoded:
    """`stream`: the plain batches, in a file that nobody can change any more."""

    stream: pa.Buffer
    rows: int


class Died(Exception):
    """The decoder has ended; `signal` is what ended it, or 0."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"signal {signal}")
        self.signal = signal


class Child:
    """One decoder. Blocking: to be started in a thread."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair()
        with theirs:
            environment = {k: v for k, v in os.environ.items() if k in _ENVIRONMENT} | _SET
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.ingest.decoder.child", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        try:
            self.channel.settimeout(START_SECONDS)
            if not self.channel.recv(64):
                raise OSError("a decoder ended at its start")
        except OSError:
            self.kill()
            raise
        self.channel.setblocking(False)

    def kill(self) -> int:
        """Ends it, whatever it does; the signal that had ended it before, or 0."""
        polled = self.process.poll()
        self.process.kill()
        code = self.process.wait() if polled is None else polled
        self.channel.close()
        return -code if polled is not None and code < 0 else 0


class Decoders:
    """As many bodies are decoded at once as there are children; others wait for one.

    Senders have them in turn, and one has `each` at most. Where the asker is cancelled, so is the decoding.
    """

    def __init__(self, count: int, each: int | None = None) -> None:
        self._count = count
        self._slots = Slots(count, each or count)
        self._idle: asyncio.Queue[Child] = asyncio.Queue()
        self._children: set[Child] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Returns when all are ready."""
        await asyncio.gather(*(self._start_one() for _ in range(self._count)))

    async def close(self) -> None:
        self._closed = True
        for task in self._starting:
            task.cancel()
        for child in self._children:
            child.kill()
        self._children.clear()

    def pids(self) -> list[int]:
        return [child.process.pid for child in self._children]

    async def decode(self, sender: str, name: str, body: bytes, came: int) -> Decoded:
        """`came`: the body's bytes when it was packed. Raises BodyRefused: damaged, too large, or its
        decoder died of it."""
        job: Job = {"format": name, "came": came}
        file = _file_of(body) if len(body) < _SMALL else await asyncio.to_thread(_file_of, body)
        del body
        try:
            async with self._slots.of(sender):
                try:
                    return await self._decode(job, file)
                except Died as died:
                    if died.signal != signal.SIGKILL and died.signal:
                        raise
                    # Killed from outside, or gone before: that says nothing about the body.
                    return await self._decode(job, file)
        except Died as died:
            raise _refusal(died.signal) from died
        finally:
            os.close(file)

    async def _decode(self, job: Job, body: int) -> Decoded:
        child = await self._idle.get()
        out = os.memfd_create("yumai-decoded", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            answer = await self._ask(child, job, body, out)
            if "refused" in answer:
                raise BodyRefused(*answer["refused"])
            return _sealed(out, int(answer["rows"]))
        finally:
            os.close(out)

    async def _ask(self, child: Child, job: Job, body: int, out: int) -> dict:
        """The child's answer; the child is free again or replaced. Raises Died."""
        answer: dict = {"last": True}
        reason = "cancelled"
        try:
            line = json.dumps(job).encode() + b"\n"
            socket.send_fds(child.channel, [line], [body, out])
            async with asyncio.timeout(WALL_SECONDS):
                answer = await _line(child.channel)
            reason = "memory"
            return answer
        except TimeoutError as error:
            reason = "time"
            raise Died(signal.SIGXCPU) from error
        except (OSError, ValueError) as error:
            ended = await asyncio.to_thread(_ended, child)
            reason = "time" if ended == signal.SIGXCPU else "died"
            raise Died(ended) from error
        finally:
            if answer.get("last", False):
                self._replace(child, reason)
            else:
                self._idle.put_nowait(child)

    def _replace(self, child: Child, reason: str) -> None:
        telemetry.INGEST_DECODERS_REPLACED.inc(reason=reason)
        log.warning("decoder_replaced pid=%d reason=%s", child.process.pid, reason)
        self._children.discard(child)
        child.kill()
        if self._closed:
            return
        task = asyncio.create_task(self._start_one())
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start_one(self) -> None:
        while True:
            try:
                child = await asyncio.to_thread(Child)
                break
            except OSError as error:
                log.error("decoder_not_started %s", error)
                await asyncio.sleep(_RESTART_SECONDS)
        if self._closed:
            child.kill()
            return
        self._children.add(child)
        self._idle.put_nowait(child)


async def _line(channel: socket.socket) -> dict:
    """Raises OSError where the channel ended, ValueError for what is no answer."""
    loop = asyncio.get_running_loop()
    found = b""
    while not found.endswith(b"\n"):
        more = await loop.sock_recv(channel, 65_536)
        if not more or len(found) > 65_536:
            raise ConnectionResetError("the decoder has gone")
        found += more
    answer = json.loads(found)
    if not isinstance(answer, dict):
        raise ValueError("not an answer")
    return answer


def _ended(child: Child) -> int:
    """The signal that a process that closed its channel ended by, or 0."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.process.wait(2.0)
    return max(0, -(child.process.poll() or 0))


def _file_of(body: bytes) -> int:
    file = os.memfd_create("yumai-body", os.MFD_CLOEXEC)
    whole = memoryview(body)
    at = 0
    while at < len(whole):
        at += os.write(file, whole[at:])
    return file


def _sealed(file: int, rows: int) -> Decoded:
    """Raises Died where the child could still change what it wrote."""
    try:
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
    except OSError as error:
        raise Died(signal.SIGABRT) from error
    size = os.fstat(file).st_size
    if not size:
        return Decoded(pa.py_buffer(b""), 0)
    return Decoded(pa.py_buffer(mmap.mmap(file, size, prot=mmap.PROT_READ)), rows)


def _refusal(ended_by: int) -> BodyRefused:
    if ended_by == signal.SIGXCPU:
        said = f"more than {CPU_SECONDS} seconds of computing to decode"
        return BodyRefused("too_large", None, said)
    if ended_by in (0, signal.SIGKILL):
        return BodyRefused("unavailable", None, "its decoder was ended twice; try again")
    name = signal.Signals(ended_by).name
    return BodyRefused("body_undecodable", None, f"its decoder died of it ({name})")
