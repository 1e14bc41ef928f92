"""How far the history is poured: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from yumai import terminal

Print = Callable[[str], None]


class Bar:
    """Entries a second as measured."""

    def __init__(self, days: int, before: int, out: Print) -> None:
        self._days, self._out, self._before = days, out, before
        self._finished = self._entries = 0
        self._began = self._said = time.monotonic()
        self._bar: Any = None
        if out is print and sys.stdout.isatty() and days > 1:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("history {task.fields[day]}"),
                BarColumn(),
                TextColumn("{task.fields[entries]:,} entries, {task.fields[speed]:,.0f}/s"),
                TimeRemainingColumn(),
                console=Console(file=terminal.plain(sys.stdout)),
            )
            self._task = self._bar.add_task("", total=days, day="", entries=0, speed=0.0)
            self._bar.start()

    def advance(self, entries: int, day: str) -> None:
        self._finished += 1
        self._entries += entries
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(
                self._task,
                advance=1,
                day=day,
                entries=self._before + self._entries,
                speed=self._speed(),
            )
        elif now - self._said >= 2:
            self._said = now
            self._out(self._line(f"{self._finished} of {self._days} days"))

    def _speed(self) -> float:
        return self._entries / max(time.monotonic() - self._began, 1e-9)

    def _line(self, what: str) -> str:
        return f"history: {what}, {self._before + self._entries:,} entries, {self._speed():,.0f} entries/s"

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._days == 1:
            self._out(f"history: up to now, {self._entries:,} entries more")
        elif self._days:
            self._out(
                self._line(f"{self._finished} days in {time.monotonic() - self._began:.0f} s")
            )
