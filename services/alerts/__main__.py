"""`python -m services.alerts`: waits for the broker, then judges until it is told to stop."""

from __future__ import annotations

import logging
import os
import sys
import time

from kafka import KafkaConsumer
from kafka.errors import KafkaError

from services.alerts.journal import FOLLOWED
from services.alerts.worker import Worker
from yumai import exporting
from yumai.broker.faust_app import run_worker
from yumai.broker.security import Bootstrap, client_options
from yumai.broker.topics import COMMITS
from yumai.broker.waiting import waiting_health
from yumai.settings import start

log = logging.getLogger("yumai.alerts")

NEEDED = {COMMITS.name, *(topic.name for topic in FOLLOWED)}


def wait_for_topics(bootstrap: Bootstrap) -> None:
    """Topics come from the set-up step; a worker that starts before them would make its own."""
    waited = False
    while True:
        try:
            consumer = KafkaConsumer(**client_options(bootstrap), client_id="yumai-alerts-start")
            try:
                missing = NEEDED - set(consumer.topics())
            finally:
                consumer.close()
            if not missing:
                return
            why = f"topics {sorted(missing)} are not there yet"
        except (KafkaError, OSError) as error:
            why = str(error)
        if not waited:
            log.warning("waiting for Kafka: %s", why)
        waited = True
        time.sleep(0.5)


def main() -> int:
    settings = start("alerts", "kafka", "httpx", "httpcore")
    with waiting_health(settings.host, settings.port):
        wait_for_topics(settings.kafka)
    settings.work_dir.mkdir(parents=True, exist_ok=True)
    worker = Worker(settings)
    exporting.begin("alerts", settings.worker or "alerts")
    try:
        code = run_worker(worker.app, lambda: worker.stopping)
    finally:
        exporting.stop()
    # A round of judging that still waits for a store that is away must not hold the end up.
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
