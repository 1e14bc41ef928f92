"""`python -m services.metrics`: waits for the broker, then works until it is told to stop."""

from __future__ import annotations

import logging
import sys
import time

import faust
from kafka.errors import KafkaError

from services.metrics.worker import Worker
from yumai import settings as settings_module
from yumai.broker import epochs

log = logging.getLogger("yumai.metrics")


def main() -> int:
    try:
        settings = settings_module.read()
    except settings_module.BadSettings as error:
        print(error, file=sys.stderr)
        return 2
    if "--check" in sys.argv:
        for name, value in settings.masked().items():
            print(f"{name} = {value}")
        return 0
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
    logging.getLogger("kafka").setLevel(logging.ERROR)
    waited = False
    while True:
        try:
            epoch = epochs.current(settings.kafka_bootstrap)
            break
        except (KafkaError, epochs.NoEpoch, OSError) as error:
            if not waited:
                log.warning("waiting for Kafka: %s", error)
            waited = True
            time.sleep(0.5)
    worker = Worker(settings, epoch)
    faust.Worker(worker.app, loglevel="INFO", redirect_stdouts=False).execute_from_commandline()
    return 0


if __name__ == "__main__":
    sys.exit(main())
