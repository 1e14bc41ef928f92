"""The way of results: piece by piece where the format allows it, else whole."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from chdb.state.sqlitelike import Connection, StreamingResult

from .answer import Joiner
from .errors import EngineError
from .exchange import Disconnected, Exchange
from .statement import Statement

_KILL_SECONDS = 0.5  # a query may be killed before it has begun: then again
_WAIT_BYTES = 16 << 20  # of a result, held back for a client that wants to wait for its end


async def whole(exchange: Exchange, asked: Statement, text: bytes, output: str) -> None:
    """Runs a statement to its end and sends what it gave. Raises EngineError, Disconnected.

    What gives rows ends when its client has gone; whatever changes something goes on.
    """
    running = exchange.engine.reading(_run, exchange, asked, text, output)
    if asked.gives_rows:
        await _awaited(exchange, running)
    data, summary = await running
    shown = output if data or asked.gives_rows else None  # clients take it for "there are rows"
    await exchange.send_whole(data, shown, summary)


async def _awaited(exchange: Exchange, running: asyncio.Future) -> None:
    """Until `running` is done. Raises Disconnected when the client has gone, having ended its query."""
    gone = asyncio.ensure_future(exchange.receive())
    try:
        await asyncio.wait({running, gone}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            return
        await _end(exchange, running)
    finally:
        gone.cancel()
    begun = running.result() if running.exception() is None else None
    if isinstance(begun, _Begun) and begun.ended is None:
        await exchange.engine.reading(_abandon, exchange, begun)
    raise Disconnected


async def _end(exchange: Exchange, running: asyncio.Future) -> None:
    """Stops a thread's work for a client that has gone; returns when the thread is free."""
    exchange.left = True
    while not running.done():
        await exchange.engine.kill(exchange.mark)
        await asyncio.wait({running}, timeout=_KILL_SECONDS)


def _run(exchange: Exchange, asked: Statement, text: bytes, output: str) -> tuple[bytes, str]:
    session = exchange.session
    handle = exchange.open_handle()
    try:
        result = handle.query(text, output, params=exchange.parameters.bindings())
        if session and asked.kind in (b"SET", b"USE"):
            session.replay.append(text)
        if session and asked.temporary:
            session.handle = handle  # the table lives as long as its handle
        return result.bytes(), exchange.summary(result)
    except Exception as error:
        raise exchange.engine.error(error) from error
    finally:
        exchange.give_back(handle)


@dataclass
class _Begun:
    """A result's first pieces; `ended` holds its figures if they are all, else None."""

    handle: Connection
    stream: StreamingResult
    ready: bytes
    ended: object | None


async def stream(
    exchange: Exchange, asked: Statement, text: bytes, output: str, joiner: Joiner
) -> None:
    """Sends a result piece by piece; a small one at once, with its length. Raises EngineError.

    A client that waits for the end (`wait_end_of_query`) gets exact errors and figures up to
    16 MB. A larger result is streamed to it all the same: to hold it whole is what ends a small
    machine, and an error is still seen, since it breaks the answer off.
    """
    beginning = exchange.engine.reading(_begin, exchange, text, output, joiner)
    await _awaited(exchange, beginning)
    begun = await beginning
    if begun is None:  # a statement that only looked like one with rows
        await whole(exchange, asked, text, output)
    elif begun.ended is not None:
        await exchange.send_whole(begun.ready, output, exchange.summary(begun.ended))
    else:
        try:
            await _send_pieces(exchange, begun, output, joiner)
        finally:
            await exchange.engine.reading(_abandon, exchange, begun)


def _begin(exchange: Exchange, text: bytes, output: str, joiner: Joiner) -> _Begun | None:
    """Fetches up to the end or the patience, but two pieces at least.

    So a result of one piece, as most are, is known to be whole, and an error in it still gets its
    HTTP status.
    """
    patience = _WAIT_BYTES if exchange.parameters.flag("wait_end_of_query") else 0
    handle = exchange.open_handle()
    keep = False
    try:
        result = handle.send_query(text, output, params=exchange.parameters.bindings())
        ready, size, figures = [], 0, None
        while True:
            piece = _fetch(result)
            if figures is None or piece.rows_read():
                figures = piece
            if data := piece.bytes():
                ready.append(joiner.piece(data))
                size += len(ready[-1])
            if piece.rows_read() == 0:
                return _Begun(handle, result, b"".join([*ready, joiner.end()]), figures)
            if len(ready) >= 2 and size > patience:
                keep = True
                return _Begun(handle, result, b"".join(ready), None)
    except Disconnected:
        raise
    except Exception as error:
        if "Streaming query is not supported" in str(error):
            return None
        raise exchange.engine.error(error) from error
    finally:
        if not keep:
            exchange.give_back(handle)


def _fetch(result: StreamingResult):
    """The next piece. The last one has no rows, but may have bytes: a header, or totals.

    `StreamingResult.fetch` drops those bytes, so this asks one level below it.
    """
    return result._conn.streaming_fetch_result(result._result)


async def _send_pieces(exchange: Exchange, begun: _Begun, output: str, joiner: Joiner) -> None:
    """Sends blocks as they come; the next is fetched while one is sent."""
    reading, send = exchange.engine.reading, exchange.send
    tag = secrets.token_hex(8).encode()
    headers = exchange.headers(output, exchange.summary())
    headers.append((b"x-clickhouse-exception-tag", tag))
    encoder = exchange.encoder(headers)
    compress = encoder.compress if encoder else bytes
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    gone = asyncio.ensure_future(exchange.receive())  # ends when the client hangs up
    data: bytes | None = await reading(compress, begun.ready)
    fetching = reading(_next, begun.stream, joiner, compress)
    try:
        while data is not None:
            if gone.done():
                raise Disconnected
            if data:
                await send({"type": "http.response.body", "body": data, "more_body": True})
            # Not awaited itself: a cancelled task must not cancel it, see insert._append.
            await asyncio.wait({fetching, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not fetching.done():
                await _end(exchange, fetching)
                raise Disconnected
            data = await fetching
            if data is not None:
                fetching = reading(_next, begun.stream, joiner, compress)
        last = compress(joiner.end()) + (encoder.flush() if encoder else b"")
        await send({"type": "http.response.body", "body": last})
    except (RuntimeError, EngineError) as error:
        # Too late for a status. As ClickHouse does: a marked block, and the connection breaks off
        # (we return without an end), so that no reader takes what it got for the whole.
        text = exchange.engine.error(error).text.encode("utf-8", "replace") + b"\n"
        block = b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (
            *(tag, text, len(text), tag),
        )
        block = compress(block) + (encoder.flush() if encoder else b"")
        await send({"type": "http.response.body", "body": block, "more_body": True})
    finally:
        gone.cancel()
        await asyncio.wait([fetching])


def _next(result: StreamingResult, joiner: Joiner, compress: Callable) -> bytes | None:
    """The next bytes to send, None at the end."""
    piece = _fetch(result)
    data = piece.bytes()
    if piece.rows_read() == 0 and not data:
        return None
    return compress(joiner.piece(data))


def _abandon(exchange: Exchange, begun: _Begun) -> None:
    """Ends a streamed query, also in its middle."""
    begun.stream.cancel()
    exchange.give_back(begun.handle)
