"""How the demo's processes are told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stopped_by_signals(stop: threading.Event | None) -> Iterator[threading.Event]:
    """The event to look at; SIGTERM and SIGINT set it where none was handed in."""
    if stop is not None or threading.current_thread() is not threading.main_thread():
        yield stop or threading.Event()
        return
    event = threading.Event()
    known = {n: signal.signal(n, lambda *_: event.set()) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield event
    finally:
        for number, handler in known.items():
            signal.signal(number, handler)
