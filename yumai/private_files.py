"""Small files that only their owner reads, whole or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path


def write(path: Path, text: str) -> None:
    """A new file, on disk when this returns. Raises OSError, also where it is there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, text: str) -> None:
    fresh = _beside(path)
    write(fresh, text)
    fresh.replace(path)


def make_once(path: Path, text: Callable[[], str]) -> None:
    """Makes the file unless it is there. Of several processes at once the first makes it, and all read one text."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = _beside(path)
    write(fresh, text())
    with contextlib.suppress(FileExistsError):
        os.link(fresh, path)
    fresh.unlink()


def _beside(path: Path) -> Path:
    return path.parent / f".{path.stem}.{secrets.token_hex(4)}"
