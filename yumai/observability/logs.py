"""Logs of every service: a JSON line a record, or words for people on a terminal.

One line a change of state; never a payload, a person or a secret: what looks like a key is masked even
where an error of some library says it. An exception stands with its stack in one record.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from datetime import UTC, datetime
from typing import TextIO

from yumai import printable
from yumai.observability import tracing

FORMS = ("json", "pretty")
_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m"}

_SECRETS = re.compile(
    r"""(?P<head>
        \byk_ | \bwhsec_ | \beyJ | Bearer\s+ | Basic\s+ | ://[^\s/:@]*: |
        (?:access_)?token= | password["']?\s*[=:]\s*["']?
    )(?P<secret>[^\s"'&,;]+?)(?=@[\w.\[-]|["'&,;\s]|$)""",
    re.VERBOSE | re.IGNORECASE,
)


def masked(text: str) -> str:
    """The text without keys, tokens and passwords."""
    return _SECRETS.sub(_mask, text)


def _mask(found: re.Match[str]) -> str:
    if found["head"].startswith("://") and not found.string.startswith("@", found.end()):
        return found[0]  # a port, not a password
    return f"{found['head']}***"


class Json(logging.Formatter):
    def __init__(self, service: str, instance: str) -> None:
        super().__init__()
        self._about = {"service": service, "instance": instance}

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": masked(record.getMessage()),
            **self._about,
        }
        now = tracing.current.get()
        if now is not None:
            line["trace_id"], line["span_id"] = now
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = masked(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = masked(record.stack_info)
        return printable.line(json.dumps(line, ensure_ascii=False))


class Pretty(logging.Formatter):
    def __init__(self, colours: bool) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        self._colours = colours

    def formatMessage(self, record: logging.LogRecord) -> str:
        # One record, one line: a text from outside must not begin another.
        return printable.line(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        text = masked(printable.lines(super().format(record)))
        now = tracing.current.get()
        if now is not None:
            text += f"  [trace {now[0]}]"
        colour = _COLOURS.get(record.levelname) if self._colours else None
        return f"{colour}{text}\x1b[0m" if colour else text


def begin(service: str, instance: str, form: str = "", stream: TextIO | None = None) -> None:
    """All loggers of this process, those of libraries too, to `stream` (stderr). `form`: of FORMS."""
    to = sys.stderr if stream is None else stream
    pretty = form == "pretty" or (not form and to.isatty())
    handler = logging.StreamHandler(to)
    handler.setFormatter(Pretty(to.isatty()) if pretty else Json(service, instance))
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda hook: _uncaught(
        hook.exc_type, hook.exc_value or hook.exc_type(), hook.exc_traceback
    )


def _uncaught(kind, error, trace) -> None:  # type: ignore[no-untyped-def]
    if issubclass(kind, (KeyboardInterrupt, SystemExit)):
        return
    logging.getLogger("yumai").critical("uncaught", exc_info=(kind, error, trace))
