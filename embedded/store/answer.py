"""Results: which formats can be streamed piece by piece, and how an answer is compressed."""

import zlib
from collections.abc import Callable

import lz4.frame
import zstandard

from .errors import refused

# chDB renders every streamed piece as a document of its own. In these formats the pieces, one
# after the other, are the whole; any other format (JSON, Parquet, with names ...) is built whole.
_CONCATENABLE = {
    *("native", "rowbinary", "tsv", "tabseparated", "tsvraw", "tabseparatedraw", "csv"),
    *("jsoneachrow", "ndjson", "jsonlines", "jsoncompacteachrow", "jsonstringseachrow"),
}
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


class Joiner:
    """Joins the pieces of a format whose pieces, one after the other, are the whole."""

    def piece(self, data: bytes) -> bytes:
        """What one piece adds to the whole."""
        return data

    def end(self) -> bytes:
        """What closes the whole."""
        return b""


class ArrowStream(Joiner):
    """Joins many Arrow IPC streams into one, without decoding them.

    A reader stops at the first end-of-stream mark, in silence: 65,409 of 200,000 rows. So the
    schema message is kept from the first stream only, and the mark is written once, at the end.
    Dictionaries are sent again by each piece, which in an IPC stream replaces them.
    """

    def __init__(self) -> None:
        self._schema: bytes | None = None

    def piece(self, stream: bytes) -> bytes:
        """What a complete stream adds to the whole. Raises EngineError if its schema differs."""
        schema_end = 8 + int.from_bytes(stream[4:8], "little")
        end = -8 if stream.endswith(_END_OF_STREAM) else None
        if self._schema is None:
            self._schema = stream[:schema_end]
            return stream[:end]
        if stream[:schema_end] != self._schema:
            raise refused(49, "LOGICAL_ERROR", "The Arrow schema changed within one result")
        return stream[schema_end:end]

    def end(self) -> bytes:
        """What closes the whole; nothing if no piece was seen."""
        return _END_OF_STREAM if self._schema else b""


def joiner(output: str, settings: dict[str, str]) -> Joiner | None:
    """How to join the pieces of a format, None if its results have to be built whole."""
    name = output.lower()
    if name == "arrowstream":
        return ArrowStream()
    if name in _CONCATENABLE and "output_format_json_array_of_rows" not in settings:
        return Joiner()
    return None


class _Lz4:
    """One lz4 frame over the whole answer, block by block."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._head = self._frame.begin()

    def compress(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + self._frame.compress(data)

    def flush(self) -> bytes:
        head, self._head = self._head, b""
        return head + self._frame.flush()


_ENCODERS: dict[str, Callable] = {
    "lz4": _Lz4,
    "zstd": lambda: zstandard.ZstdCompressor(level=1).compressobj(),
    "gzip": lambda: zlib.compressobj(1, wbits=31),
    "deflate": lambda: zlib.compressobj(1),
}


def encoding(accepted: str) -> str | None:
    """The first coding of an Accept-Encoding that we have, None for plain."""
    for coding in accepted.split(","):
        name, _, quality = coding.strip().partition(";")
        if name in _ENCODERS and quality.replace(" ", "") not in ("q=0", "q=0.0"):
            return name
    return None


def encoder(name: str):
    """A compressor with `compress(bytes)` and `flush()` for a coding of `encoding`."""
    return _ENCODERS[name]()
