"""What the gateway tells Prometheus; labels are paths and states, never a code or a person."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "yumai_gateway_requests", "Requests answered, by path and status", ["path", "status"]
)
SECONDS = Histogram("yumai_gateway_request_seconds", "Until an answer begins", ["path"])
SUBSCRIBERS = Gauge("yumai_gateway_subscribers", "Open streams")
DROPPED = Counter(
    "yumai_gateway_subscribers_dropped", "Streams ended because their reader was too slow"
)
COMMITS = Counter("yumai_gateway_commits", "Records of commits.v1 followed")
FRESHNESS_LAG = Gauge(
    "yumai_gateway_freshness_lag_seconds",
    "How long ago the last record was appended that is surely booked",
)
