"""Sums of more than 63 bits, in the real engine: kept to the fen, recounted, read by the API's own queries."""

from datetime import UTC, datetime, time
from typing import Any

import numpy as np
import pytest

from services.metrics import flush, tables
from services.metrics.ledger import LedgerBuffer
from tests.unit.metrics.test_edges import BATCH_MAX_ENTRIES, T0, columns, record, worker
from yumai.entry import AMOUNT_MAX_FEN
from yumai.evaluation import books, feeds
from yumai.evaluation.books import Books
from yumai.store.audit import audit
from yumai.store.client import connect
from yumai.store.figures import NET, Query
from yumai.store.migrate import migrate

RECORDS = 230


def _parts(query: Query) -> tuple[str, dict[str, Any]]:
    return query.sql, query.parameters


@pytest.mark.slow
def test_a_block_of_the_largest_amounts_is_kept_and_recounted(store: str, unique: str) -> None:
    dsn = f"{store}/{unique}"
    migrate(dsn)
    client = connect(dsn)
    made = worker()
    full = columns(BATCH_MAX_ENTRIES, amount_fen=np.full(BATCH_MAX_ENTRIES, AMOUNT_MAX_FEN))
    log = [
        record(n, full | {"ids": columns(BATCH_MAX_ENTRIES, n * BATCH_MAX_ENTRIES)["ids"]})
        for n in range(RECORDS)
    ]
    writer = flush.Flush(dsn, "", "metrics-1", lambda _: None)
    # The first flush holds sums that fit Int64, the second ones that do not.
    for share in (log[:100], log[100:]):
        round_ = made.process({0: share}, LedgerBuffer(64))
        writer._insert("entries", round_.ledger.batch(round_.platforms))
        writer._insert("cells", tables.cells_batch(round_))
        writer._insert("blocks", tables.blocks_batch(round_, T0))
    total = RECORDS * BATCH_MAX_ENTRIES * AMOUNT_MAX_FEN
    assert total > 2**63
    ((net,),) = client.query(f"SELECT sum({NET}) FROM cells FINAL").result_rows
    ((announced,),) = client.query("SELECT sum(net_fen) FROM blocks FINAL").result_rows
    ((signed,),) = client.query("SELECT sum(net_fen) FROM control_totals").result_rows
    assert (int(net), int(announced), int(signed)) == (total, total, total)
    ((platform, day),) = client.query(
        "SELECT any(toString(platform)), any(toDate(period)) FROM cells"
    ).result_rows
    years = books.read(client, Books().refresh(day.year))
    assert int(years[day.year].fen.sum()) == total
    rows = client.query(*_parts(feeds.days_query(datetime.combine(day, time(12), UTC)))).result_rows
    assert {(row[0], sum(int(r[5]) for r in rows)) for row in rows} == {(platform, total)}
    report = audit(client)
    assert (report.ok, report.net_fen) == (True, total)
    writer.close()
