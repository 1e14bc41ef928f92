"""What alerts tells Prometheus beside Faust's own; no label is a district."""

from prometheus_client import Counter, Gauge, Histogram

STEPS = Counter("yumai_alerts_steps", "Steps told on alerts.v1, by kind", ["kind"])
ROUND_SECONDS = Histogram("yumai_alerts_round_seconds", "One round of judging, store included")
ATTEMPTS = Counter(
    "yumai_alerts_delivery_attempts",
    "Attempts to deliver, by what came of it",
    ["channel", "state"],
)
GIVEN_UP = Counter("yumai_alerts_deliveries_given_up", "Messages given up: somebody was not told")
WAITING = Gauge("yumai_alerts_deliveries_waiting", "Messages that wait, held ones too")
