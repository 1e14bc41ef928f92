"""A file read as what it holds, however it is compressed; what ends in the middle is an error, not an end."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def opened(path: Path, encoding: str | None) -> Iterator[Any]:
    if encoding == "gzip":
        with gzip.open(path) as file:
            yield file
    else:
        with path.open("rb") as file:
            yield _Unzstd(file) if encoding == "zstd" else file


class _Unzstd:
    """The library's own reader takes a truncated file for a whole one, and rows would be missing."""

    def __init__(self, file: IO[bytes]) -> None:
        import zstandard

        self._file, self._start = file, zstandard.ZstdDecompressor().decompressobj
        self._error = zstandard.ZstdError
        self._frame: Any = None
        self._input = b""

    def read(self, size: int) -> bytes:
        """Some bytes (it may be more than `size`, never kept back), none at the end."""
        while True:
            self._input = self._input or self._file.read(2**16)
            if not self._input:
                if self._frame is not None:
                    raise EOFError("it ends in the middle")
                return b""
            self._frame = self._frame or self._start()
            try:
                output: bytes = self._frame.decompress(self._input)
            except self._error as error:
                raise EOFError(str(error)) from error
            self._input = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None
            if output:
                return output


@contextmanager
def on_disk(path: Path, encoding: str | None) -> Iterator[Path]:
    """Arrow and Parquet are read from a file that can be mapped and sought in."""
    if encoding is None:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="yumai-send-") as plain:
        with opened(path, encoding) as source:
            shutil.copyfileobj(source, plain, 2**20)
        plain.flush()
        yield Path(plain.name)
