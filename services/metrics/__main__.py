"""`python -m services.metrics`: waits for the broker, then works until it is told to stop."""

from __future__ import annotations

import logging
from typing import NoReturn

from services.metrics.worker import Worker
from yumai.broker import epochs
from yumai.broker.waiting import until_there, waiting_health
from yumai.process.faust_app import run_worker
from yumai.process.settings import start

log = logging.getLogger("yumai.metrics")


def main() -> NoReturn:
    settings = start("metrics", "kafka")
    with waiting_health(settings.host, settings.port):
        epoch = until_there(lambda: epochs.current(settings.kafka), log)
    run_worker("metrics", settings.worker, Worker(settings, epoch))


if __name__ == "__main__":
    main()
