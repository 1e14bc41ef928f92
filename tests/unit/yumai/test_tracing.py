"""Work in several traces at once, and nothing at all while tracing is off."""

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from contracts.traces import TRACES_MOST, trace_id
from yumai.observability import tracing


def parent(trace: int, span: int = 1, sampled: int = 1) -> str:
    return f"00-{trace:032x}-{span:016x}-0{sampled}"


def test_off_there_is_no_span_and_the_sdk_is_not_even_imported() -> None:
    assert tracing.work("w", [parent(1)], root=True) is tracing.NOTHING
    assert tracing.NOTHING.step("s") is tracing.NOTHING
    assert not tracing.NOTHING
    assert tracing.NOTHING.parents == ()
    code = (
        "import sys; sys.argv = ['x']\n"
        "import services.ingest.app, services.gateway.app, services.metrics.worker\n"
        "import services.alerts.worker\n"
        "from yumai.observability import exporting; exporting.begin('ingest', 'i', {})\n"
        "ours = ('opentelemetry.sdk', 'opentelemetry.exporter')\n"
        "print([name for name in sys.modules if name.startswith(ours)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_merged_work_has_a_span_in_each_trace_child_of_its_first_linked_to_the_others(
    spans: InMemorySpanExporter,
) -> None:
    given = [parent(1, 11), parent(2, 21), parent(1, 12), parent(3, 31, sampled=0)]
    with tracing.work("flush", given, "consumer") as work:
        assert {trace_id(one) for one in work.parents} == {f"{n:032x}" for n in (1, 2)}
        with work.step("insert", only={f"{2:032x}"}):
            pass
    insert, *flushes = spans.get_finished_spans()
    assert [(s.context.trace_id, s.parent.span_id) for s in flushes if s.parent] == [
        (1, 11),
        (2, 21),
    ]
    linked = [{(k.context.trace_id, k.context.span_id) for k in s.links} for s in flushes]
    assert linked == [{(2, 21), (1, 12)}, {(1, 11), (1, 12)}]
    assert insert.context.trace_id == 2
    assert insert.parent is not None
    assert insert.parent.span_id == flushes[1].context.span_id


def test_of_too_many_traces_the_first_are_kept(spans: InMemorySpanExporter) -> None:
    with tracing.work("flush", (parent(n + 1) for n in range(TRACES_MOST + 9))) as work:
        assert len(work.parents) == TRACES_MOST
    assert all(len(s.links) <= tracing.LINKS_MOST + 1 for s in spans.get_finished_spans())


def test_an_error_is_told_by_its_type_only(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="secret"), tracing.work("w", [], root=True):
        raise ValueError("secret")
    (span,) = spans.get_finished_spans()
    assert span.attributes == {"error.type": "ValueError"}
    assert "secret" not in span.to_json()


def test_the_logs_know_the_span_of_what_is_being_done(spans: InMemorySpanExporter) -> None:
    with tracing.work("w", [parent(7)]):
        now = tracing.current.get()
        assert now is not None
        assert now[0] == f"{7:032x}"
    assert tracing.current.get() is None
