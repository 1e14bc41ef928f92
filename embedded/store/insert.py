"""The way of data into a table: appended to the engine as the body arrives.

Never collected first: that costs a quarter of the speed, and the memory of the whole body.
"""

import asyncio

from chdb.state.sqlitelike import Connection, StreamingInserter

from .engine import quoted
from .errors import EngineError
from .exchange import Body, Exchange
from .request import Decoder
from .statement import Statement

_PENDING_BYTES = 16 << 20  # read ahead of the engine; then the client has to wait


async def insert(
    exchange: Exchange, asked: Statement, text: bytes, first: bytes, body: Body
) -> None:
    """Runs an INSERT whose data follows its text, and answers once it is committed.

    text: the statement and, from `asked.data_at`, data that came in one piece with it (plain).
    first: the body's first bytes if they were read already, as they came (compressed).
    Raises EngineError, having read the body to its end: a client that still sends would otherwise
    see a reset connection instead of the error. A client that leaves half-way cancels the insert;
    blocks of a million rows that were complete by then may stay, as in ClickHouse.
    """
    engine = exchange.engine
    try:
        handle, inserter = await engine.writing(_begin, exchange, asked, text)
        try:
            inline = text[asked.data_at :]
            done = await _append(exchange, inserter, inline, first, body)
        finally:
            exchange.give_back(handle)
    except (RuntimeError, EngineError) as error:
        while not body.ended:
            await body.raw()
        raise engine.error(error) from error
    summary = exchange.summary(None, done.rows_written, done.bytes_written)
    await exchange.send_whole(b"", None, summary)


def _begin(
    exchange: Exchange, asked: Statement, text: bytes
) -> tuple[Connection, StreamingInserter]:
    handle = exchange.open_handle()
    try:
        for name, value in exchange.parameters.bindings().items():
            handle.query(f"SET param_{name} = {quoted(value)}".encode("utf-8", "surrogateescape"))
        data_format = asked.format or exchange.parameters.get("default_format") or "Values"
        return handle, handle.send_insert(text[: asked.head_end], data_format)
    except Exception:
        exchange.give_back(handle)
        raise


async def _append(
    exchange: Exchange, inserter: StreamingInserter, inline: bytes, first: bytes, body: Body
):
    """Feeds the engine. While one batch of pieces is appended in a thread, the next collects.

    Shielded: a cancelled task must not touch the handle while a thread is still inside it.
    """
    writing = exchange.engine.writing
    appending = writing(_append_pieces, inserter, [inline], None)
    try:
        pending, pending_bytes = [first], len(first)
        while not body.ended:
            piece = await body.raw()
            pending.append(piece)
            pending_bytes += len(piece)
            if appending.done() or pending_bytes > _PENDING_BYTES:
                await asyncio.shield(appending)
                appending = writing(_append_pieces, inserter, pending, body.decode)
                pending, pending_bytes = [], 0
        await asyncio.shield(appending)
        appending = writing(_finish, inserter, pending, body.decode)
        return await asyncio.shield(appending)
    except BaseException:
        await asyncio.wait([appending])
        await writing(inserter.cancel)
        raise


def _append_pieces(
    inserter: StreamingInserter, pieces: list[bytes], decode: Decoder | None
) -> None:
    for piece in pieces:
        data = decode.feed(piece) if decode else piece
        if data:
            inserter.append(data)


def _finish(inserter: StreamingInserter, pieces: list[bytes], decode: Decoder | None):
    _append_pieces(inserter, pieces, decode)
    if decode:
        decode.finish()  # a body that was cut off must not be committed
    return inserter.finish()
