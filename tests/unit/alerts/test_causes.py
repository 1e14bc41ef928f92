"""In whose traces a step of judging goes on."""

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from contracts.traces import TRACES_MOST, trace_id
from services.alerts.causes import Causes


def parent(number: int, flags: str = "01") -> str:
    return f"00-{number:032x}-{number:016x}-{flags}"


def traces(parents: list[str]) -> list[int]:
    return [int(trace_id(one), 16) for one in parents]


def test_a_step_has_the_traces_of_its_district_through_the_span_of_judging(
    spans: InMemorySpanExporter,
) -> None:
    causes = Causes()
    causes.heard({"500101"}, [parent(1)])
    causes.heard({"500101", "500102"}, [parent(2)])
    causes.begin()
    assert causes.of("500101") == []  # not yet judged: people or time act
    with causes.tell():
        assert traces(causes.of("500101")) == [1, 2]
        assert traces(causes.of("500102")) == [2]
        assert causes.of("500103") == []
        found = causes.of("500102")
    causes.end()
    assert causes.of("500101") == []
    judged = {s.context.trace_id: f"{s.context.span_id:016x}" for s in spans.get_finished_spans()}
    assert judged.keys() == {1, 2}
    assert found[0][36:52] == judged[2]


def test_what_is_announced_while_it_judged_leads_too_and_to_the_next_round_as_well(
    spans: InMemorySpanExporter,
) -> None:
    causes = Causes()
    causes.heard({"500101"}, [parent(1)])
    causes.begin()
    causes.heard({"500101"}, [parent(1), parent(2)])
    causes.heard({"500102"}, [parent(3)])
    with causes.tell():
        assert traces(causes.of("500101")) == [1, 2]
        assert causes.of("500101")[0] != parent(1)
        assert causes.of("500101")[1] == parent(2)
        assert causes.of("500102") == [parent(3)]
    causes.end()
    causes.begin()
    with causes.tell():
        assert traces(causes.of("500101")) == [1, 2]
    causes.end()


def test_a_round_that_could_not_judge_leaves_its_traces_to_the_next(
    spans: InMemorySpanExporter,
) -> None:
    causes = Causes()
    causes.heard({"500101"}, [parent(1)])
    causes.begin()
    causes.heard({"500101"}, [parent(2)])
    with causes.tell():
        causes.again()
    causes.end()
    causes.begin()
    with causes.tell():
        assert traces(causes.of("500101")) == [1, 2]
    causes.end()


def test_a_round_given_up_ends_its_spans_once(spans: InMemorySpanExporter) -> None:
    causes = Causes()
    causes.heard({"500101"}, [parent(1)])
    causes.begin()
    causes.end("cancelled")
    causes.end("cancelled")
    (span,) = spans.get_finished_spans()
    assert span.attributes["error.type"] == "cancelled"


def test_of_many_traces_every_district_has_its_share(spans: InMemorySpanExporter) -> None:
    causes = Causes()
    causes.heard({"500101"}, [parent(n) for n in range(1, 200)])
    causes.heard({"500102"}, [parent(n) for n in range(201, 400)])
    causes.begin()
    with causes.tell():
        for district in ("500101", "500102"):
            assert len(causes.of(district)) == TRACES_MOST
    causes.end()
    judged = [s.context.trace_id for s in spans.get_finished_spans()]
    assert len(judged) == TRACES_MOST
    assert sum(number > 200 for number in judged) == TRACES_MOST / 2


def test_an_unsampled_trace_goes_on_without_a_span(spans: InMemorySpanExporter) -> None:
    causes = Causes()
    causes.heard({"500101"}, [parent(1, "00")])
    causes.begin()
    with causes.tell():
        assert causes.of("500101") == [parent(1, "00")]
    causes.end()
    assert not spans.get_finished_spans()
