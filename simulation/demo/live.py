"""The stream of the present."""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.days import SHANGHAI_MS
from simulation import door, seasons
from simulation.city import CITY_YEAR_FEN, city
from simulation.columns import SCHEMA
from simulation.demo.bar import Print
from simulation.demo.pour import COVERAGE
from simulation.demo.progress import SEED, day_at, midnight_ms, present_ms, write
from simulation.demo.stopping import stopped_by_signals
from simulation.flow import Flow
from simulation.formats import MEDIA_TYPES, render

RATE = 200


class LiveStream:
    """The present's entries. Ids carry a number of this run, so that no restart meets them again."""

    def __init__(
        self, seed: int, rate: float, *, malformed: float = 0.002, repeated: float = 0.004
    ) -> None:
        self._flow = Flow(city(seed), seed, late=0.005, refund_days=0, salt=secrets.token_hex(4))
        self._rate, self._malformed, self._repeated = rate, malformed, repeated
        self._row = 0
        self._hour = -1
        self._rng = np.random.default_rng()
        self._recent: list[bytes] = []

    def _scaled(self, now_ms: int) -> Flow:
        """Amounts follow the hour and the day, at a constant number of entries a second."""
        hour = (now_ms + SHANGHAI_MS) // 3_600_000
        if hour != self._hour:
            self._hour = hour
            pace = self._flow.intensity(day_at(now_ms)) * seasons.hour_share(hour % 24)
            fen_a_second = COVERAGE * CITY_YEAR_FEN / (365 * 86_400) * pace
            scale = fen_a_second / (self._rate * self._flow.city.mean_ticket_fen)
            self._flow = dataclasses.replace(self._flow, scale=scale)
        return self._flow

    def body(self, entries: int, now_ms: int, span_ms: int) -> bytes:
        """NDJSON of so many entries of the last `span_ms`; a few bad, repeated or conflicting rows."""
        day = day_at(now_ms)
        batch = self._scaled(now_ms).rows(day, self._row, self._row + entries)
        self._row += entries
        occurred = batch.column("occurred_at").cast(pa.int64()).to_numpy()
        fresh = occurred >= midnight_ms(day)
        spread = np.sort(now_ms - self._rng.integers(0, max(span_ms, 1), entries))
        # a late entry keeps its day
        moved = pa.array(np.where(fresh, spread, np.minimum(occurred, now_ms)))
        batch = batch.set_column(
            SCHEMA.get_field_index("occurred_at"),
            SCHEMA.field("occurred_at"),
            pc.cast(moved, pa.timestamp("ms", "UTC")),
        )
        body = render(
            batch, "ndjson", malformed=self._malformed, seed=int(self._rng.integers(2**31))
        )
        again = []
        for _ in range(int(self._rng.poisson(entries * self._repeated)) if self._recent else 0):
            line = self._recent[int(self._rng.integers(len(self._recent)))]
            if self._rng.random() < 0.1:  # the same id with another amount
                line = line.replace(b'"amount_fen":', b'"amount_fen":1', 1)
            again.append(line)
        lines = body.splitlines(keepends=True)
        self._recent = (lines[:20] + self._recent)[:500]
        return body + b"".join(again)


def live(
    ingest_url: str,
    token: str,
    rate: float = RATE,
    *,
    state_dir: Path | None = None,
    seed: int = SEED,
    stop: threading.Event | None = None,
    out: Print = print,
) -> None:
    """Sends `rate` entries a second in small requests until stopped; waits while the door is away.

    `state_dir`: `run/live.json` there says until when it ran, so that the next `pour` fills the gap.
    """
    url = f"{ingest_url.rstrip('/')}/v1/entries"
    stream = LiveStream(seed, rate)
    tick = min(max(20 / rate, 0.25), 5.0)
    size = max(round(rate * tick), 1)
    tick = size / rate
    headers = {"Authorization": f"Bearer {token}", "Content-Type": MEDIA_TYPES["ndjson"]}
    said = noted = 0.0
    with stopped_by_signals(stop) as stopping, door.client() as http:
        due = time.monotonic()
        while not stopping.is_set():
            now_ms = present_ms()
            body = stream.body(size, now_ms, round(tick * 1000))
            key = {"Idempotency-Key": secrets.token_hex(12)}
            try:
                door.send(http, "POST", url, body, headers | key, stopping)
            except door.Stopped:
                break
            except (door.DoorRefused, ValueError) as error:
                # not ours to judge here: say so once a minute and go on
                if time.monotonic() - said > 60 or not said:
                    said = time.monotonic()
                    out(f"live: {error}")
                stopping.wait(5)
            if state_dir is not None and time.monotonic() - noted > 2:
                noted = time.monotonic()
                write(Path(state_dir) / "run" / "live.json", {"through_ms": now_ms})
            due += tick
            if due < time.monotonic() - 5:  # was away: the present, not what was missed
                due = time.monotonic()
            stopping.wait(max(due - time.monotonic(), 0))
