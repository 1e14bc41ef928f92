"""Letting go of a consumer whose broker may be away."""

from __future__ import annotations

import asyncio
import contextlib

from aiokafka import AIOKafkaConsumer


async def let_go(consumer: AIOKafkaConsumer, seconds: float) -> None:
    """Stops it, whatever it still waits for; raises nothing but the caller's own cancellation.

    aiokafka's `stop` awaits the fetches that it has just cancelled, and so raises their CancelledError
    into its caller: without a task of its own the caller would end as if it had been cancelled.
    """
    stopping = asyncio.ensure_future(consumer.stop())
    await asyncio.wait([stopping], timeout=seconds)
    stopping.cancel()
    if stopping.done() and not stopping.cancelled():
        stopping.exception()  # seen: there is nobody to tell
    # Where `stop` broke off, the connections are still open.
    with contextlib.suppress(Exception):
        async with asyncio.timeout(seconds):
            await consumer._client.close()
