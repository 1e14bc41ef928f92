"""Whose cpu went where: every process of the system, the bench itself, and all others on this machine.

A thread notes them five times a second, so that any window can be asked for afterwards.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import psutil

EVERY_SECONDS = 0.2
SYSTEM = ("metrics", "store", "broker")
"""Who takes part from Kafka to the cells; the second bar counts these."""


class Sampler(threading.Thread):
    """`listed` names the processes as they are now: {"metrics-1": pid}. Cpu of one that ended still counts."""

    def __init__(self, listed: Callable[[], Mapping[str, int]]) -> None:
        super().__init__(name="sampler", daemon=True)
        self._listed = listed
        self._extra: dict[str, int] = {}
        self._processes: dict[int, psutil.Process] = {}
        self._last: dict[str, dict[int, float]] = {}
        self._times: list[float] = []
        self._busy: list[float] = []
        self._cpu: list[dict[str, float]] = []
        self._rss: list[dict[str, int]] = []
        self._ending = threading.Event()
        self._lock = threading.Lock()

    def watch(self, name: str, pid: int) -> None:
        """Counts another process as ours."""
        self._extra[name] = pid

    def run(self) -> None:
        while not self._ending.wait(EVERY_SECONDS):
            self.sample()

    def stop(self) -> None:
        self._ending.set()

    def sample(self) -> None:
        with self._lock:
            rss: dict[str, int] = {}
            for name, pid in {**self._listed(), **self._extra}.items():
                with contextlib.suppress(psutil.Error):
                    process = self._processes.get(pid) or psutil.Process(pid)
                    self._processes[pid] = process
                    with process.oneshot():
                        times = process.cpu_times()
                        rss[name] = process.memory_info().rss
                    self._last.setdefault(name, {})[pid] = times.user + times.system
            self._times.append(time.monotonic())
            self._busy.append(_busy())
            self._cpu.append({name: sum(pids.values()) for name, pids in self._last.items()})
            self._rss.append(rss)

    def used(self, names: Iterable[str], since: float, until: float) -> float:
        """Cpu seconds in between of all processes whose names begin so."""
        begins = tuple(names)
        at = [sum(v for name, v in cpu.items() if name.startswith(begins)) for cpu in self._cpu]
        return self._between(at, since, until)

    def each(self, since: float, until: float) -> dict[str, float]:
        """Cpu seconds by process."""
        names = sorted({name for cpu in self._cpu for name in cpu})
        return {name: self.used((name,), since, until) for name in names}

    def others(self, since: float, until: float) -> float:
        """Cpu seconds that this machine spent on what is not ours."""
        ours = [sum(cpu.values()) for cpu in self._cpu]
        return max(self._between(self._busy, since, until) - self._between(ours, since, until), 0.0)

    def most_memory(self, prefix: str, since: float, until: float) -> float:
        """MB, the most that one process of that name had resident."""
        found = [
            size
            for at, rss in zip(self._times, self._rss, strict=False)
            if since <= at <= until
            for name, size in rss.items()
            if name.startswith(prefix)
        ]
        return max(found, default=0) / 1e6

    def _between(self, values: list[float], since: float, until: float) -> float:
        times = self._times[: len(values)]
        if not times:
            return 0.0
        low, high = np.interp([since, until], times, values[: len(times)])
        return float(high - low)


def _busy() -> float:
    """Cpu seconds of this machine since its start; what its host took away included."""
    times = psutil.cpu_times()
    names = ("user", "nice", "system", "irq", "softirq", "steal")
    return sum(getattr(times, name, 0.0) for name in names)


def load() -> str:
    """What the machine does before a part begins."""
    percent = psutil.cpu_percent(interval=0.5, percpu=True)
    each = " + ".join(f"{p:.0f}" for p in percent)
    return f"load {psutil.getloadavg()[0]:.1f}, cpu {each} %"
