"""A request's parameters, settings and body, as ClickHouse's HTTP interface reads them."""

import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import lz4.frame
import zstandard

from . import forbidden
from .errors import refused

# Parameters of the transport; every other one is a setting.
_TRANSPORT = {
    *("query", "database", "default_format", "query_id", "user", "password", "quota_key", "role"),
    *("session_id", "session_timeout", "session_check", "close_session", "wait_end_of_query"),
    *("buffer_size", "compress", "decompress", "stacktrace", "client_protocol_version"),
    # Settings that only ClickHouse's own HTTP server acts upon. The stock client sends them with
    # every request; leaving them out halves what has to be SET.
    *("enable_http_compression", "send_progress_in_http_headers"),
    *("http_headers_progress_interval_ms", "cancel_http_readonly_queries_on_client_close"),
    *("http_zlib_compression_level", "http_write_exception_in_output_format"),
}

_NAME_OF_SETTING = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class Parameters(dict[str, str]):
    """The URL's (and a form's) parameters; bytes that are not UTF-8 are kept as surrogates."""

    @classmethod
    def read(cls, query_string: bytes) -> "Parameters":
        """From a raw query string; the last of equal names wins, as in ClickHouse."""
        text = query_string.decode("ascii", "surrogateescape")
        return cls(parse_qsl(text, keep_blank_values=True, errors="surrogateescape"))

    def flag(self, name: str) -> bool:
        """Whether a parameter is on (1, true)."""
        return self.get(name, "").lower() in ("1", "true")

    def settings(self, external: Iterable[str] = ()) -> dict[str, str]:
        """The engine settings; `external` names the tables that come with the request."""
        skip = {
            f"{table}_{part}" for table in external for part in ("format", "structure", "types")
        }
        found = {
            _plain(name): value
            for name, value in self.items()
            if name not in _TRANSPORT and name not in skip and not name.startswith("param_")
        }
        if not found.keys().isdisjoint(forbidden.EXPRESSIONS):
            raise refused(452, "SETTING_CONSTRAINT_VIOLATION", "Setting should not be changed")
        for value in found.values():
            forbidden.check_text(value.encode("utf-8", "surrogateescape"))
        return found

    def bindings(self) -> dict[str, str]:
        """The query's parameters. Values arrive TSV-escaped; the engine wants them so."""
        return {
            _plain(name[6:]): value for name, value in self.items() if name.startswith("param_")
        }


def _plain(name: str) -> str:
    """A name that becomes part of a SET. Raises EngineError 115 for any other text."""
    if not _NAME_OF_SETTING.fullmatch(name):
        raise refused(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'")
    return name


class Decoder:
    """Undoes a Content-Encoding piece by piece, over any number of frames in the body.

    clickhouse-connect sends one lz4 frame for each 16,384 rows. A decoder that stops after the
    first frame loses the rest of the rows in silence, so the end of a frame starts a new one.
    """

    def __init__(self, start: Callable[[], Any]) -> None:
        self._start = start
        self._frame = start()
        self._open = False  # inside a frame

    def feed(self, data: bytes) -> bytes:
        """The bytes that `data` completes. Raises EngineError 354 when it is not of the encoding."""
        parts = []
        try:
            while data:
                self._open = True
                part = self._frame.decompress(data)
                if part:
                    parts.append(part)
                if not self._frame.eof:
                    break
                data = self._frame.unused_data
                self._frame = self._start()
                self._open = False
        except (RuntimeError, zlib.error, zstandard.ZstdError) as error:
            raise refused(354, "INFLATE_FAILED", f"Cannot decompress the body: {error}") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def finish(self) -> None:
        """Raises EngineError 354 when the body ended in mid-frame: rows would be missing."""
        if self._open:
            raise refused(354, "INFLATE_FAILED", "The compressed body ends in mid-frame")


_DECODERS: dict[str, Callable[[], Any]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "gzip": lambda: zlib.decompressobj(31),
    "deflate": lambda: zlib.decompressobj(15),
}


def decoder(encoding: str) -> Decoder | None:
    """The decoder for a Content-Encoding, None for plain. Raises EngineError 48 for another one."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in _DECODERS:
        raise refused(48, "NOT_IMPLEMENTED", f"Unknown compression method '{encoding}'")
    return Decoder(_DECODERS[encoding])


@dataclass(frozen=True)
class Part:
    """One part of a multipart body: a form field, or (with a file name) an external table."""

    name: str
    is_file: bool
    data: bytes


_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
_NAME = re.compile(r'[; ]name="((?:[^"\\]|\\.)*)"')


def multipart(content_type: str, body: bytes) -> list[Part]:
    """The parts of a multipart/form-data body. Raises EngineError 36 when it has no boundary."""
    boundary = _BOUNDARY.search(content_type)
    if not boundary:
        raise refused(36, "BAD_ARGUMENTS", "A multipart body without a boundary")
    mark = b"\r\n--" + boundary[1].encode()
    parts = []
    for section in (b"\r\n" + body).split(mark)[1:]:
        head, blank, data = section.partition(b"\r\n\r\n")
        if not blank:  # the closing mark
            continue
        head_text = head.decode("utf-8", "surrogateescape")
        name = _NAME.search(head_text)
        if name:
            parts.append(Part(name[1], "filename=" in head_text, data))
    return parts
