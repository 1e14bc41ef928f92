"""`python -m services.alerts`: waits for the broker, then judges until it is told to stop."""

from __future__ import annotations

import logging
from typing import NoReturn

from kafka import KafkaConsumer

from services.alerts.worker import Worker
from yumai.broker.security import Bootstrap, client_options
from yumai.broker.waiting import NotYet, until_there, waiting_health
from yumai.journal.fold import TOPICS
from yumai.process.faust_app import run_worker
from yumai.process.settings import start
from yumai.topics import COMMITS

log = logging.getLogger("yumai.alerts")

NEEDED = {COMMITS.name, *(topic.name for topic in TOPICS)}


def topics_are_there(bootstrap: Bootstrap) -> None:
    """They come from the set-up step; a worker that starts before them would make its own.

    Raises NotYet, KafkaError, or OSError.
    """
    consumer = KafkaConsumer(**client_options(bootstrap), client_id="yumai-alerts-start")
    try:
        missing = NEEDED - set(consumer.topics())
    finally:
        consumer.close()
    if missing:
        raise NotYet(f"topics {sorted(missing)} are not there yet")


def main() -> NoReturn:
    settings = start("alerts", "kafka", "httpx", "httpcore")
    with waiting_health(settings.host, settings.port):
        until_there(lambda: topics_are_there(settings.kafka), log)
    settings.work_dir.mkdir(parents=True, exist_ok=True)
    run_worker("alerts", settings.worker, Worker(settings))


if __name__ == "__main__":
    main()
