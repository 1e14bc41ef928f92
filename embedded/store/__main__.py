"""Serves one data directory: `python -m embedded.store --data-dir DIR --port N`.

A client gives the password of `--password-file`; without the option in `DIR.password`, made at the
first start. There is no way to serve without one.
"""

import argparse
import asyncio
import ctypes
import logging
import os
import signal
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import uvicorn
import uvloop

from embedded import secret_files

from .confined import confine

_GRACE_SECONDS = 1  # for requests in flight; the whole exit has to take less than 3
_CLOSE_SECONDS = 1.0  # for the engine; if it takes longer it is as safe as after a kill -9


class _Server(uvicorn.Server):
    """A server that leaves signals to `_serve`, and says when it can be asked."""

    def __init__(self, config: uvicorn.Config, ready: str) -> None:
        super().__init__(config)
        self._ready = ready

    def capture_signals(self):
        return nullcontext()  # uvicorn's raises the signal again after the exit: not a clean one

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            print(self._ready.format(port=port), flush=True)


async def _serve(server: _Server) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if server.should_exit:  # asked twice
            os._exit(1)
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await server.serve()


def _keep_freed_memory() -> None:
    """Tells glibc to reuse the buffers of bodies (some 100 kB each) instead of unmapping them.

    The kernel would map and zero each again: - 12 % cpu on inserts. The engine itself
    has jemalloc and is not concerned.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(-1, 256 << 20)  # M_TRIM_THRESHOLD
        mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, the most that glibc takes
    except (OSError, AttributeError):
        pass  # another libc


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m embedded.store", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="0600; made if missing")
    parser.add_argument(
        "--memory-mb", type=int, help="the engine's ceiling; default half the machine's memory"
    )
    parser.add_argument("--threads", type=int, help="per query; default the cores, 4 at most")
    return parser.parse_args()


def main() -> None:
    """Runs until SIGTERM or SIGINT; ends the process with 0, or 1 when it cannot start."""
    asked = _arguments()
    os.umask(0o077)
    _keep_freed_memory()
    data_dir: Path = asked.data_dir.resolve()
    backups = data_dir.with_name("backups")
    password_file = asked.password_file or data_dir.with_name(f"{data_dir.name}.password")
    try:
        password = secret_files.ensure(password_file)
        data_dir.mkdir(parents=True, exist_ok=True)
        backups.mkdir(exist_ok=True)
        is_confined = confine([data_dir, backups])
    except OSError as error:
        sys.exit(f"store: {error}")
    # The engine's threads, and a directory for what is temporary, begin as it is imported: behind the wall.
    temporary = data_dir / ".settings" / "temporary"
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(temporary)
    from .app import App
    from .callers import Callers
    from .engine import Engine, machine_memory_bytes

    memory_bytes = (asked.memory_mb or machine_memory_bytes() // (2 << 20)) << 20
    threads = asked.threads or min(len(os.sched_getaffinity(0)), 4)
    try:
        engine = Engine(data_dir, memory_bytes, threads)
    except RuntimeError as error:
        sys.exit(f"store: {error}")
    config = uvicorn.Config(
        App(engine, Callers(password, asked.host), "yumai-embedded"),
        host=asked.host,
        port=asked.port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        # A connection that the server closes first may take a client's next insert with it.
        timeout_keep_alive=3600,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    # It reports a broken-off answer, which is how an error in mid-stream, or the end, is told.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: "ASGI callable returned without" not in record.getMessage()
    )
    ready = (
        f"store ready on http://{asked.host}:{{port}} engine={engine.version} "
        f"data={asked.data_dir} memory_mb={memory_bytes >> 20} threads={threads} confined={'yes' if is_confined else 'no'}"
    )
    uvloop.run(_serve(_Server(config, ready)))
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    closing.join(_CLOSE_SECONDS)
    sys.stdout.flush()
    os._exit(0)  # not waiting for threads that are still in the engine


if __name__ == "__main__":
    main()
