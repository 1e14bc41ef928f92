"""Topics, tables and epochs: `python -m console.prepare`, run by `up` until it ends with 0, and again whenever the
broker or the store has been started anew, since either may have come back with an empty directory.

A process of its own, so that a call that hangs neither holds up the supervisor nor outlives it.
"""

import sys
import time

from console import probes
from yumai import settings
from yumai.broker.security import Bootstrap
from yumai.store.address import Dsn


def wait_for_engines(bootstrap: Bootstrap, dsn: str) -> None:
    """Returns when both answer. Without a limit: who waits for whom is the supervisor's business."""
    store = Dsn.parse(dsn)
    ping = f"{'https' if store.secure else 'http'}://{store.host}:{store.port}/ping"
    while not (probes.broker(str(bootstrap)).healthy and probes.get(ping).healthy):
        time.sleep(0.05)


def prepare(bootstrap: Bootstrap, dsn: str) -> None:
    """Safe to run at any time and twice."""
    # Imported while the engines start: these take as long to import as the broker to come up.
    from services.maintenance.set_up import set_up

    wait_for_engines(bootstrap, dsn)
    print(set_up(bootstrap, dsn, make_topics=True), flush=True)


if __name__ == "__main__":
    mine = settings.read()
    try:
        prepare(mine.kafka, mine.clickhouse_dsn)
    except Exception as error:
        print(f"prepare: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        raise
