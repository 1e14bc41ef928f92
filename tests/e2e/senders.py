"""Senders that keep what was acknowledged.

Only a 200 counts. On a broken connection or a 503 a sender sends the same body with the same
Idempotency-Key again, until it has its 200.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import httpx
import pyarrow as pa
import zstandard
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from simulation.formats import MEDIA_TYPES
from tests.e2e.harness import Yumai


@dataclass
class Sent:
    """One acknowledged request. `body` as it was before its encoding."""

    sender: str | None
    form: str
    body: bytes
    key: str | None
    encoding: str | None
    recorded_on: str | None
    answer: dict[str, Any]
    tries: int


@dataclass
class Put:
    """Rows that the registry took."""

    rows: list[dict[str, Any]]


def encoded(body: bytes, encoding: str | None) -> bytes:
    if encoding == "gzip":
        return gzip.compress(body, 1)
    return zstandard.compress(body) if encoding == "zstd" else body


def decoded(body: bytes, encoding: str | None) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    return zstandard.ZstdDecompressor().decompressobj().decompress(body) if encoding else body


class Client:
    """One sender, one request after the other: the order in which it is acknowledged is the log's."""

    def __init__(self, yumai: Yumai, sender: str | None, token: str) -> None:
        self.yumai, self.sender, self.token = yumai, sender, token
        self.done: list[Sent | Put] = []
        self.http = httpx.Client(timeout=httpx.Timeout(60.0, connect=2.0), trust_env=False)

    def send(
        self,
        form: str,
        body: bytes,
        key: str | None = None,
        *,
        encoding: str | None = None,
        recorded_on: str | None = None,
        deadline: float | None = None,
        remember: bool = True,
    ) -> Sent:
        """Until it is acknowledged. Every answer but 200 and 503 is a failure."""
        headers = {
            "Content-Type": MEDIA_TYPES[form],
            "Idempotency-Key": key or os.urandom(12).hex(),
        }
        if encoding:
            headers["Content-Encoding"] = encoding
        if recorded_on:
            headers["Recorded-On"] = recorded_on
        answer, tries = self._persist(
            "POST", "/v1/entries", encoded(body, encoding), headers, deadline
        )
        sent = Sent(
            self.sender, form, body, headers["Idempotency-Key"], encoding, recorded_on, answer, tries
        )  # fmt: skip
        if remember:
            self.done.append(sent)
        return sent

    def again(self, sent: Sent) -> dict[str, Any]:
        """The same request once more, in another encoding."""
        other = {None: "gzip", "gzip": "zstd", "zstd": None}[sent.encoding]
        headers = {"Content-Type": MEDIA_TYPES[sent.form], "Idempotency-Key": str(sent.key)}
        headers |= {"Content-Encoding": other} if other else {}
        headers |= {"Recorded-On": sent.recorded_on} if sent.recorded_on else {}
        return self._persist("POST", "/v1/entries", encoded(sent.body, other), headers, None)[0]

    def put_merchants(self, rows: list[dict[str, Any]]) -> None:
        body, headers = json.dumps(rows).encode(), {"Content-Type": "application/json"}
        headers["Authorization"] = f"Bearer {self.yumai.token()}"
        self._persist("PUT", "/v1/merchants", body, headers, None)
        self.done.append(Put(rows))

    def _persist(
        self, method: str, path: str, body: bytes, headers: dict[str, str], deadline: float | None
    ) -> tuple[dict[str, Any], int]:
        deadline = deadline or time.monotonic() + 180
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        tries = 0
        while True:
            tries += 1
            try:
                answer = self.http.request(
                    method, f"{self.yumai.ingest}{path}", content=body, headers=headers
                )
                if answer.status_code == 200:
                    return answer.json(), tries
                problem = f"{answer.status_code} {answer.text[:1000]}"
                assert answer.status_code == 503, f"{method} {path}: {problem}"
                assert answer.headers.get("Retry-After"), "503 without Retry-After"
            except httpx.TransportError as error:
                problem = repr(error)
            assert time.monotonic() < deadline, f"{method} {path}: never acknowledged: {problem}"
            time.sleep(0.3)


class Feed:
    """The Kafka door of one platform. What is in the feed topic counts, however often it was sent."""

    def __init__(self, yumai: Yumai, platform: str) -> None:
        self.yumai, self.platform = yumai, platform
        self.topic = f"feed.{platform}.v1"
        self.acknowledged = 0

    def send(self, rows: Iterable[bytes], seconds: float = 180.0) -> None:
        """Rows of one entry_id to one partition, in order. Until the broker has acknowledged all."""
        waiting = [(_feed_key(row), row) for row in rows]
        deadline = time.monotonic() + seconds
        while waiting:
            assert time.monotonic() < deadline, f"{self.topic}: never acknowledged"
            producer = None
            try:
                # One in flight: what is sent again never overtakes.
                producer = KafkaProducer(
                    **self.yumai.feed_options(self.platform), acks="all", retries=0,
                    enable_idempotence=False, max_in_flight_requests_per_connection=1,
                    request_timeout_ms=8_000, delivery_timeout_ms=10_000, max_block_ms=5_000,
                    linger_ms=5,
                )  # fmt: skip
                acks = [producer.send(self.topic, row, key=key) for key, row in waiting]
                producer.flush(timeout=15)
                failed = []
                for item, ack in zip(waiting, acks, strict=True):
                    try:
                        ack.get(timeout=15)
                        self.acknowledged += 1
                    except Exception:
                        failed.append(item)
                waiting = failed
            except Exception:
                time.sleep(0.5)
            finally:
                if producer is not None:
                    producer.close(timeout=1)

    def records(self) -> list[bytes]:
        """All that stands in the topic, partition by partition."""
        consumer = KafkaConsumer(**self.yumai.kafka(), auto_offset_reset="earliest")
        try:
            parts = [TopicPartition(self.topic, n) for n in (0, 1)]
            consumer.assign(parts)
            consumer.seek_to_beginning(*parts)
            ends = consumer.end_offsets(parts)
            found: dict[TopicPartition, list[bytes]] = {part: [] for part in parts}
            deadline = time.monotonic() + 60
            while any(consumer.position(part) < ends[part] for part in parts):
                assert time.monotonic() < deadline
                for part, records in consumer.poll(timeout_ms=500).items():
                    found[part] += [record.value or b"" for record in records]
            return [value for part in parts for value in found[part]]
        finally:
            consumer.close()


def _feed_key(row: bytes) -> bytes:
    try:
        value = json.loads(row)
        return str(value["entry_id"]).encode()
    except (ValueError, TypeError, KeyError, RecursionError):
        return hashlib.sha256(row).digest()


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def renamed(batch: pa.RecordBatch, suffix: str) -> pa.RecordBatch:
    """The same entries of platforms of another name."""
    names = batch.column("platform_id").to_pylist()
    at = batch.schema.get_field_index("platform_id")
    return batch.set_column(at, "platform_id", pa.array([name + suffix for name in names]))


def pieces(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    table = pa.Table.from_batches([batch])
    for start in range(0, len(batch), rows):
        yield table.slice(start, rows).combine_chunks().to_batches()[0]
