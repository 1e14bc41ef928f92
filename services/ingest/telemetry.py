"""Every figure that ingest tells about itself, named once; the sentence is its documentation."""

from __future__ import annotations

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

ENTRIES = Counter("yumai_ingest_entries", "Rows judged", ["door", "format", "result"])
REQUESTS = Counter("yumai_ingest_requests", "Answers to POST /v1/entries", ["format", "status"])
ROUNDS = Counter("yumai_ingest_rounds", "Group commits written")
ROUND_SECONDS = Histogram(
    "yumai_ingest_round_seconds",
    "A group commit, from its first row judged to Kafka's acknowledgement",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RECORDS = Counter("yumai_ingest_records", "Records acknowledged by Kafka", ["topic"])
PRODUCER_LOST = Counter("yumai_ingest_producer_lost", "Producers given up and made anew")
MERCHANTS = Gauge("yumai_ingest_merchants", "Merchants in the registry")
MAP_VERSION = Gauge("yumai_ingest_map_version", "End offset of merchants.v1 as applied")
BYTES_HELD = Gauge("yumai_ingest_bytes_held", "Bytes of request bodies in memory")

__all__ = ["REGISTRY"]
