"""Stand-ins for engines and services, so that the supervisor is tested in seconds and without them.

`stand_in.py up STATE BASE` is `yumai up` over a table of stand-ins; `serve`, `broker` and `deaf` are such processes.
"""

import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

THIS = str(Path(__file__).resolve())


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        pass


def serve(port: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()


def broker(port: int) -> None:
    """Answers every request as a cluster of one broker would answer Metadata."""
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(b"\0\0\0\x08" + b"\0\0\0\x01" * 2)


def deaf(port: int) -> None:
    """Serves, does not hear SIGTERM, and has a process of its own."""
    subprocess.Popen(["sleep", "600"])
    server = ThreadingHTTPServer(("127.0.0.1", port), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


def up(state: str, base: int, workers: int) -> int:
    import dataclasses

    from console.commands import up as real
    from console.running.processes import Plan
    from console.running.state import State
    from console.running.supervisor import Program

    def replaced(program: Program) -> Program:
        kind = "serve"
        if program.name == "broker":
            kind = "broker"
        if program.name.startswith("alerts"):
            kind = "deaf"
        command: tuple[str, ...] = (sys.executable, THIS, kind, str(program.port))
        if program.name == "prepare":
            command = (sys.executable, "-c", "pass")
        return dataclasses.replace(program, command=command)

    class StandIns(Plan):
        def broker(self) -> Program:
            program = replaced(super().broker())
            return dataclasses.replace(program, health=f"kafka://{program.url}")

        def store(self) -> Program:
            return replaced(super().store())

        def prepare(self) -> Program:
            return replaced(super().prepare())

        def _service(self, *args, **kwargs) -> Program:  # type: ignore[no-untyped-def]
            return replaced(super()._service(*args, **kwargs))

    real.Plan = StandIns  # type: ignore[misc]
    real.fetch_engines = lambda: None
    from console.cli import main

    return main(
        ["up", "--empty", "--state", str(State(Path(state)).directory), "--port-base", str(base)]
        + ["--metrics-workers", str(workers)]
    )


if __name__ == "__main__":
    if sys.argv[1] == "up":
        sys.exit(up(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    globals()[sys.argv[1]](int(sys.argv[2]))
