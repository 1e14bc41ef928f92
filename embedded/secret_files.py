"""Secrets as files that their owner alone reads: a name and a path may be public, what stands in the file is not."""

import contextlib
import errno
import os
import secrets
from pathlib import Path


class NotPrivate(PermissionError):
    """Others may read the file, or it is empty."""

    def __init__(self, why: str, path: Path) -> None:
        super().__init__(errno.EACCES, why, str(path))


def new() -> str:
    """256 random bits, of characters that need no quoting in any configuration file."""
    return secrets.token_hex(32)


def ensure(path: Path) -> str:
    """The secret in this file, which is made (0600) where it is not there.

    Raises OSError, of which NotPrivate is one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(new())
        # The first to link wins, so that two processes at once agree.
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    return read(path)


def read(path: Path) -> str:
    """Raises OSError; NotPrivate where it is empty or others may read it."""
    if path.stat().st_mode & 0o077:
        raise NotPrivate("others may read it: put another secret in it, and chmod 600", path)
    found = path.read_text().strip()
    if not found:
        raise NotPrivate("the file is empty", path)
    return found
