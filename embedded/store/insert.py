"""The way of data into a table: passed on to the engine as the body arrives.

Never collected first: that costs a quarter of the speed, and the memory of the whole body.
"""

import asyncio

from .engine import quoted
from .errors import EngineError
from .exchange import Body, Exchange
from .pipe import Pipe
from .statement import Statement


async def insert(
    exchange: Exchange, asked: Statement, text: bytes, first: bytes, body: Body
) -> None:
    """Runs an INSERT whose data follows its text, and answers once all of it is stored.

    text: the statement and, from `asked.data_at`, data that came in one piece with it (plain).
    first: the body's first bytes if they were read already, as they came (compressed).
    Raises EngineError, having read the body to its end: a client that still sends would otherwise
    see a reset connection instead of the error. A client that leaves half-way cancels the insert;
    blocks of a million rows that were complete by then may stay, as in ClickHouse.
    """
    pipe = Pipe()
    storing = exchange.engine.writing(_store, exchange, asked, text, pipe)
    try:
        await _feed(pipe, storing, text[asked.data_at :], first, body)
        summary = await asyncio.shield(storing)
    except (RuntimeError, EngineError) as error:
        await _read_to_end(body)
        raise exchange.engine.error(error) from error
    await _read_to_end(body)
    await exchange.send_whole(b"", None, summary)


def _store(exchange: Exchange, asked: Statement, text: bytes, pipe: Pipe) -> str:
    """The whole query, in a thread; what it wrote, as a summary."""
    try:
        handle = exchange.open_handle()
        try:
            for name, value in exchange.parameters.bindings().items():
                binding = f"SET param_{name} = {quoted(value)}"
                handle.query(binding.encode("utf-8", "surrogateescape"))
            data_format = asked.format or exchange.parameters.get("default_format") or "Values"
            head = text[: asked.target_end] + pipe.clause + text[asked.target_end : asked.head_end]
            result = handle.query(head + b" FORMAT " + data_format.encode())
            return exchange.summary(None, result.rows_written(), result.bytes_written())
        finally:
            exchange.give_back(handle)
    finally:
        pipe.close_reading()


async def _feed(
    pipe: Pipe, storing: asyncio.Future, inline: bytes, first: bytes, body: Body
) -> None:
    """Writes the body into the pipe. Returns early when the engine reads no more: it has failed, or
    its format has an end of its own.
    """
    try:
        await pipe.write(inline)
        piece = first
        while True:
            if body.decode and piece:
                piece = await asyncio.to_thread(body.decode.feed, piece)
            await pipe.write(piece)
            if body.ended:
                break
            piece = await body.raw()
        if body.decode:
            body.decode.finish()  # a body that was cut off must not be committed
        await pipe.end()
    except BrokenPipeError:
        pass
    except BaseException:
        await pipe.spoil()
        await asyncio.wait([storing])
        raise
    finally:
        pipe.close_writing()


async def _read_to_end(body: Body) -> None:
    while not body.ended:
        await body.raw()
