"""The same sums by the book: a Faust app, an agent that takes one event after the other, and a table.

Without what Yumai does beyond: no deduplication, no ledger, no receipts, no audit, and its table is
approximate after a crash. `python -m bench.faust_per_event BOOTSTRAP CERTIFICATES TOPIC PORT DATADIR`.
"""

import sys
from pathlib import Path

import faust

from bench.rows import MCCS, SECTOR_OF
from embedded import certificates

SIGNS = {"sale": 1, "refund": -1, "sale_reversal": -1, "refund_reversal": 1}
DISTRICT_NOW = {"500105": "500157", "500112": "500157"}
SECTOR_OF_MCC = dict(zip(MCCS, SECTOR_OF, strict=True))


class Entry(faust.Record, serializer="json"):  # type: ignore[call-arg]
    entry_id: str
    platform_id: str
    merchant_id: str
    occurred_at: str
    kind: str
    amount_fen: int
    district_code: str
    mcc: str
    channel: str


def build(bootstrap: str, tls: Path, topic: str, port: int, data_dir: str) -> faust.App:
    app = faust.App(
        "bench-per-event",
        broker=f"kafka://{bootstrap}",
        broker_credentials=faust.SSLCredentials(certificates.context(tls)),
        store="memory://",
        datadir=data_dir,
        web_bind="127.0.0.1",
        web_host="127.0.0.1",
        web_port=port,
        topic_partitions=4,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
    )
    events = app.topic(topic, value_type=Entry)
    sums = app.Table("sums", default=int, partitions=4)
    counted = 0

    @app.agent(events)
    async def count(entries):  # type: ignore[no-untyped-def]
        nonlocal counted
        async for entry in entries:
            district = DISTRICT_NOW.get(entry.district_code, entry.district_code)
            sector = SECTOR_OF_MCC.get(entry.mcc, "U00")
            sums[f"{district}/{sector}"] += SIGNS[entry.kind] * entry.amount_fen
            counted += 1

    @app.page("/counted/")
    async def how_many(web, request):  # type: ignore[no-untyped-def]
        return web.json({"counted": counted})

    @app.page("/sums/")
    async def all_sums(web, request):  # type: ignore[no-untyped-def]
        return web.json(dict(sums.items()))

    return app


if __name__ == "__main__":
    bootstrap, tls, topic, port, data_dir = sys.argv[1:]
    app = build(bootstrap, Path(tls), topic, int(port), data_dir)
    sys.argv[1:] = []
    faust.Worker(app, loglevel="warning", redirect_stdouts=False).execute_from_commandline()
