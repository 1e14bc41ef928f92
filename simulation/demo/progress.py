"""What is still to be poured, remembered in the state directory: a stopped demo goes on where it was."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from contracts.days import DAY_MS, SHANGHAI, SHANGHAI_MS

SEED = 20_260


def present_ms() -> int:
    return int(time.time() * 1000)


def day_at(ms: int) -> date:
    return datetime.fromtimestamp(ms / 1000, SHANGHAI).date()


def midnight_ms(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_MS - SHANGHAI_MS


Segment = tuple[str, int | None, int | None]
"""A day, and of it what occurred in (after_ms, until_ms]; None: no limit. One request each."""


@dataclass
class Progress:
    """What `state_dir/run/demo.json` remembers. Fixed at the first start: seed, per_day, first."""

    path: Path
    seed: int = SEED
    first: str = ""
    per_day: float = 0.0
    registry: bool = False
    targets: list[int] = field(default_factory=list)
    done_entries: int = 0
    planned_until_ms: int = 0
    pending: list[Segment] = field(default_factory=list)

    @classmethod
    def load(cls, state_dir: Path) -> Progress | None:
        path = state_dir / "run" / "demo.json"
        try:
            known = json.loads(path.read_text())
            known["pending"] = [tuple(segment) for segment in known["pending"]]
            return cls(path, **known)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            # torn or foreign: begin again; equal keys make what was poured before harmless
            return None

    def save(self) -> None:
        known = {k: v for k, v in vars(self).items() if k != "path"}
        write(self.path, known)

    def plan(self, now_ms: int, live_until_ms: int) -> None:
        """Adds what occurred since the last plan, but for the time in which the live stream ran."""
        since = max(self.planned_until_ms, live_until_ms)
        if not self.planned_until_ms:
            since = midnight_ms(date.fromisoformat(self.first)) - 1
        day, today = day_at(since + 1), day_at(now_ms)
        while day <= today and since < now_ms:
            after = since if since >= midnight_ms(day) else None
            until = now_ms if day == today else None
            self.pending.append((day.isoformat(), after, until))
            day += timedelta(days=1)
        self.planned_until_ms = max(now_ms, self.planned_until_ms)


def write(path: Path, known: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(known))
    fresh.replace(path)


def live_until_ms(state_dir: Path) -> int:
    try:
        return int(json.loads((state_dir / "run" / "live.json").read_text())["through_ms"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
