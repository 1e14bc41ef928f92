"""The Kafka door: `feed.<platform>.v1`, one JSON entry a record, the same validation.

    turn = consumer.turn()                # one partition's share (`feed_turns`), in a thread of its own
    chunk = judge(rows)                   # each record is one row
    publish(chunk)                        # entries and dead letters durable
    commit(offsets)                       # only then

A crash between the last two reads the records again: the same receipt and row, so metrics knows
them as delivered before. For the same reason the door needs no group membership: it assigns itself
every feed's partitions and commits under its group's name, with the topic's id beside each offset: of a
topic made anew it begins at the beginning. A second ingest would do the work twice, and change nothing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import numpy as np
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from contracts import traces
from services.ingest.classify import MerchantIndex
from services.ingest.doors import feed_letters
from services.ingest.doors.feed_pieces import SEGMENT, by_segment, halves, joined, pieces
from services.ingest.doors.feed_turns import Aside, FeedConsumer, Turn
from services.ingest.formats import json_rows
from services.ingest.judging import Chunk, Request, judge
from services.ingest.publish import Message, NotDurable, Publisher
from services.ingest.receipts import feed_receipt
from services.ingest.rounds import count_entries, count_refused, messages
from yumai.broker.epochs import Epoch
from yumai.broker.principals import FEED_GROUP
from yumai.broker.security import client_options
from yumai.observability import tracing
from yumai.process.settings import Settings
from yumai.topics import DEAD_LETTERS, feed_platform

log = logging.getLogger("yumai.ingest")

_DISCOVER_SECONDS = 2.0
_RETRY_SECONDS = 0.5
_LOT_ROWS = 20_000
_LOT_BYTES = 32 * 1024 * 1024


class KafkaDoor(threading.Thread):
    """Reads the feeds for ever; waits in place for whatever is away."""

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        index: MerchantIndex,
        receipts: dict[str, str],
    ) -> None:
        super().__init__(name="feeds", daemon=True)
        self._settings, self._publisher, self._index = settings, publisher, index
        self._receipts = receipts
        self._ending = threading.Event()
        self._ids: dict[TopicPartition, str] = {}
        """Each assigned partition -> its topic's id."""
        self._next: dict[TopicPartition, int] = {}
        """Up to where each was read; nothing before it is owed."""
        self._owed: dict[TopicPartition, OffsetAndMetadata] = {}
        """What is durable and not committed yet."""
        self._admin: KafkaAdminClient | None = None

    def start(self, loop: asyncio.AbstractEventLoop, able: threading.Event) -> None:  # type: ignore[override]
        self._loop, self._able = loop, able
        super().start()

    def stop(self) -> None:
        self._ending.set()

    def run(self) -> None:
        while not self._ending.is_set():
            if not self._able.wait(0.2) or self._publisher.epoch is None:
                self._ending.wait(0.05)
                continue
            try:
                self._read()
            except (KafkaError, OSError, ValueError, AssertionError) as error:
                log.warning("feeds_retry %s: %s", type(error).__name__, error)
            except Exception:
                log.exception("feeds_failed")
            self._ending.wait(_RETRY_SECONDS)

    def _consumer(self) -> FeedConsumer:
        return FeedConsumer(
            **client_options(self._settings.kafka),
            client_id="yumai-ingest-feeds",
            group_id=FEED_GROUP,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            fetch_max_wait_ms=100,
            reconnect_backoff_max_ms=1_000,
        )

    def _read(self) -> None:
        consumer = self._consumer()
        self._ids.clear()
        self._next.clear()
        self._owed.clear()
        looked = 0.0
        under_way: _UnderWay | None = None
        waiting: deque[Turn] = deque()
        try:
            while not self._ending.is_set():
                if time.monotonic() - looked > _DISCOVER_SECONDS and not waiting:
                    looked = time.monotonic()
                    there = self._feeds()
                    if there is not None and there != self._ids:
                        # Positions start at what is committed: nothing may be under way.
                        if under_way is not None:
                            self._settle(consumer, under_way)
                            under_way = None
                        self._assign(consumer, there)
                    consumer.wake()
                if not self._ids:
                    self._ending.wait(_DISCOVER_SECONDS / 4)
                    continue
                turns = self._gather(consumer, waiting, idle=under_way is None)
                lot = self._judge(turns) if turns else None
                # One lot is on its way to Kafka while the next is judged; never more, in order.
                if under_way is not None:
                    self._settle(consumer, under_way)
                    under_way = None
                if lot is not None:
                    under_way = _UnderWay(lot, self._ends(turns), self._send(lot))
        finally:
            consumer.close(autocommit=False)

    # -- which feeds, and from where ------------------------------------------------------------

    def _feeds(self) -> dict[TopicPartition, str] | None:
        """Partitions of every feed that there is now, with their topic's id; None: nobody answers."""
        try:
            if self._admin is None:
                self._admin = KafkaAdminClient(
                    **client_options(self._settings.kafka), reconnect_backoff_max_ms=1_000
                )
            return {
                TopicPartition(topic["name"], part["partition_index"]): str(topic["topic_id"])
                for topic in self._admin.describe_topics()
                if feed_platform(topic["name"]) is not None
                for part in topic["partitions"]
            }
        except (KafkaError, OSError, ValueError, AssertionError) as error:
            log.warning("feeds_unknown %s: %s", type(error).__name__, error)
            if self._admin is not None:
                admin, self._admin = self._admin, None
                admin.close()
            return None

    def _assign(self, consumer: FeedConsumer, there: dict[TopicPartition, str]) -> None:
        new = {tp for tp, topic_id in there.items() if self._ids.get(tp) != topic_id}
        self._next = {tp: at for tp, at in self._next.items() if tp in there and tp not in new}
        self._owed = {tp: at for tp, at in self._owed.items() if tp in self._next}
        consumer.assign(sorted(there))
        self._ids = there
        begins = consumer.beginning_offsets(sorted(new)) if new else {}
        for tp in sorted(new):
            self._next[tp] = self._start(consumer, tp, begins[tp])
        for tp, at in self._next.items():
            consumer.seek(tp, at)
        self._know(consumer, new)
        log.info("feeds_assigned partitions=%d new=%d", len(there), len(new))

    def _start(self, consumer: FeedConsumer, tp: TopicPartition, begin: int) -> int:
        """Where the group was in this very topic; else where the topic begins."""
        known = consumer.committed(tp, metadata=True)
        # Older versions noted no id.
        if known is None or known.offset < 0 or known.metadata not in ("", self._ids[tp]):
            return begin
        return int(known.offset)

    def _know(self, consumer: FeedConsumer, new: set[TopicPartition]) -> None:
        """Which receipts there are, so that they can be shown to their platform."""
        ends = consumer.end_offsets(sorted(new)) if new else {}
        for tp, end in ends.items():
            for offset in range(0, end + 1, SEGMENT):
                self._receipt(tp, offset)

    def _receipt(self, tp: TopicPartition, offset: int) -> bytes:
        receipt = feed_receipt(tp.topic, self._ids[tp], tp.partition, offset)
        self._receipts[receipt.hex()] = feed_platform(tp.topic) or ""
        return receipt

    # -- what a lot is made of ------------------------------------------------------------------

    def _gather(self, consumer: FeedConsumer, waiting: deque[Turn], idle: bool) -> list[Turn]:
        """Turns that make a lot, cut to its size; what is left of one stays in `waiting`."""
        lot: list[Turn] = []
        count = size = 0
        while count < _LOT_ROWS and size < _LOT_BYTES:
            if not waiting:
                turn = consumer.turn(timeout_ms=500 if idle and not lot else 0)
                if turn is None:
                    break
                waiting.extend(pieces(self._whole(turn)))
            piece = waiting.popleft()
            lot.append(piece)
            count += sum(map(len, piece.rows))
            size += sum(int(np.maximum(rows.size, 0).sum()) for rows in piece.rows)
        return lot

    def _whole(self, turn: Turn) -> Turn:
        """The turn; where it begins later than the last one ended, also the offsets lost in between."""
        expected = self._next.get(turn.partition, turn.begin)
        self._next[turn.partition] = turn.end
        if turn.begin > expected:
            gone = Aside(expected, turn.begin - 1, "records_deleted", "by retention or by hand")
            log.error("feed_records_deleted %s/%d %d–%d", *turn.partition, gone.first, gone.last)
            turn.aside.insert(0, gone)
        return turn

    def _judge(self, turns: list[Turn]) -> _Lot:
        epoch = self._publisher.epoch
        assert epoch is not None
        lot = _Lot(epoch.epoch)
        if tracing.on():
            parents = [p for turn in turns for rows in turn.rows for p in rows.parents()]
            lot.work = tracing.work("process feeds", parents, "consumer", root=True)
        self._judge_into(lot, turns, epoch)
        at_ms = time.time_ns() // 1_000_000
        for turn in turns:
            if turn.aside:
                tp, platform = turn.partition, feed_platform(turn.partition.topic) or ""
                for aside in turn.aside:
                    self._receipt(tp, aside.first)
                    lot.refused[aside.code] = lot.refused.get(aside.code, 0) + 1
                lot.dead += (
                    Message(DEAD_LETTERS.name, value, platform.encode(), 0)
                    for value in feed_letters.records(
                        tp, self._ids[tp], platform, turn.aside, at_ms
                    )
                )
        return lot

    def _judge_into(self, lot: _Lot, turns: list[Turn], epoch: Epoch) -> None:
        """All of it as one chunk; what breaks the judge is found by halves and set aside alone."""
        try:
            requests = [request for turn in turns for request in self._requests(turn)]
            for request in requests:
                request.parents = request.parents or lot.work.parents
            if requests:
                now_ms = time.time_ns() // 1_000_000
                chunk = judge(requests, self._index, epoch.partitions, now_ms, epoch.slot_function)
                chunk.dead = list(chunk.dead)
                lot.chunks.append((chunk, requests))
        except Exception as error:
            if len(turns) > 1:
                for turn in turns:
                    self._judge_into(lot, [turn], epoch)
                return
            (turn,) = turns
            if sum(map(len, turn.rows)) > 1:
                for half in halves(turn.rows):
                    self._judge_into(lot, [replace(turn, rows=half)], epoch)
                return
            log.exception("feed_record_not_judged %s/%d", *turn.partition)
            self._set_aside(lot, turn, error)

    def _set_aside(self, lot: _Lot, turn: Turn, error: Exception) -> None:
        rows = next(rows for rows in turn.rows if len(rows))
        offset, start = int(rows.offset[0]), int(rows.start[0])
        raw = rows.data[start : start + max(int(rows.size[0]), 0)].tobytes()
        detail = f"not processed: {type(error).__name__}"
        turn.aside.append(Aside(offset, offset, "batch_undecodable", detail, raw, len(raw)))

    def _requests(self, turn: Turn) -> Iterator[Request]:
        platform = feed_platform(turn.partition.topic)
        assert platform is not None
        for rows in by_segment(joined(turn.rows)):
            yield Request(
                receipt=self._receipt(turn.partition, int(rows.offset[0])),
                sender=platform,
                format="kafka",
                columns=json_rows.read(
                    rows.data, rows.start, rows.start + np.maximum(rows.size, 0)
                ),
                row=(rows.offset % SEGMENT).astype(np.uint32),
                parents=tuple(dict.fromkeys(rows.parents()))[: traces.TRACES_MOST],
            )

    # -- durable, then committed ----------------------------------------------------------------

    def _ends(self, turns: list[Turn]) -> dict[TopicPartition, OffsetAndMetadata]:
        return {
            turn.partition: OffsetAndMetadata(turn.end, self._ids[turn.partition], -1)
            for turn in turns
        }

    def _send(self, lot: _Lot) -> Future[None]:
        records = [
            message
            for chunk, requests in lot.chunks
            for message in messages(chunk, lot.epoch, requests, lot.work)
        ]
        return asyncio.run_coroutine_threadsafe(
            self._publisher.send(records + lot.dead), self._loop
        )

    def _settle(self, consumer: FeedConsumer, under_way: _UnderWay) -> None:
        """Returns when Kafka has it all; what is unavailable is tried again, for ever."""
        lot, sent = under_way.lot, under_way.sent
        while True:
            try:
                sent.result()
                break
            except NotDurable as error:
                log.warning("feeds_wait %s", error)
                if self._ending.wait(_RETRY_SECONDS):
                    return
                epoch = self._publisher.epoch
                if epoch is None or epoch.epoch != lot.epoch:
                    raise ValueError("the log was re-created meanwhile") from error
                sent = self._send(lot)
        lot.work.end()
        for chunk, _ in lot.chunks:
            for outcome in chunk.outcomes:
                count_entries("kafka", "kafka", outcome)
            count_refused("kafka", chunk.refused)
        count_refused("kafka", lot.refused)
        self._commit(consumer, under_way.ends)

    def _commit(
        self, consumer: FeedConsumer, ends: dict[TopicPartition, OffsetAndMetadata]
    ) -> None:
        """What one feed's commit fails at (its topic is gone) is no other's: each is tried alone then."""
        self._owed |= ends
        try:
            consumer.commit(self._owed, timeout_ms=10_000)
            self._owed.clear()
        except KafkaError as error:
            if len(self._owed) == 1:
                log.warning("feed_not_committed %s", error)
                return
            for tp, end in list(self._owed.items()):
                try:
                    consumer.commit({tp: end}, timeout_ms=10_000)
                    del self._owed[tp]
                except KafkaError as alone:
                    log.warning("feed_not_committed %s/%d: %s", *tp, alone)


@dataclass
class _Lot:
    """What some turns have become."""

    epoch: int
    chunks: list[tuple[Chunk, list[Request]]] = field(default_factory=list)
    dead: list[Message] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    work: tracing.Work = tracing.NOTHING


@dataclass(frozen=True)
class _UnderWay:
    lot: _Lot
    ends: dict[TopicPartition, OffsetAndMetadata]
    sent: Future[None]
