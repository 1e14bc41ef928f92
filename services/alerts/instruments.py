"""What alerts tells Prometheus beside Faust's own; no label is a district."""

from prometheus_client import Counter, Histogram

STEPS = Counter("yumai_alerts_steps", "Steps told on alerts.v1, by kind", ["kind"])
ROUND_SECONDS = Histogram("yumai_alerts_round_seconds", "One round of judging, store included")
