"""Memory goes back to the system when what needed it is over.

The allocator keeps freed pages, since most requests need them again at once (`__main__.py`). What a
large request has left over is given back some seconds later.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging

import pyarrow as pa

log = logging.getLogger("yumai.ingest")

_LOOK_SECONDS = 3.0
_GROWN_BYTES = 96 * 1024 * 1024
_STILL_BYTES = 1024 * 1024


def resident() -> int:
    """Bytes of this process that are its own."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


def _trim() -> int:
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    return resident()


async def give_back() -> None:
    """For ever: trims where the process has grown since the last time, and once when it has come to rest.

    What was still in use at a trim is freed after it, and would stay.
    """
    least = before = resident()
    moved = False
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        now = resident()
        still = abs(now - before) < _STILL_BYTES
        moved |= not still
        if now > least + _GROWN_BYTES or (moved and still):
            least = now = await asyncio.to_thread(_trim)
            moved = not still
        least = min(least, now)
        before = now
