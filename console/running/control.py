"""The running `up` answers one question at a time on its socket: a JSON line in, a JSON line out."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any


class Control:
    def __init__(
        self, listener: socket.socket, answer: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        self._listener = listener
        self._answer = answer
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            with contextlib.suppress(OSError, ValueError), connection:
                connection.settimeout(5.0)
                with connection.makefile() as lines:
                    request = json.loads(lines.readline())
                try:
                    answer = self._answer(request)
                except Exception as error:
                    answer = {"error": f"{type(error).__name__}: {error}"}
                connection.sendall(json.dumps(answer).encode() + b"\n")
