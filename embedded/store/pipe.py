"""Data on its way into the engine: a pipe that an INSERT reads as its file.

chDB's own streamed insert (`send_insert`) answers "written" also when the table could not take the
rows: disk full, too many parts, a constraint, a view that failed. An INSERT FROM INFILE is an
ordinary query to it, and an ordinary query raises.
"""

import asyncio
import fcntl
import os
import threading
from contextlib import suppress

import lz4.frame
from chdb.state.sqlitelike import Connection

_PIPE_BYTES = 1 << 20  # what Linux lets everybody have
_BLOCK_BYTES = 4 << 20
# One lz4 frame of blocks that are stored as they are. To the engine a pipe's end is a file's end,
# and a cut-off file is well-formed in many formats. A broken frame is an error in every one.
_HEAD = lz4.frame.LZ4FrameCompressor(block_size=lz4.frame.BLOCKSIZE_MAX4MB).begin()
_STORED = 1 << 31
_END = bytes(4)
_BROKEN = b"\xff" * 64  # a block larger than the frame allows


class Pipe:
    """One INSERT's data. The event loop writes, the engine's thread reads."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        with suppress(OSError, AttributeError):  # another system, or its limit for all pipes
            fcntl.fcntl(self._writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._left = [memoryview(_HEAD)]

    @property
    def clause(self) -> bytes:
        """Stands in an INSERT between its table and its settings or format."""
        return b"\nFROM INFILE '/dev/fd/%d' COMPRESSION 'lz4'\n" % self._reading

    async def write(self, data: bytes) -> None:
        """Waits while the engine is behind. Raises BrokenPipeError once it reads no more."""
        rest = memoryview(data)
        while rest:
            block, rest = rest[:_BLOCK_BYTES], rest[_BLOCK_BYTES:]
            self._left += [memoryview((len(block) | _STORED).to_bytes(4, "little")), block]
            await self._flush()

    async def end(self) -> None:
        """The data is whole: the INSERT may be committed."""
        self._left.append(memoryview(_END))
        await self._flush()

    async def spoil(self) -> None:
        """The data is not whole: the INSERT fails, also in the middle of a `write`."""
        self._left.append(memoryview(_BROKEN))
        with suppress(BrokenPipeError):
            await self._flush()

    async def _flush(self) -> None:
        while self._left:
            try:
                done = os.writev(self._writing, self._left)
            except BlockingIOError:
                await self._writable()
                continue
            while done:
                first = self._left[0]
                if done < len(first):
                    self._left[0] = first[done:]
                    break
                done -= len(first)
                del self._left[0]

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self._writing, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._writing)

    def close_reading(self) -> None:
        """By the engine's side, when its query has ended."""
        os.close(self._reading)

    def close_writing(self) -> None:
        os.close(self._writing)


def insert_whole(handle: Connection, statement: bytes, data_format: str, data: bytes) -> None:
    """Runs an INSERT with data that is all there. Blocks. Raises the engine's error."""
    pipe = Pipe()

    async def feed() -> None:
        with suppress(BrokenPipeError):
            await pipe.write(data)
            await pipe.end()
        pipe.close_writing()  # the engine reads up to here

    feeding = threading.Thread(target=asyncio.run, args=(feed(),))
    feeding.start()
    try:
        handle.query(statement + pipe.clause + b"FORMAT " + data_format.encode())
    finally:
        pipe.close_reading()
        feeding.join()
