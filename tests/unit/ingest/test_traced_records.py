"""Which records carry which request's trace, and that rows do not depend on it."""

import time

from contracts import traces
from contracts.entries import codec
from services.ingest import formats
from services.ingest.classify import MerchantIndex
from services.ingest.judging import Request, judge
from services.ingest.rounds import messages
from yumai.observability import tracing


def request(number: int, rows: int, traced: bool = True) -> Request:
    now = int(time.time() * 1000)
    body = "\n".join(
        f'{{"entry_id":"{number}-{n}","platform_id":"p1","merchant_id":"m","occurred_at":{now},'
        f'"kind":"sale","amount_fen":{n + 1}}}'
        for n in range(rows)
    )
    columns = formats.read("ndjson", body.encode()).columns
    assert columns is not None
    parents = (f"00-{number:032x}-{number:016x}-01",) if traced else ()
    return Request(number.to_bytes(16), "p1", "ndjson", columns, parents=parents)


def test_a_record_names_the_requests_with_rows_in_it_and_no_other() -> None:
    requests = [request(1, 1), request(2, 200), request(3, 1), request(4, 1, traced=False)]
    chunk = judge(requests, MerchantIndex(), 4, int(time.time() * 1000))
    made = messages(chunk, 1, requests, tracing.NOTHING)
    assert len(made) == len(chunk.entries) == 4
    for message, record in zip(made, chunk.entries, strict=True):
        within = set(codec.decode(record.value).column(2).to_pylist())
        named = {int(traces.trace_id(parent), 16).to_bytes(16) for parent in message.parents}
        assert named == within - {(4).to_bytes(16)}


def test_a_trace_changes_no_row_of_the_log() -> None:
    values = []
    for traced in (False, True):
        requests = [request(n, 50, traced) for n in (1, 2)]
        chunk = judge(requests, MerchantIndex(), 4, int(time.time() * 1000))
        values.append(
            [codec.decode(r.value).drop_columns(["occurred_at", "content"]) for r in chunk.entries]
        )
    assert values[0] == values[1]
