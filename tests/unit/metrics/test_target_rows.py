"""Targets as rows of the store: one for each version, whatever compaction has left of the topic."""

from contracts.targets.codec import Version, encode, of_versions
from services.metrics.projections import Message, targets_rows
from yumai import targets


def test_a_record_becomes_a_row_a_version_and_twice_the_same_rows():
    versions = (
        Version(1, "growth", 0.06, 106, 100, True, None, None, "李", 1_000),
        Version(2, "amount", 200, 200, basis="b", note="n", by="bureau", at=2_000),
    )
    value = encode(of_versions(2026, "500157", "S01", versions))
    message = Message(7, b"2026/500157/S01", value, 9_000)
    rows = targets_rows([message]).to_pylist()
    assert [(r["version"], r["target_fen"], r["base_fen"], r["by"]) for r in rows] == [
        (1, 106, 100, "李"),
        (2, 200, None, "bureau"),
    ]
    assert [r["base_approximate"] for r in rows] == [1, 0]
    assert targets_rows([message, message]).to_pylist() == rows * 2


def test_a_record_without_history_takes_the_brokers_time():
    value = b'{"year":2026,"district":"500101","sector":null,"target_fen":5}'
    (row,) = targets_rows([Message(0, b"", value, 86_400_000)]).to_pylist()
    assert (row["version"], row["at"].timestamp()) == (1, 86_400)


def test_the_plans_shares_have_no_amount():
    messages = [Message(n, b"", encode(t), 1) for n, t in enumerate(targets.plan_targets(5))]
    rows = targets_rows(messages).to_pylist()
    assert {r["target_fen"] for r in rows} == {0}
    assert {r["basis"] for r in rows} == {"plan", "path"}
