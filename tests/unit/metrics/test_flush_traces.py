"""A round's traces: by partition, and without any effect on what the round is."""

from services.metrics.decoding import EntriesRecord
from services.metrics.pump import _work
from yumai.observability import tracing


def record(part: int, offset: int, *numbers: int) -> EntriesRecord:
    parents = [f"00-{n:032x}-{n:016x}-01".encode() for n in numbers]
    headers = {"traceparent": parents[0], "tracelinks": b",".join(parents[1:])} if parents else {}
    return EntriesRecord(part, offset, 0, headers, None)


def test_a_partition_has_the_traces_of_its_own_records() -> None:
    work, of_part = _work({0: [record(0, 1, 1, 2), record(0, 2, 3)], 1: [record(1, 7)]})
    assert of_part == {0: frozenset(f"{n:032x}" for n in (1, 2, 3)), 1: frozenset()}
    assert work is tracing.NOTHING
