"""Which way a request goes (an ASGI application).

    parameters, body ─▶ statement ─┬─ INSERT with data ─▶ insert.insert
                                   ├─ rows, streamable ─▶ rows.stream
                                   └─ anything else    ─▶ rows.whole

Engine calls run in threads, so the event loop answers others meanwhile.
"""

import asyncio
import logging
import re

from . import answer, forbidden, rows, statement
from .callers import Callers
from .engine import Engine
from .errors import EngineError, refused
from .exchange import Body, Disconnected, Exchange, plain
from .insert import insert
from .request import Parameters, decoder, multipart

_HEAD_BYTES = 1 << 18  # within these an INSERT's statement has to end and its data to begin
_LEADING = re.compile(rb"(?:\s++|--[^\n]*\n|\#[ !][^\n]*\n|/\*.*?\*/)*+", re.DOTALL)

log = logging.getLogger("yumai.store")


class App:
    """The ASGI application over one open engine."""

    def __init__(self, engine: Engine, callers: Callers, server_name: str) -> None:
        self._engine = engine
        self._callers = callers
        self._server_name = server_name

    async def __call__(self, scope, receive, send) -> None:
        """Answers one HTTP request."""
        path = scope["path"]
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        parameters = Parameters.read(scope["query_string"])
        exchange = Exchange(
            self._engine,
            self._server_name,
            parameters,
            headers.get(b"accept-encoding", ""),
            receive,
            send,
        )
        try:
            self._callers.check_page(headers, scope["server"][1])
            if path in ("/ping", "/replicas_status"):
                return await plain(send, 200, b"Ok.\n")
            self._callers.check_password(headers, parameters)
            if path not in ("/", "/query"):
                return await plain(send, 404, b"There is no handle " + path.encode() + b"\n")
            if scope["method"] in ("GET", "HEAD"):
                if not parameters and not _has_body(headers):
                    return await plain(send, 200, b"Ok.\n")
                exchange.only_read()
            elif scope["method"] != "POST":
                return await plain(send, 405, b"", [(b"allow", b"GET, HEAD, POST")])
            await self._answer(exchange, headers)
        except (Disconnected, asyncio.CancelledError):
            pass  # nobody to answer, or the end of the grace after SIGTERM
        except EngineError as error:
            await exchange.refuse(error)
        except Exception as error:
            log.exception("a request failed in this server, not in the engine")
            await exchange.refuse(refused(49, "LOGICAL_ERROR", f"embedded store: {error!r}"))

    async def _answer(self, exchange: Exchange, headers: dict[bytes, str]) -> None:
        """Reads what describes the request, and holds its session meanwhile."""
        parameters = exchange.parameters
        if parameters.flag("compress") or parameters.flag("decompress"):
            # ClickHouse's own framing with CityHash checksums; HTTP's codings do the same.
            raise refused(344, "SUPPORT_IS_DISABLED", "use Content-Encoding, not (de)compress=1")
        body = Body(exchange.receive, decoder(headers.get(b"content-encoding", "")))
        content_type = headers.get(b"content-type", "")
        if content_type.startswith("multipart/form-data"):
            for part in multipart(content_type, await body.rest()):
                if part.is_file:
                    exchange.external.append(part)
                else:
                    parameters[part.name] = part.data.decode("utf-8", "surrogateescape")
        async with self._engine.session(
            parameters.get("session_id"), parameters.get("session_timeout")
        ) as session:
            exchange.session = session
            await self._run(exchange, body)

    async def _run(self, exchange: Exchange, body: Body) -> None:
        """Tells the statement from its data, and sends it on its way."""
        first = b""
        if text := exchange.parameters.get("query", "").encode("utf-8", "surrogateescape"):
            asked = statement.read(text)
            # Data of VALUES may be expressions: the engine has to see all, and we before it.
            if asked.data_at is None or asked.format == "VALUES":
                text = await body.rest(text + b"\n") if not body.ended else text
                asked = statement.read(text)
            elif not body.ended:
                first = await body.raw()
            has_data = bool(first) or not body.ended
        else:
            text = await body.read()
            while not body.ended and len(text) < _HEAD_BYTES and _is_open(text):
                text += await body.read()
            # Of another statement, and of VALUES, the engine has to see all.
            asked = statement.read(text) if _is_insert(text) else statement.Statement(b"")
            if asked.data_at is None or asked.format in (None, "VALUES"):
                text = await body.rest(text)
                asked = statement.read(text)
            has_data = False
        head = text[: asked.head_end] + b" VALUES" if asked.head_end is not None else text
        if forbidden.is_suspect(head):
            await self._engine.reading(forbidden.check, head, self._engine.rewritten)
        if asked.data_at is not None and (has_data or asked.format not in (None, "VALUES")):
            return await insert(exchange, asked, text, first, body)
        if asked.data_at is not None:
            forbidden.check_text(text[asked.data_at :])
            exchange.has_expressions = True
        output = asked.format or exchange.parameters.get("default_format") or "TabSeparated"
        if asked.kind == b"INSERT":
            output = "TabSeparated"  # the format named was of its data
        joiner = answer.joiner(output, exchange.settings()) if asked.gives_rows else None
        if joiner:
            await rows.stream(exchange, asked, text, output, joiner)
        else:
            await rows.whole(exchange, asked, text, output)


def _has_body(headers: dict[bytes, str]) -> bool:
    return headers.get(b"content-length", "0") != "0" or b"transfer-encoding" in headers


def _is_insert(text: bytes) -> bool:
    return _LEADING.sub(b"", text, count=1)[:6].upper() == b"INSERT"


def _is_open(text: bytes) -> bool:
    """Whether more of the body is needed to know where an INSERT's data begin."""
    if len(_LEADING.sub(b"", text, count=1)) < 6:
        return True
    if not _is_insert(text):
        return False
    asked = statement.read(text)
    return asked.data_at is None or asked.format is None or asked.data_at >= len(text)
