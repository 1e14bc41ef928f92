"""One request and its answer: the body as it arrives, headers, summary, exception."""

import json
import time
import uuid
from collections.abc import Awaitable, Callable

from chdb.state.sqlitelike import Connection

from . import answer, forbidden
from .engine import Engine, Session, identifier
from .errors import EngineError
from .pipe import insert_whole
from .request import Decoder, Parameters, Part

_SMALL_BYTES = 1024  # not worth compressing

Headers = list[tuple[bytes, bytes]]


class Disconnected(Exception):
    """The client went away; nobody waits for an answer."""


class Body:
    """A request's body as it arrives; `ended` once its last byte has been read."""

    def __init__(self, receive: Callable[[], Awaitable[dict]], decode: Decoder | None) -> None:
        self._receive = receive
        self.decode = decode
        self.ended = False

    async def raw(self) -> bytes:
        """The next bytes, compressed if they came so. Raises Disconnected when the client left."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        self.ended = not message.get("more_body", False)
        return message.get("body", b"")

    async def read(self) -> bytes:
        """The next bytes, decompressed."""
        data = await self.raw()
        if self.decode:
            data = self.decode.feed(data)
            if self.ended:
                self.decode.finish()
        return data

    async def rest(self, before: bytes = b"") -> bytes:
        """All that is left, decompressed, after `before`."""
        pieces = [before]
        while not self.ended:
            pieces.append(await self.read())
        return b"".join(pieces)


class Exchange:
    """One request, and the way to answer it."""

    def __init__(
        self,
        engine: Engine,
        server_name: str,
        parameters: Parameters,
        accept_encoding: str,
        receive: Callable[[], Awaitable[dict]],
        send: Callable[[dict], Awaitable[None]],
    ) -> None:
        self.engine = engine
        self.parameters = parameters
        self.receive = receive
        self.send = send
        self.session: Session | None = None
        self.external: list[Part] = []
        self.has_expressions = False
        """Its data are part of its statement, and were looked into."""
        self._server_name = server_name
        self._accept_encoding = accept_encoding
        self._started_at = time.monotonic()
        self._id = parameters.get("query_id") or str(uuid.uuid4())
        self.mark = uuid.uuid4().hex
        """What its queries are found by, to end them: chDB takes no query_id."""
        self.left = False
        """The client has gone: what has not begun need not begin."""

    def settings(self) -> dict[str, str]:
        """The engine settings that the request asks for, and our mark."""
        found = self.parameters.settings([part.name for part in self.external])
        found |= dict.fromkeys(forbidden.EXPRESSIONS if self.has_expressions else (), "1")
        return found | {"log_comment": self.mark}

    def only_read(self) -> None:
        """Nothing is changed by this request, as ClickHouse has it for GET."""
        if self.parameters.get("readonly", "0") == "0":
            self.parameters["readonly"] = "2"

    def open_handle(self) -> Connection:
        """A handle in the request's database, with its settings and external tables. Blocks.

        Raises Disconnected where the client has gone while the request waited for a thread.
        """
        if self.left:
            raise Disconnected
        handle = self.engine.handle(self.session, self.parameters.get("database"), self.settings())
        try:
            for part in self.external:
                _add_external(handle, self.parameters, part)
        except Exception:
            self.give_back(handle)
            raise
        return handle

    def give_back(self, handle: Connection) -> None:
        """Ends the use of a handle of `open_handle`."""
        self.engine.give_back(handle, self.session, self.settings())

    def summary(self, result=None, written_rows: int = 0, written_bytes: int = 0) -> str:
        """The X-ClickHouse-Summary, counts as strings: of a result, or of rows written."""
        written = {"rows": written_rows, "bytes": written_bytes}
        read = result_size = written
        if result is not None:
            written = {"rows": result.rows_written(), "bytes": result.bytes_written()}
            read = {"rows": result.storage_rows_read(), "bytes": result.storage_bytes_read()}
            result_size = {"rows": result.rows_read(), "bytes": result.bytes_read()}
        figures = {
            "read_rows": read["rows"],
            "read_bytes": read["bytes"],
            "written_rows": written["rows"],
            "written_bytes": written["bytes"],
            "total_rows_to_read": 0,
            "result_rows": result_size["rows"],
            "result_bytes": result_size["bytes"],
            "elapsed_ns": int((time.monotonic() - self._started_at) * 1e9),
        }
        return json.dumps({name: str(value) for name, value in figures.items()})

    def headers(self, output: str | None, summary: str) -> Headers:
        """The answer's headers; `output` names its format, None if it has no rows."""
        timezone = self.parameters.get("session_timezone") or self.engine.timezone
        headers = [
            (b"x-clickhouse-query-id", self._id.encode("latin-1", "replace")),
            (b"x-clickhouse-server-display-name", self._server_name.encode()),
            (b"x-clickhouse-timezone", timezone.encode("latin-1", "replace")),
            (b"x-clickhouse-summary", summary.encode()),
        ]
        if output:
            headers.append((b"x-clickhouse-format", output.encode()))
            headers.append((b"content-type", _content_type(output)))
        return headers

    def encoder(self, headers: Headers):
        """The compressor that the client asked for, named in `headers`; None for plain."""
        if not self.parameters.flag("enable_http_compression"):
            return None
        coding = answer.encoding(self._accept_encoding)
        if coding is None:
            return None
        headers.append((b"content-encoding", coding.encode()))
        return answer.encoder(coding)

    async def send_whole(self, data: bytes, output: str | None, summary: str) -> None:
        """Answers 200 with all of a result."""
        headers = self.headers(output, summary)
        encoder = self.encoder(headers) if len(data) >= _SMALL_BYTES else None
        if encoder:
            data = await self.engine.reading(lambda: encoder.compress(data) + encoder.flush())
        await plain(self.send, 200, data, headers)

    async def refuse(self, error: EngineError) -> None:
        """Answers with an exception."""
        headers = self.headers(None, self.summary())
        headers.append((b"x-clickhouse-exception-code", str(error.code).encode()))
        headers.append((b"content-type", b"text/plain; charset=UTF-8"))
        await plain(self.send, error.status, error.text.encode("utf-8", "replace") + b"\n", headers)


async def plain(send, status: int, data: bytes, headers: Headers | tuple = ()) -> None:
    """Sends an answer of known length."""
    headers = [*headers, (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


def _add_external(handle: Connection, parameters: Parameters, part: Part) -> None:
    """Makes a temporary table of data that came with the request."""
    structure = parameters.get(f"{part.name}_structure")
    if not structure:
        types = parameters.get(f"{part.name}_types", "").split(",")
        structure = ", ".join(f"_{n} {name}" for n, name in enumerate(types, 1))
    described = structure.encode("utf-8", "surrogateescape")
    forbidden.check_text(described)
    table = identifier(part.name)
    handle.query(b"CREATE TEMPORARY TABLE %b (%b) ENGINE = Memory" % (table, described))
    if part.data:
        data_format = parameters.get(f"{part.name}_format", "TabSeparated")
        insert_whole(handle, b"INSERT INTO " + table, data_format, part.data)


def _content_type(output: str) -> bytes:
    name = output.lower()
    if name.startswith(("json", "ndjson")):
        return b"application/json; charset=UTF-8"
    if name.startswith("csv"):
        return b"text/csv; charset=UTF-8"
    if name.startswith(("tsv", "tabseparated")):
        return b"text/tab-separated-values; charset=UTF-8"
    if name.startswith(("native", "arrow", "parquet", "rowbinary")):
        return b"application/octet-stream"
    return b"text/plain; charset=UTF-8"
