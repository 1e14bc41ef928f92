"""How large each overlay is. Whatever must fit together (brokers and copies, shards and partitions, heap and memory) is one line of a size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

Doc = dict[str, Any]

_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    f"{letter}i": 1024.0**power for power, letter in enumerate("KMGT", 1)
}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|[kMGT]|[KMGT]i)?")


def amount(text: object) -> float:
    """Kubernetes' quantities: `500m`, `2`, `3Gi`. Raises ValueError for what is none."""
    match = _QUANTITY.fullmatch(str(text))
    if not match:
        raise ValueError(f"{text!r} is no quantity: want 500m, 2, 512Mi, 3Gi")
    return float(match[1]) * _UNITS[match[2] or ""]


HEAP_SHARE = 0.75


@dataclass(frozen=True)
class Room:
    """What a container asks for, and the memory at which it is killed. No limit of CPU: it would only be slower."""

    cpu: str | int
    memory: str
    memory_most: str

    def doc(self) -> Doc:
        return {
            "requests": {"cpu": self.cpu, "memory": self.memory},
            "limits": {"memory": self.memory_most},
        }


@dataclass(frozen=True)
class Size:
    controllers: int
    controller_room: Room
    brokers: int
    broker_room: Room
    broker_disk: str
    heap: str
    """Of a broker's JVM; the rest of its memory is the page cache, from which readers are served."""
    keepers: int
    shards: int
    replicas: int
    partitions: int
    """Of entries.v1: the most metrics workers there can be, and a multiple of ClickHouse's shards."""
    workers: tuple[int, int]
    """Fewest and most of metrics."""
    workers_blind: int
    """Of metrics, while nobody says how far behind they are."""
    doors: tuple[int, int]
    pages: tuple[int, int]
    judges: int

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that don't fit each other."""
        heap, memory = amount(f"{self.heap.upper()}i"), amount(self.broker_room.memory_most)
        fits = {
            "an odd number of controllers and Keepers": self.controllers % 2 and self.keepers % 2,
            "partitions, a multiple of the shards": self.partitions % self.shards == 0,
            "no more workers than partitions": self.workers[1] <= self.partitions,
            "workers while blind between the fewest and the most": (
                1 <= self.workers[0] <= self.workers_blind <= self.workers[1]
            ),
            "fewest before most": 1 <= self.doors[0] <= self.doors[1]
            and 1 <= self.pages[0] <= self.pages[1],
            f"a heap of {HEAP_SHARE:.0%} of the memory at most": heap <= HEAP_SHARE * memory,
        }
        wrong = [claim for claim, holds in fits.items() if not holds]
        if wrong:
            raise ValueError(f"want {'; '.join(wrong)}: {self}")

    @property
    def copies(self) -> int:
        return min(3, self.brokers)

    @property
    def copies_least(self) -> int:
        """min.insync.replicas: what is acknowledged is on so many machines, and one may be away."""
        return max(1, self.copies - 1)


PRODUCTION = Size(
    controllers=3,
    controller_room=Room("500m", "1Gi", "2Gi"),
    brokers=3,
    broker_room=Room("2", "8Gi", "12Gi"),
    broker_disk="500Gi",
    heap="4g",
    keepers=3,
    shards=2,
    replicas=2,
    partitions=12,
    workers=(2, 12),
    workers_blind=6,
    doors=(3, 12),
    pages=(3, 8),
    judges=2,
)
TRIAL = Size(
    controllers=1,
    controller_room=Room("100m", "512Mi", "1Gi"),
    brokers=1,
    broker_room=Room("500m", "2Gi", "3Gi"),
    broker_disk="50Gi",
    heap="1g",
    keepers=1,
    shards=1,
    replicas=1,
    partitions=4,
    workers=(1, 4),
    workers_blind=1,
    doors=(1, 2),
    pages=(1, 2),
    judges=1,
)
SMALL = Room("100m", "512Mi", "2Gi")
"""Of every service of ours in a trial."""
