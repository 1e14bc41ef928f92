"""Small disks, and how they get full. Mounting one needs root: without it such tests are skipped."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def disk(at: Path, megabytes: int) -> Iterator[None]:
    at.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "yumai-test", at], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", at], check=True)


@contextmanager
def full(folders: list[Path]) -> Iterator[None]:
    """Every byte is taken, also what is freed meanwhile."""
    enough = threading.Event()
    filled = threading.Barrier(len(folders) + 1)

    def fill(file: Path) -> None:
        first = True
        while not enough.is_set():
            with suppress(OSError), file.open("ab", buffering=0) as filler:
                while filler.write(bytes(1 << 20)):
                    pass
            with suppress(OSError), file.open("ab", buffering=0) as filler:
                while filler.write(bytes(1 << 12)):
                    pass
            if first:
                first = False
                filled.wait()
            enough.wait(0.02)

    files = [folder / "filler" for folder in folders]
    threads = [threading.Thread(target=fill, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    filled.wait()
    try:
        yield
    finally:
        enough.set()
        for thread, file in zip(threads, files, strict=True):
            thread.join()
            file.unlink()
