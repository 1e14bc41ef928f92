"""Every metric of Yumai, named once: unit, one sentence, bounded labels. This file is their documentation, and
long because it is one list.

At `/metrics` of every service, and by OTLP under the same names (`otlp.py`). Names follow Prometheus:
counters end in `_total`, seconds and bytes are base units. No label is ever a platform, a merchant, a
district or a person. A value outside a label's list is counted as `other`.

What is true of the whole system and of no single process (lag, parts, stopped partitions, the last
audit) is exported by the gateway, so that it is known while there is no metrics worker at all; each
of its replicas says the same, or NaN while it does not know: read it with `max by`. Why the gateway: docs/decisions/0008.
"""

from __future__ import annotations

from typing import Literal, get_args

from contracts.alerts import codec as alerts
from contracts.alerts import outbox
from contracts.reasons import REASONS
from yumai import topics
from yumai.entry import SLOTS
from yumai.observability.instruments import OTHER, Counter, Gauge, Histogram, Metric, Numbers

SERVICES = ("ingest", "metrics", "alerts", "gateway", "canary")

# -- labels -----------------------------------------------------------------------------------------

DOORS = ("http", "kafka")
FORMATS = ("json", "ndjson", "csv", "arrow", "parquet", "kafka")
CANARY_DOORS = (*(f for f in FORMATS if f != "kafka"), "file", "kafka")
"""The HTTP door by format, a file as `yumai send` sends it (packed CSV), and the feed's topic."""
METHODS = ("GET", "POST", "PUT", "PATCH", OTHER)
STATUSES = (
    *("200", "201", "202", "204", "206", "303", "304", "307"),
    *("400", "401", "403", "404", "405", "409", "410", "411", "412", "413", "415", "416", "422"),
    *("429", "499", "500", "503", OTHER),
)
"""499: the caller went away before an answer."""
OUTSIDE = "none"
"""The path of a request that reached no route: turned away at the door, or no such path."""
PROBES = ("/health/live", "/health/ready", "/metrics")
DOCUMENT = ("/openapi.json", "/docs", "/docs/start.js", "/docs/assets")
INGEST_PATHS = (
    "/v1/entries",
    "/v1/receipts",
    "/v1/receipts/{receipt_id}",
    "/v1/receipts/{receipt_id}/rows",
    "/v1/control-totals",
    "/v1/merchants",
    *PROBES,
    *DOCUMENT,
    OUTSIDE,
    OTHER,
)
GATEWAY_PATHS = (
    "/v1/cells",
    "/v1/alerts",
    "/v1/alerts/{id}",
    "/v1/alerts/{id}/acknowledge",
    "/v1/alerts/{id}/explain",
    "/v1/alerts/{id}/silence",
    "/v1/work-items",
    "/v1/work-items/{id}",
    "/v1/subscriptions",
    "/v1/subscriptions/{id}/test",
    "/v1/deliveries",
    "/v1/overview",
    "/v1/districts",
    "/v1/sectors",
    "/v1/map",
    "/v1/targets",
    "/v1/progress",
    "/v1/feeds",
    "/v1/stream",
    "/",
    "/pages",
    *PROBES,
    *DOCUMENT,
    OUTSIDE,
    OTHER,
)
ROW_CODES = (*(code for code, reason in REASONS.items() if reason.status == 200), OTHER)
WRITTEN_TOPICS = (
    topics.ENTRIES.name,
    topics.RECEIPTS.name,
    topics.DEAD_LETTERS.name,
    topics.MERCHANTS.name,
    OTHER,
)
VERDICTS = ("booked", "duplicate", "conflict")
FLUSH_STEPS = ("ledger", "cells", "receipts", "dead_letters", "blocks", "announce")
PARTITIONS = Numbers(SLOTS)
"""There can't be more partitions than slots."""
PARTITION_STATES = ("placed", "placing", "stopped")
BUDGETS = ("requests", "bytes", "queries", "streams", "tests")
"""What a sender or reader may have only so much of at once."""
CANARY_FAULTS = ("refused", "unanswered", "late", "wrong", OTHER)
TABLES = (
    *("entries", "cells", "blocks", "progress", "receipt_bookings", "verdicts", "receipts"),
    *("dead_letters", "projections", "epochs", "deliveries", OTHER),
)
"""Tables of the store that grow."""

# -- buckets, in seconds ------------------------------------------------------------------------------

DOOR_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FLUSH_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
FRESH_BUCKETS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)

# -- ingest -------------------------------------------------------------------------------------------

_INGEST, _METRICS, _ALERTS, _GATEWAY = ("ingest",), ("metrics",), ("alerts",), ("gateway",)

INGEST_REQUESTS = Counter(
    "yumai_ingest_requests_total",
    "{request}",
    "Requests answered by ingest, by method, path and status.",
    _INGEST,
    {"method": METHODS, "path": INGEST_PATHS, "status": STATUSES},
)
INGEST_REQUEST_SECONDS = Histogram(
    "yumai_ingest_request_seconds",
    "s",
    "From a request's arrival at ingest until its answer begins.",
    _INGEST,
    {"method": METHODS, "path": INGEST_PATHS},
    buckets=DOOR_BUCKETS,
)
INGEST_ENTRIES = Counter(
    "yumai_ingest_entries_total",
    "{entry}",
    "Rows judged and durable, by door, format and result.",
    _INGEST,
    {"door": DOORS, "format": FORMATS, "result": ("accepted", "rejected")},
)
INGEST_REJECTS = Counter(
    "yumai_ingest_rejects_total",
    "{entry}",
    "Rows refused, by door and reason (contracts/reasons.py); each is a dead letter.",
    _INGEST,
    {"door": DOORS, "code": ROW_CODES},
)
INGEST_ROUNDS = Counter(
    "yumai_ingest_rounds_total", "{round}", "Group commits written by the HTTP door.", _INGEST
)
INGEST_ROUND_SECONDS = Histogram(
    "yumai_ingest_round_seconds",
    "s",
    "A group commit, from its first row judged to Kafka's acknowledgement.",
    _INGEST,
    buckets=DOOR_BUCKETS,
)
INGEST_RECORDS = Counter(
    "yumai_ingest_records_total",
    "{record}",
    "Records that Kafka acknowledged to ingest, by topic.",
    _INGEST,
    {"topic": WRITTEN_TOPICS},
)
INGEST_PRODUCER_LOST = Counter(
    "yumai_ingest_producer_lost_total",
    "{producer}",
    "Producers that failed and were replaced.",
    _INGEST,
)
INGEST_MERCHANTS = Gauge(
    "yumai_ingest_merchants", "{merchant}", "Merchants in the registry.", _INGEST
)
INGEST_MAP_VERSION = Gauge(
    "yumai_ingest_map_version", "{record}", "End offset of merchants.v1 as applied.", _INGEST
)
INGEST_HELD_BYTES = Gauge(
    "yumai_ingest_held_bytes", "By", "Bytes of request bodies that ingest holds in memory.", _INGEST
)
INGEST_DECODERS_REPLACED = Counter(
    "yumai_ingest_decoders_replaced_total",
    "{process}",
    "Decoder processes of Arrow and Parquet that were replaced: a body killed one, or took too much time or memory.",
    _INGEST,
    {"reason": ("died", "time", "memory", "cancelled")},
)

# -- metrics ------------------------------------------------------------------------------------------

METRICS_RECORDS = Counter(
    "yumai_metrics_records_total", "{record}", "Records of entries.v1 booked.", _METRICS
)
METRICS_ENTRIES = Counter(
    "yumai_metrics_entries_total",
    "{entry}",
    "Entries sorted and written, by verdict: booked, duplicate or conflict.",
    _METRICS,
    {"verdict": VERDICTS},
)
METRICS_DEAD_LETTERS = Counter(
    "yumai_metrics_dead_letters_total",
    "{entry}",
    "Dead letters written by metrics: conflicts, and records of entries.v1 that are not ours.",
    _METRICS,
    {"code": ("conflict", "foreign_record")},
)
STRAY_RECORDS = Counter(
    "yumai_stray_records_total",
    "{record}",
    "Records of a topic that a reader could not read and passed over; its log names them.",
    ("ingest", "metrics", "alerts", "gateway"),
    {"topic": tuple(topic.name for topic in topics.TOPICS if topic is not topics.ENTRIES)},
)
METRICS_SORT_SECONDS = Histogram(
    "yumai_metrics_sort_seconds",
    "s",
    "A round decoded, sorted into verdicts and booked in memory.",
    _METRICS,
    buckets=FLUSH_BUCKETS,
)
METRICS_FLUSH_SECONDS = Histogram(
    "yumai_metrics_flush_seconds",
    "s",
    "A flush, from the ledger's insert to the last announcement; waiting for the world included.",
    _METRICS,
    buckets=FLUSH_BUCKETS,
)
METRICS_FLUSH_STEP_SECONDS = Histogram(
    "yumai_metrics_flush_step_seconds",
    "s",
    "One step of a flush.",
    _METRICS,
    {"step": FLUSH_STEPS},
    buckets=FLUSH_BUCKETS,
)
METRICS_FRESHNESS_SECONDS = Histogram(
    "yumai_metrics_freshness_seconds",
    "s",
    "From the broker's append of the oldest record of a flush until it is queryable and announced.",
    _METRICS,
    buckets=FRESH_BUCKETS,
)
METRICS_SEEN_BYTES = Gauge(
    "yumai_metrics_seen_bytes", "By", "Memory that holds which ids are booked (Seen).", _METRICS
)
METRICS_PARTITIONS = Gauge(
    "yumai_metrics_partitions",
    "{partition}",
    "Partitions of this worker: placed, being placed, or stopped.",
    _METRICS,
    {"state": PARTITION_STATES},
)
METRICS_RETRIES = Counter(
    "yumai_metrics_retries_total",
    "{attempt}",
    "Attempts of a flush that failed because the store or Kafka was away.",
    _METRICS,
    {"whom": ("store", "kafka")},
)

# -- the whole system, told by the gateway ------------------------------------------------------------

METRICS_LAG_RECORDS = Gauge(
    "yumai_metrics_lag_records",
    "{record}",
    "Records of a partition of entries.v1 not announced yet: its end minus the announced position.",
    _GATEWAY,
    {"partition": PARTITIONS},
)
METRICS_LAG_SECONDS = Gauge(
    "yumai_metrics_lag_seconds",
    "s",
    "Age of the oldest record of a partition that is not announced yet; 0 when there is none.",
    _GATEWAY,
    {"partition": PARTITIONS},
)
METRICS_PARTITIONS_STOPPED = Gauge(
    "yumai_metrics_partitions_stopped",
    "{partition}",
    "Partitions that stand still until somebody acts; `yumai status` says what to do.",
    _GATEWAY,
)
FEEDS_LAG_RECORDS = Gauge(
    "yumai_feeds_lag_records",
    "{record}",
    "Records in the platforms' feed topics that ingest has not taken over yet, all feeds together.",
    _GATEWAY,
)
FEEDS_STANDING_SECONDS = Gauge(
    "yumai_feeds_standing_seconds",
    "s",
    "For how long the worst of the feeds has had records waiting and none of them taken over; 0 when all move.",
    _GATEWAY,
)
STORE_PARTS = Gauge(
    "yumai_store_parts",
    "{part}",
    "Active parts of a table; the store refuses inserts when there are too many.",
    _GATEWAY,
    {"table": TABLES},
)
STORE_BYTES = Gauge(
    "yumai_store_bytes",
    "By",
    "Bytes on disk of a table's active parts.",
    _GATEWAY,
    {"table": TABLES},
)
AUDIT_TIMESTAMP = Gauge(
    "yumai_audit_last_run_timestamp_seconds",
    "s",
    "When the last audit ended, in seconds since 1970.",
    _GATEWAY,
)
AUDIT_DIFFERENCE_FEN = Gauge(
    "yumai_audit_difference_fen",
    "{fen}",
    "Fen by which ledger and cells differ, as the last audit found; anything but 0 is a loss.",
    _GATEWAY,
)
AUDIT_FINDINGS = Gauge(
    "yumai_audit_findings",
    "{finding}",
    "Cells and blocks that differ, ids booked twice, receipts overbooked, in the last audit.",
    _GATEWAY,
)
AUDIT_BLOCKS = Gauge(
    "yumai_audit_blocks", "{block}", "Blocks that the last audit recounted.", _GATEWAY
)
BACKUP_TIMESTAMP = Gauge(
    "yumai_backup_last_success_timestamp_seconds",
    "s",
    "When the last backup that proved readable ended, in seconds since 1970.",
    _GATEWAY,
)

# -- alerts -------------------------------------------------------------------------------------------

ALERTS_STEPS = Counter(
    "yumai_alerts_steps_total",
    "{step}",
    "Steps told on alerts.v1, by kind.",
    _ALERTS,
    {"kind": (*get_args(alerts.Kind), OTHER)},
)
ALERTS_ROUNDS = Counter(
    "yumai_alerts_rounds_total",
    "{round}",
    "Rounds of judging: judged, guarded (the figures may not be judged now), or failed.",
    _ALERTS,
    {"result": ("judged", "guarded", "failed")},
)
ALERTS_ROUND_SECONDS = Histogram(
    "yumai_alerts_round_seconds",
    "s",
    "One round of judging, store included.",
    _ALERTS,
    buckets=FLUSH_BUCKETS,
)
ALERTS_LIVE = Gauge(
    "yumai_alerts_live",
    "{alert}",
    "Alerts that somebody can act on, by level; only the worker that judges says it.",
    _ALERTS,
    {"level": (*get_args(alerts.Level), OTHER)},
)
ALERTS_FEEDS = Gauge(
    "yumai_alerts_feeds",
    "{platform}",
    "Platforms by the state of their feed, those that were ever anything but ok.",
    _ALERTS,
    {"state": (*get_args(outbox.FeedState), OTHER)},
)
SetAsideKind = Literal["action", "alert", "message", "work_item", "district"]
ALERTS_SET_ASIDE = Gauge(
    "yumai_alerts_set_aside",
    "{unit}",
    "What failed twice and is left alone: actions, alerts, messages, work items, districts.",
    _ALERTS,
    {"kind": get_args(SetAsideKind)},
)
ALERTS_ATTEMPTS = Counter(
    "yumai_alerts_delivery_attempts_total",
    "{attempt}",
    "Attempts to deliver a message, by channel and what came of it.",
    _ALERTS,
    {
        "channel": (*get_args(outbox.Channel), OTHER),
        "state": (*get_args(outbox.DeliveryState), OTHER),
    },
)
ALERTS_GIVEN_UP = Counter(
    "yumai_alerts_deliveries_given_up_total",
    "{message}",
    "Messages given up: somebody was not told.",
    _ALERTS,
)
ALERTS_WAITING = Gauge(
    "yumai_alerts_deliveries_waiting",
    "{message}",
    "Messages in the outbox that wait, held ones too.",
    _ALERTS,
)
ALERTS_OUTBOX_AGE = Gauge(
    "yumai_alerts_outbox_age_seconds",
    "s",
    "Age of the oldest message in the outbox that quiet hours do not hold; 0 when there is none.",
    _ALERTS,
)

# -- gateway ------------------------------------------------------------------------------------------

GATEWAY_REQUESTS = Counter(
    "yumai_gateway_requests_total",
    "{request}",
    "Requests answered by the gateway, by method, path and status.",
    _GATEWAY,
    {"method": METHODS, "path": GATEWAY_PATHS, "status": STATUSES},
)
GATEWAY_REQUEST_SECONDS = Histogram(
    "yumai_gateway_request_seconds",
    "s",
    "From a request's arrival at the gateway until its answer begins.",
    _GATEWAY,
    {"method": METHODS, "path": GATEWAY_PATHS},
    buckets=DOOR_BUCKETS,
)
GATEWAY_SUBSCRIBERS = Gauge(
    "yumai_gateway_subscribers", "{stream}", "Open streams of events.", _GATEWAY
)
GATEWAY_DROPPED = Counter(
    "yumai_gateway_subscribers_dropped_total",
    "{stream}",
    "Streams ended because their reader was too slow.",
    _GATEWAY,
)
GATEWAY_COMMITS = Counter(
    "yumai_gateway_commits_total", "{record}", "Records of commits.v1 followed.", _GATEWAY
)
GATEWAY_STREAM_SECONDS = Histogram(
    "yumai_gateway_stream_seconds",
    "s",
    "From the broker's append of a flush's oldest record until its events are handed to the streams.",
    _GATEWAY,
    buckets=FRESH_BUCKETS,
)
GATEWAY_FRESHNESS_LAG = Gauge(
    "yumai_gateway_freshness_lag_seconds",
    "s",
    "How long ago the last record was appended that is surely booked.",
    _GATEWAY,
)

# -- senders and readers at their worst (ingest and gateway) ---------------------------------------------

HTTP_OVER_BUDGET = Counter(
    "yumai_http_over_budget_total",
    "{request}",
    "Requests refused because a budget was used up: the sender's own (429), or that of all (503).",
    ("ingest", "gateway"),
    {"budget": BUDGETS, "whose": ("own", "all")},
)
HTTP_CONNECTIONS_ENDED = Counter(
    "yumai_http_connections_ended_total",
    "{connection}",
    "Connections ended: a head too large or too slow, a reader who takes nothing, no room for more.",
    ("ingest", "gateway"),
    {"reason": ("head", "slow_head", "slow_reader", "crowd")},
)

# -- the canary ---------------------------------------------------------------------------------------

CANARY_SENT = Counter(
    "yumai_canary_sent_total",
    "{entry}",
    "Synthetic entries sent through a door.",
    ("canary",),
    {"door": CANARY_DOORS},
)
CANARY_FAILURES = Counter(
    "yumai_canary_failures_total",
    "{entry}",
    "Synthetic entries that were refused, not answered, not in the API in time, or wrong there.",
    ("canary",),
    {"door": CANARY_DOORS, "fault": CANARY_FAULTS},
)
CANARY_SECONDS = Histogram(
    "yumai_canary_seconds",
    "s",
    "From sending a synthetic entry until the API shows it.",
    ("canary",),
    {"door": CANARY_DOORS},
    buckets=FRESH_BUCKETS,
)
CANARY_LAST_SUCCESS = Gauge(
    "yumai_canary_last_success_timestamp_seconds",
    "s",
    "When a synthetic entry was last seen in the API, in seconds since 1970.",
    ("canary",),
    {"door": CANARY_DOORS},
)

# -- telemetry about itself -----------------------------------------------------------------------------

TELEMETRY_DROPPED = Counter(
    "yumai_telemetry_dropped_total",
    "{item}",
    "Spans and metric points not delivered to the OTLP receiver: it was away or too slow.",
    SERVICES,
    {"signal": ("traces", "metrics")},
)

CATALOGUE: dict[str, Metric] = {
    metric.name: metric for metric in list(globals().values()) if isinstance(metric, Metric)
}
"""By name, in the order above."""


def of_service(service: str) -> list[Metric]:
    """What a service exports."""
    return [metric for metric in CATALOGUE.values() if service in metric.by]


def begin(service: str) -> None:
    """Makes the instruments of this process, so that they are there before anything happens."""
    for metric in of_service(service):
        metric.begin()
