"""One sender at its worst, by every door at once: `python -m bench.attack` beside a running system.

It has a platform's key and a bureau's token of its own. Ends on SIGTERM, or after `--seconds`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import io
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pyarrow as pa

HOST = "127.0.0.1"
UNFINISHED, HEADS, WIDE, STREAMS, REPEATED = 40, 300, 50, 100, 200
NULL_ROWS = 100_000
NAMES = ("entry_id", "platform_id", "merchant_id", "occurred_at", "kind")


def null_rows() -> bytes:
    """A body of some hundred bytes whose every row is refused."""
    columns = {name: pa.nulls(NULL_ROWS, pa.string()) for name in NAMES}
    table = pa.table(columns | {"amount_fen": pa.nulls(NULL_ROWS, pa.int64())})
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()


def bomb() -> bytes:
    """64 MB of rows that are no JSON in 64 kB of gzip."""
    return gzip.compress(b"{\n" * (30 << 20), 9)


def bad_rows() -> bytes:
    return b'{"entry_id": 1}\n' * 12_000


class Worst:
    def __init__(self, ingest: int, gateway: int, key: str, token: str, tarpit: int) -> None:
        self._ingest, self._gateway = ingest, gateway
        self._key, self._token, self._tarpit = key, token, tarpit
        self.said: Counter[str] = Counter()

    async def run(self, seconds: float) -> None:
        bodies = [
            (null_rows(), "application/vnd.apache.arrow.stream", ""),
            (bomb(), "application/x-ndjson", "gzip"),
            (bad_rows(), "application/x-ndjson", ""),
        ]
        work: list[Callable[[], Awaitable[None]]] = []
        work += [self._unfinished] * UNFINISHED
        work += [self._slow_head] * HEADS
        work += [self._large_head] * 2
        work += [self._wide] * WIDE
        work += [self._stream] * STREAMS
        work += [self._test_message]
        for body in itertools.islice(itertools.cycle(bodies), REPEATED):
            work.append(lambda body=body: self._post(*body))  # type: ignore[misc]
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(self._for_ever(one) for one in work))

    async def _for_ever(self, work: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(random.random())
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                await work()
            await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def _connected(self, port: int):  # type: ignore[no-untyped-def]
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def _ask(
        self, port: int, method: str, path: str, token: str, body: bytes = b"", more: str = ""
    ) -> str:
        async with self._connected(port) as (reader, writer):
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{more}"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            async with asyncio.timeout(60):
                status = (await reader.readline())[9:12].decode()
            self.said[f"{path.partition('?')[0]} {status}"] += 1
            return status

    async def _unfinished(self) -> None:
        async with self._connected(self._ingest) as (reader, writer):
            head = f"POST /v1/entries HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._key}\r\n"
            head += "Content-Type: application/x-ndjson\r\nContent-Length: 60000000\r\n\r\n"
            writer.write(head.encode() + b"x" * 1_000_000)
            await writer.drain()
            status = (await reader.readline())[9:12].decode()
            self.said[f"unfinished {status}"] += 1

    async def _slow_head(self) -> None:
        async with self._connected(random.choice((self._ingest, self._gateway))) as (_, writer):
            writer.write(b"GET /v1/cells HTTP/1.1\r\nx-")
            while not writer.transport.is_closing():
                writer.write(b"a")
                await asyncio.sleep(1.0)

    async def _large_head(self) -> None:
        async with self._connected(random.choice((self._ingest, self._gateway))) as (_, writer):
            writer.write(b"GET /v1/cells HTTP/1.1\r\n")
            for _ in range(1_000):
                writer.write(b"a" * 100_000)
                await writer.drain()

    async def _post(self, body: bytes, media_type: str, encoding: str) -> None:
        more = f"Content-Type: {media_type}\r\n"
        more += f"Content-Encoding: {encoding}\r\n" if encoding else ""
        await self._ask(self._ingest, "POST", "/v1/entries", self._key, body, more)

    async def _wide(self) -> None:
        """Every second one does not wait for its answer."""
        path = "/v1/cells?from=2015-01-01&to=2030-12-31&grain=hour"
        path += f"&group_by=district,sector,platform&as_of=2030-01-{random.randrange(1, 28):02d}"
        async with asyncio.timeout(random.choice((0.5, 60.0))):
            await self._ask(self._gateway, "GET", path, self._token)

    async def _stream(self) -> None:
        async with self._connected(self._gateway) as (reader, writer):
            path = f"/v1/stream?token={self._token}"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            status = (await reader.readline())[9:12].decode()
            self.said[f"stream {status}"] += 1
            if status == "200":
                await asyncio.sleep(3_600)  # never read

    async def _test_message(self) -> None:
        if self._tarpit:
            address = f"mailto://127.0.0.1:{self._tarpit}?from=a@y.example&to=b@y.example"
            row = {"id": "tarpit", "channel": "email", "address": address}
            await self._ask(
                *(self._gateway, "PUT", "/v1/subscriptions", self._token),
                json.dumps([row]).encode(),
            )
            self._tarpit = 0
        await self._ask(self._gateway, "POST", "/v1/subscriptions/tarpit/test", self._token, b"{}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.attack", description=__doc__)
    for name in ("ingest", "gateway", "tarpit"):
        parser.add_argument(f"--{name}", type=int, default=0, help="port")
    parser.add_argument("--key", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    worst = Worst(given.ingest, given.gateway, given.key, given.token, given.tarpit)
    begun = time.monotonic()
    with contextlib.suppress(TimeoutError):
        asyncio.run(worst.run(given.seconds))
    print(json.dumps({"seconds": time.monotonic() - begun, "said": dict(worst.said)}))


if __name__ == "__main__":
    main()
