"""What `yumai` prints: any text of files, senders and services, and none of it commands the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from yumai import printable


class Printable:
    """A text stream that escapes what can't be seen; all else is the stream's own."""

    def __init__(self, stream: Any) -> None:
        self.plain = stream

    def write(self, text: str) -> int:
        self.plain.write(printable.lines(text))
        return len(text)

    def writelines(self, texts: Any) -> None:
        for text in texts:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)


@contextmanager
def printing() -> Iterator[None]:
    """Within it, standard output and error are safe, and take every character in every locale."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (Printable(stream) for stream in before)  # type: ignore[assignment]
    try:
        yield
    finally:
        # A command may have closed its output (`… | head`).
        if sys.stdout is not None:
            sys.stdout = before[0]
        sys.stderr = before[1]


def plain(stream: Any) -> Any:
    """The stream itself, for who draws on a terminal: texts from outside go through `printable` first."""
    return getattr(stream, "plain", stream)
