"""The chDB engine of one directory: opening it, its handles, and sessions.

chDB allows one process per directory, but any number of handles in that process, and they run in
parallel (each call releases the GIL; a call may come from any thread, one at a time per handle).
A handle costs 0.06 ms. So every request gets a fresh one: `USE`, `SET`, `readonly` and temporary
tables of one request cannot leak into another, and nothing has to be reset.
"""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from chdb.state import connect
from chdb.state.sqlitelike import Connection

from . import rights
from .errors import EngineError, from_engine, refused

_SERVER_SETTINGS = """<clickhouse>
  <!-- A hard ceiling: a query that needs more fails with 241, instead of the machine swapping. -->
  <max_server_memory_usage>{memory_bytes}</max_server_memory_usage>
  <!-- Caches are 5 GB each by default, made for servers of 64 GB and more. -->
  <mark_cache_size>{cache_bytes}</mark_cache_size>
  <index_mark_cache_size>{cache_bytes}</index_mark_cache_size>
  <primary_index_cache_size>{cache_bytes}</primary_index_cache_size>
  <vector_similarity_index_cache_size>1048576</vector_similarity_index_cache_size>
  <text_index_tokens_cache_size>1048576</text_index_tokens_cache_size>
  <text_index_header_cache_size>1048576</text_index_header_cache_size>
  <text_index_postings_cache_size>1048576</text_index_postings_cache_size>
  <!-- Merges share the cores with the broker and the services. -->
  <background_pool_size>2</background_pool_size>
  <background_schedule_pool_size>4</background_schedule_pool_size>
  {rights}
  <!-- One element: of two of this name the engine reads the first alone. -->
  <storage_configuration><disks>
    <!-- Refused (243) in time: what is under way when the very last byte is taken may be stored broken, in silence. -->
    <default><keep_free_space_bytes>{reserve_bytes}</keep_free_space_bytes></default>
    {backups_disk}
  </disks></storage_configuration>
</clickhouse>
"""

_RESERVE_BYTES = 256 << 20  # of a small disk a tenth
_SESSION_SECONDS = 60.0  # ClickHouse's default_session_timeout
_SESSION_PATIENCE_SECONDS = 1.0
_OPEN_PATIENCE_SECONDS = 5.0


def machine_memory_bytes() -> int:
    """The memory of this machine, or of its cgroup if that is less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return memory


def backups_of(data_dir: Path) -> Path:
    """Where BACKUP writes, beside the data."""
    return data_dir.resolve().with_name("backups")


def quoted(text: str) -> str:
    """A string literal of ClickHouse's SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> bytes:
    """A quoted name of ClickHouse's SQL."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`".encode("utf-8", "surrogateescape")


class Session:
    """What a `session_id` remembers: SET and USE statements, and a handle for temporary tables."""

    def __init__(self) -> None:
        self.replay: list[bytes] = []
        self.handle: Connection | None = None
        self.lock = asyncio.Lock()
        self.expires_at = 0.0


class Engine:
    """The open engine. `close` ends it; a kill -9 does it no harm."""

    def __init__(self, data_dir: Path, memory_bytes: int, threads: int) -> None:
        """Opens `data_dir`, which is made if absent.

        A process that was killed a moment ago may still hold the directory's lock while it dies,
        so opening is tried for 5 s; then RuntimeError says who holds it.
        """
        data_dir.mkdir(parents=True, exist_ok=True)
        self._path = str(data_dir.resolve())
        self._threads = threads
        self._sessions: dict[str, Session] = {}
        # Apart, so that a burst of inserts leaves threads for the readers.
        self._readers = ThreadPoolExecutor(24, "reader")
        self._writers = ThreadPoolExecutor(12, "writer")
        self._killers = ThreadPoolExecutor(2, "killer")
        self._keeper = self._open(memory_bytes)
        self.version = self._value("version()")
        self.timezone = self._value("timezone()")

    def _open(self, memory_bytes: int) -> Connection:
        # Within its own directory: no other can be read (`confined.py`).
        folder = Path(self._path) / ".settings"
        nothing = folder / "nothing"
        nothing.mkdir(parents=True, exist_ok=True)
        users, config = folder / "users.xml", folder / "server.xml"
        users.write_text(rights.users())
        config.write_text(
            _SERVER_SETTINGS.format(
                memory_bytes=memory_bytes,
                cache_bytes=min(memory_bytes // 16, 256 << 20),
                reserve_bytes=min(shutil.disk_usage(self._path).total // 10, _RESERVE_BYTES),
                rights=rights.server(users, nothing),
                backups_disk=rights.backups_disk(backups_of(Path(self._path))),
            )
        )
        patience_ends = time.monotonic() + _OPEN_PATIENCE_SECONDS
        while True:
            try:
                return connect(f"{self._path}?config-file={config}")
            except RuntimeError as error:
                if time.monotonic() > patience_ends:
                    raise RuntimeError(
                        f"cannot open {self._path} ({error}); does another process serve it? "
                        f"chDB allows one process per directory, see {self._path}/status"
                    ) from error
            time.sleep(0.1)

    def rewritten(self, statement: bytes) -> bytes:
        """A statement as the engine's parser writes it: no comments, one way to quote.

        Of an INSERT whose data follows only what stands before them. Raises EngineError.
        """
        text = statement.replace(b"\\", b"\\\\").replace(b"'", b"\\'")
        settings = b" SETTINGS max_query_size = %d" % (2 * len(text) + 1024)
        handle = connect(self._path)
        try:
            answer = handle.query(b"SELECT formatQuery('" + text + b"')" + settings, "TSVRaw")
            return answer.bytes()
        except RuntimeError as error:
            raise self.error(error) from error
        finally:
            handle.close()

    def _value(self, expression: str) -> str:
        return self._keeper.query(f"SELECT {expression}", "TSV").bytes().decode().strip()

    def reading(self, function: Callable, *arguments) -> asyncio.Future:
        """Calls `function` in a reader's thread."""
        return asyncio.get_running_loop().run_in_executor(self._readers, function, *arguments)

    def writing(self, function: Callable, *arguments) -> asyncio.Future:
        """Calls `function` in a writer's thread."""
        return asyncio.get_running_loop().run_in_executor(self._writers, function, *arguments)

    def kill(self, mark: str) -> asyncio.Future:
        """Cancels the queries whose `log_comment` is `mark`, if they run; they end with 394 soon after."""
        return asyncio.get_running_loop().run_in_executor(self._killers, self._kill, mark)

    def _kill(self, mark: str) -> None:
        handle = connect(self._path)
        try:
            handle.query(
                f"KILL QUERY WHERE Settings['log_comment'] = {quoted(mark)} ASYNC FORMAT Null"
            )
        finally:
            handle.close()

    def close(self) -> None:
        """Closes every handle of its own; the engine ends with the last one."""
        for session in self._sessions.values():
            if session.handle:
                session.handle.close()
        self._keeper.close()

    @asynccontextmanager
    async def session(
        self, session_id: str | None, timeout_seconds: str | None
    ) -> AsyncIterator[Session | None]:
        """Holds a session for one request.

        Raises EngineError 373 while another request holds it, as ClickHouse does; but only after
        a moment, since a client that has its answer may ask again before we have tidied up.
        """
        if not session_id:
            yield None
            return
        try:
            seconds = float(timeout_seconds or _SESSION_SECONDS)
        except ValueError:
            raise refused(374, "INVALID_SESSION_TIMEOUT", "Invalid session timeout") from None
        now = time.monotonic()
        idle = [(n, s) for n, s in self._sessions.items() if not s.lock.locked()]
        for name, expired in idle:
            if expired.expires_at < now:
                del self._sessions[name]
                if expired.handle:
                    expired.handle.close()
        session = self._sessions.setdefault(session_id, Session())
        try:
            await asyncio.wait_for(session.lock.acquire(), _SESSION_PATIENCE_SECONDS)
        except TimeoutError:
            raise refused(373, "SESSION_IS_LOCKED", f"Session {session_id} is locked") from None
        try:
            yield session
        finally:
            session.expires_at = time.monotonic() + seconds
            session.lock.release()

    def handle(
        self, session: Session | None, database: str | None, settings: Mapping[str, str]
    ) -> Connection:
        """A handle for one request, in its database and with its settings. Give it back.

        Raises EngineError: unknown database, unknown setting.
        """
        handle = session.handle if session and session.handle else connect(self._path)
        try:
            # implicit_select is on in chDB alone: it would answer `foo` as `SELECT foo`.
            sets = {"implicit_select": "0", "max_threads": str(self._threads)}
            sets["async_insert"] = "0"  # nothing that was asked for waits in a queue
            sets.update(settings)
            readonly = sets.pop("readonly", None)  # has to come last: it forbids any other SET
            for statement in session.replay if session else ():
                handle.query(statement)
            if database:
                handle.query(b"USE " + identifier(database))
            # In binary: a setting's value may be any bytes.
            text = ", ".join(f"{name} = {quoted(value)}" for name, value in sets.items())
            handle.query(f"SET {text}".encode("utf-8", "surrogateescape"))
            if readonly and not (session and session.handle):
                handle.query(f"SET readonly = {quoted(readonly)}")
            elif readonly and readonly != "0":
                # It would stay so for the requests that follow.
                raise refused(164, "READONLY", "A session with temporary tables writes: use POST")
        except Exception as error:
            self.give_back(handle, session, settings)
            raise self.error(error) from error
        return handle

    def give_back(
        self, handle: Connection, session: Session | None, settings: Mapping[str, str]
    ) -> None:
        """Ends a request's use of its handle: closed, unless a session keeps it.

        Only a session with temporary tables does; there the request's settings are undone.
        """
        kept = session.handle if session else None
        if kept is None or kept is not handle:
            handle.close()
            return
        for name in settings:
            if name != "readonly":
                with suppress(RuntimeError):  # it was unknown, as the request has been told
                    kept.query(f"SET {name} = DEFAULT")
        kept.query("USE default")

    def error(self, error: Exception) -> EngineError:
        """Any exception of a handle as an EngineError."""
        return from_engine(error, self.version)
