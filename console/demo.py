"""The demo city: pours registry, targets and history into a running set-up, then keeps it alive.

The platforms of the demo see COVERAGE of the city's spend (docs/methods.md, The simulated city), in
history and live alike. Some 5,000 entries stand for a day of history, so that each is the sum of
some thousand tickets; the live stream sends single tickets at the same yuan a second.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import queue
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from console import terminal
from console.simulate import door, seasons
from console.simulate.city import CITY_YEAR_FEN, city
from console.simulate.flow import DAY_MS, SCHEMA, ZONE_MS, Flow, scale_for
from console.simulate.formats import MEDIA_TYPES, render
from contracts.targets.codec import Target, encode
from yumai.broker.security import Bootstrap, client_options
from yumai.entry import SHANGHAI_OFFSET
from yumai.process import settings
from yumai.topics import TARGETS

SEED = 20_260
ENTRIES = 5_000_000
COVERAGE = 0.35
"""Of the city's spend, what the demo's platforms see (an assumption)."""
RATE = 200
IN_FLIGHT = 4
REGISTRY_ROWS = 5_000

Print = Callable[[str], None]


def _now_ms() -> int:
    return int(time.time() * 1000)


def _day_of(ms: int) -> date:
    return datetime.fromtimestamp(ms / 1000, SHANGHAI_OFFSET).date()


def _midnight_ms(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_MS - ZONE_MS


# -- what is still to be poured -----------------------------------------------------------------------

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
        _write(self.path, known)

    def plan(self, now_ms: int, live_until_ms: int) -> None:
        """Adds what occurred since the last plan, but for the time in which the live stream ran."""
        since = max(self.planned_until_ms, live_until_ms)
        if not self.planned_until_ms:
            since = _midnight_ms(date.fromisoformat(self.first)) - 1
        day, today = _day_of(since + 1), _day_of(now_ms)
        while day <= today and since < now_ms:
            after = since if since >= _midnight_ms(day) else None
            until = now_ms if day == today else None
            self.pending.append((day.isoformat(), after, until))
            day += timedelta(days=1)
        self.planned_until_ms = max(now_ms, self.planned_until_ms)


def _write(path: Path, known: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(known))
    fresh.replace(path)


def _live_until_ms(state_dir: Path) -> int:
    try:
        return int(json.loads((state_dir / "run" / "live.json").read_text())["through_ms"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def demo_flow(seed: int, per_day: float) -> Flow:
    """The history's stream, with amounts that make COVERAGE of the city."""
    flow = Flow(city(seed), seed, late=0.01)
    return dataclasses.replace(flow, scale=scale_for(flow, per_day, COVERAGE))


def _begin(state_dir: Path, entries: int, seed: int, now_ms: int) -> Progress:
    today = _day_of(now_ms)
    first = date(today.year - 2, 1, 1)
    flow = Flow(city(seed), seed)
    days = (today - first).days + 1
    per_day = entries / sum(flow.intensity(first + timedelta(days=n)) for n in range(days))
    return Progress(state_dir / "run" / "demo.json", seed, first.isoformat(), per_day)


# -- pour ---------------------------------------------------------------------------------------------


def pour(
    ingest_url: str,
    gateway_url: str,
    bureau_token: str,
    state_dir: Path,
    *,
    out: Print = print,
    bootstrap: str | None = None,
    entries: int = ENTRIES,
    seed: int = SEED,
    stop: threading.Event | None = None,
) -> bool:
    """Registry, targets and history into a running set-up; goes on where an earlier call stopped.

    True when all of it is acknowledged, False when stopped or refused (said by `out`). `bootstrap`:
    Kafka's address for the targets (default: KAFKA_BOOTSTRAP; without one there are no targets).
    Without `stop`, SIGTERM and SIGINT end it. Waits for as long as ingest is away.
    """
    ingest_url = ingest_url.rstrip("/")
    now_ms = _now_ms()
    progress = Progress.load(Path(state_dir)) or _begin(Path(state_dir), entries, seed, now_ms)
    progress.plan(now_ms, _live_until_ms(Path(state_dir)))
    progress.save()
    flow = demo_flow(progress.seed, progress.per_day)
    with _stopped_by_signals(stop) as stopping, door.client() as http:
        try:
            if not progress.registry:
                _put_registry(http, ingest_url, bureau_token, flow, stopping, out)
                progress.registry = True
                progress.save()
            _put_targets(bootstrap or _kafka(), flow, progress, out)
            return _pour_history(http, ingest_url, bureau_token, flow, progress, stopping, out)
        except door.Stopped:
            return False
        except door.Refused as refused:
            out(f"the demo was refused: {refused}")
            return False


@contextmanager
def _stopped_by_signals(stop: threading.Event | None) -> Iterator[threading.Event]:
    """The event to look at; SIGTERM and SIGINT set it where none was handed in."""
    if stop is not None or threading.current_thread() is not threading.main_thread():
        yield stop or threading.Event()
        return
    event = threading.Event()
    known = {n: signal.signal(n, lambda *_: event.set()) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield event
    finally:
        for number, handler in known.items():
            signal.signal(number, handler)


def _put_registry(
    http: Any, ingest_url: str, token: str, flow: Flow, stop: threading.Event, out: Print
) -> None:
    rows = flow.city.registry()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for low in range(0, len(rows), REGISTRY_ROWS):
        body = json.dumps(rows[low : low + REGISTRY_ROWS]).encode()
        door.send(http, "PUT", f"{ingest_url}/v1/merchants", body, headers, stop)
    out(f"registry: {len(rows):,} rows")


def demo_targets(flow: Flow, per_day: float, first: date, today: date) -> list[dict[str, Any]]:
    """For each year from the second on: a target of all services a district, from the year before."""
    years = tuple(range(first.year + 1, today.year + 1))
    counts = {}
    day = first
    while day.year <= today.year:
        counts[day] = round(per_day * flow.intensity(day))
        day += timedelta(days=1)
    return flow.targets(counts, years)


def _kafka() -> Bootstrap | None:
    return settings.read().kafka if os.environ.get("KAFKA_BOOTSTRAP") else None


def _put_targets(bootstrap: Bootstrap | None, flow: Flow, progress: Progress, out: Print) -> None:
    today = _day_of(_now_ms())
    if today.year in progress.targets:
        return
    if bootstrap is None:
        out("targets: left out, KAFKA_BOOTSTRAP is not set")
        return
    from kafka import KafkaProducer

    from yumai.broker.target_log import keys

    # Where demo.json was lost: what somebody has set since then stays.
    known = keys(bootstrap)
    targets = demo_targets(flow, progress.per_day, date.fromisoformat(progress.first), today)
    producer = KafkaProducer(
        **client_options(bootstrap), acks="all", retries=10, client_id="yumai-demo"
    )
    try:
        sent = []
        for target in targets:
            if target["year"] in progress.targets:
                continue
            fen = target["target_fen"]
            event = Target(
                target["year"],
                target["district"],
                value=fen,
                target_fen=fen,
                basis="demo",
                by="demo",
                at=_now_ms(),
            )
            if event.key in known:
                continue
            sent.append(producer.send(TARGETS.name, encode(event), event.key.encode()))
        for future in sent:
            future.get(timeout=60)
    finally:
        producer.close(timeout=10)
    progress.targets = sorted({*progress.targets, *(target["year"] for target in targets)})
    progress.save()
    out(f"targets: {len(sent)}, for {', '.join(map(str, progress.targets))}")


def _pour_history(
    http: Any,
    ingest_url: str,
    token: str,
    flow: Flow,
    progress: Progress,
    stop: threading.Event,
    out: Print,
) -> bool:
    """One request a day, IN_FLIGHT at a time, made while the earlier ones are under way."""
    todo = list(progress.pending)
    work: queue.Queue[tuple[Segment, bytes, int] | None] = queue.Queue(IN_FLIGHT)
    done: queue.Queue[tuple[Segment, int] | Exception] = queue.Queue()

    def send() -> None:
        while (item := work.get()) is not None:
            segment, body, size = item
            try:
                if size and not stop.is_set():
                    door.send(
                        http,
                        "POST",
                        f"{ingest_url}/v1/entries",
                        body,
                        _headers(token, progress, segment),
                        stop,
                    )
                done.put(door.Stopped() if stop.is_set() and size else (segment, size))
            except Exception as error:  # handed to the caller, who raises it
                done.put(error)

    workers = [
        threading.Thread(target=send, name=f"pour-{n}", daemon=True) for n in range(IN_FLIGHT)
    ]
    for worker in workers:
        worker.start()
    bar = _Bar(len(todo), progress.done_entries, out)
    saved = time.monotonic()
    under_way = 0

    def note(answer: tuple[Segment, int] | Exception) -> None:
        nonlocal under_way, saved
        under_way -= 1
        if isinstance(answer, Exception):
            raise answer
        progress.pending.remove(answer[0])
        progress.done_entries += answer[1]
        bar.advance(answer[1], answer[0][0])
        if time.monotonic() - saved > 1:
            progress.save()
            saved = time.monotonic()

    def settle(most: int) -> None:
        """Waits until no more than `most` requests are under way, or it is to stop."""
        while under_way > most and not stop.is_set():
            with suppress(queue.Empty):
                note(done.get(timeout=0.2))

    try:
        for segment in todo:
            settle(2 * IN_FLIGHT - 1)  # as many wait in the queue as are being sent
            if stop.is_set():
                break
            work.put((segment, *_body(flow, progress.per_day, segment)))
            under_way += 1
        settle(0)
        return not stop.is_set() and not progress.pending
    finally:
        if stop.is_set():  # what is under way may still be acknowledged: a moment for it
            deadline = time.monotonic() + 2
            while under_way and time.monotonic() < deadline:
                with suppress(queue.Empty, door.Stopped):
                    note(done.get(timeout=0.1))
        for _ in workers:
            with suppress(queue.Full):
                work.put(None, timeout=0.1)
        progress.save()
        bar.close()


def _body(flow: Flow, per_day: float, segment: Segment) -> tuple[bytes, int]:
    """The segment's entries as an Arrow stream, and how many."""
    day = date.fromisoformat(segment[0])
    batch = flow.day(
        day, round(per_day * flow.intensity(day)), after_ms=segment[1], until_ms=segment[2]
    )
    return render(batch, "arrow"), len(batch)


def _headers(token: str, progress: Progress, segment: Segment) -> dict[str, str]:
    day, after, until = segment
    key = f"demo-{progress.seed}-{day}"
    if after is not None or until is not None:
        key += f"-{after or 0}-{until or 0}"
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": MEDIA_TYPES["arrow"],
        "Idempotency-Key": key,
    }
    if date.fromisoformat(day) < _day_of(_now_ms()):
        headers["Recorded-On"] = day
    return headers


class _Bar:
    """A progress bar on a terminal, a line now and then elsewhere; entries/s as measured."""

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


# -- live ---------------------------------------------------------------------------------------------


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
        hour = (now_ms + ZONE_MS) // 3_600_000
        if hour != self._hour:
            self._hour = hour
            pace = self._flow.intensity(_day_of(now_ms)) * seasons.hour_share(hour % 24)
            fen_a_second = COVERAGE * CITY_YEAR_FEN / (365 * 86_400) * pace
            scale = fen_a_second / (self._rate * self._flow.city.mean_ticket_fen)
            self._flow = dataclasses.replace(self._flow, scale=scale)
        return self._flow

    def body(self, entries: int, now_ms: int, span_ms: int) -> bytes:
        """NDJSON of so many entries of the last `span_ms`; a few bad, repeated or conflicting rows."""
        day = _day_of(now_ms)
        batch = self._scaled(now_ms).rows(day, self._row, self._row + entries)
        self._row += entries
        occurred = batch.column("occurred_at").cast(pa.int64()).to_numpy()
        fresh = occurred >= _midnight_ms(day)
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
    with _stopped_by_signals(stop) as stopping, door.client() as http:
        due = time.monotonic()
        while not stopping.is_set():
            now_ms = _now_ms()
            body = stream.body(size, now_ms, round(tick * 1000))
            key = {"Idempotency-Key": secrets.token_hex(12)}
            try:
                door.send(http, "POST", url, body, headers | key, stopping)
            except door.Stopped:
                break
            except (door.Refused, ValueError) as error:
                # not ours to judge here: say so once a minute and go on
                if time.monotonic() - said > 60 or not said:
                    said = time.monotonic()
                    out(f"live: {error}")
                stopping.wait(5)
            if state_dir is not None and time.monotonic() - noted > 2:
                noted = time.monotonic()
                _write(Path(state_dir) / "run" / "live.json", {"through_ms": now_ms})
            due += tick
            if due < time.monotonic() - 5:  # was away: the present, not what was missed
                due = time.monotonic()
            stopping.wait(max(due - time.monotonic(), 0))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m console.demo", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    pouring = commands.add_parser("pour", help="registry, targets, history")
    living = commands.add_parser("live", help="a stream of present entries")
    for one in (pouring, living):
        one.add_argument("--ingest", required=True, metavar="URL")
        one.add_argument(
            "--token", default=os.environ.get("YUMAI_TOKEN"), help="the bureau's; or YUMAI_TOKEN"
        )
        one.add_argument("--seed", type=int, default=SEED)
    pouring.add_argument("--gateway", default="", metavar="URL")
    pouring.add_argument("--bootstrap", metavar="HOST:PORT", help="Kafka; default KAFKA_BOOTSTRAP")
    pouring.add_argument("--entries", type=int, default=ENTRIES)
    pouring.add_argument("--state", type=Path, default=Path(".yumai"))
    living.add_argument("--rate", type=float, default=RATE, help="entries a second")
    living.add_argument("--state", type=Path)
    args = parser.parse_args(arguments)
    if not args.token:
        parser.error("--token is missing")
    if args.command == "live":
        if args.rate <= 0:
            parser.error("--rate is more than 0")
        live(args.ingest, args.token, args.rate, state_dir=args.state, seed=args.seed)
        return 0
    done = pour(
        args.ingest, args.gateway, args.token, args.state,
        bootstrap=args.bootstrap, entries=args.entries, seed=args.seed,
    )  # fmt: skip
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
