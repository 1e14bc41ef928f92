"""Memory goes back to the system when what needed it is over.

The allocator keeps freed pages, since most requests need them again at once (`__main__.py`). What a
large request has left over is given back some seconds later.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
from collections.abc import Callable

import pyarrow as pa

log = logging.getLogger("yumai.ingest")

_LOOK_SECONDS = 3.0
_LOOKS_BUSY = 20
"""Under load, which has no rest, so many looks after the last trim."""
_GROWN_BYTES = 96 * 1024 * 1024


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


async def give_back(ended: Callable[[], int]) -> None:
    """For ever: trims where the process has grown, and after the requests that were in work at a trim.

    What they hold then is freed after it, and would stay. `ended`: how many requests are over by now.
    """
    least = resident()
    last = trimmed = ended()
    looks = 0
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        now, over = resident(), ended()
        looks += 1
        at_rest = over == last or looks >= _LOOKS_BUSY
        if now > least + _GROWN_BYTES or (over != trimmed and at_rest):
            least = now = await asyncio.to_thread(_trim)
            trimmed, looks = over, 0
        least = min(least, now)
        last = over
