"""`python -m services.metrics`: waits for the broker, then works until it is told to stop."""

from __future__ import annotations

import logging
import os
import sys
import time

from kafka.errors import KafkaError

from services.metrics.worker import Worker
from yumai import exporting
from yumai.broker import epochs
from yumai.broker.faust_app import run_worker
from yumai.broker.security import Bootstrap
from yumai.broker.waiting import waiting_health
from yumai.settings import start

log = logging.getLogger("yumai.metrics")


def wait_for_epoch(kafka: Bootstrap) -> epochs.Epoch:
    waited = False
    while True:
        try:
            return epochs.current(kafka)
        except (KafkaError, epochs.NoEpoch, OSError) as error:
            if not waited:
                log.warning("waiting for Kafka: %s", error)
            waited = True
            time.sleep(0.5)


def main() -> int:
    settings = start("metrics", "kafka")
    with waiting_health(settings.host, settings.port):
        epoch = wait_for_epoch(settings.kafka)
    worker = Worker(settings, epoch)
    exporting.begin("metrics", settings.worker or "metrics")
    try:
        code = run_worker(worker.app, lambda: worker.stopping)
    finally:
        exporting.stop()
    # Threads that still wait for a store or a broker that is away must not hold the end up.
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
