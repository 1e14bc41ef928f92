"""Taking a request's body: never more than the limit, never for ever."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import ClientDisconnect, Request

from services.ingest.doors.answers import Refusal
from services.ingest.formats.compression import BODY_MAX_BYTES
from yumai import telemetry

IDLE_SECONDS = 30.0
"""A sender that says nothing for so long has gone."""
HELD_MAX_BYTES = 1024 * 1024 * 1024
"""Of all bodies in work at once."""
_DRAIN_MAX_BYTES = 512 * 1024 * 1024
_DRAIN_SECONDS = 20.0


class Bodies:
    """Counts the bytes of all bodies in work, so that many large ones don't end the process."""

    def __init__(self) -> None:
        self._held = 0

    def hold(self, size: int) -> None:
        self._held += size
        telemetry.INGEST_HELD_BYTES.set(self._held)

    def release(self, size: int) -> None:
        self.hold(-size)

    async def read(self, request: Request) -> bytes:
        """The body; its bytes are held until `release`. Raises Refusal."""
        chunks: list[bytes] = []
        held = 0
        try:
            stream = request.stream().__aiter__()
            while True:
                try:
                    chunk = await asyncio.wait_for(stream.__anext__(), IDLE_SECONDS)
                except StopAsyncIteration:
                    break
                if held + len(chunk) > BODY_MAX_BYTES:
                    await self._drain(stream, held + len(chunk))
                    raise Refusal("too_large")
                if self._held + len(chunk) > HELD_MAX_BYTES:
                    raise Refusal("unavailable", "too much is being sent at once")
                self.hold(len(chunk))
                held += len(chunk)
                chunks.append(chunk)
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except TimeoutError as error:
            self.release(held)
            raise Refusal("body_undecodable", "the body did not come to its end") from error
        except ClientDisconnect as error:
            self.release(held)
            raise Refusal("body_undecodable", "the sender has gone") from error
        except BaseException:
            self.release(held)
            raise

    @staticmethod
    async def _drain(stream, size: int) -> None:
        """Lets the sender finish, so that it reads the answer instead of a broken pipe."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        while size < _DRAIN_MAX_BYTES and time.monotonic() < deadline:
            try:
                size += len(await asyncio.wait_for(stream.__anext__(), 2.0))
            except (StopAsyncIteration, TimeoutError, ClientDisconnect):
                return
