"""Content is what the sender said, normalised: the same in every format, another where anything differs."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.entries import codec
from contracts.entries.ids import id_of
from services.ingest import formats
from services.ingest.classify import MerchantIndex
from services.ingest.columns import FIELDS
from services.ingest.judging import Request, judge
from services.ingest.rounds import messages
from yumai.observability import tracing

NOW_MS = 1_782_864_000_000
FORMATS = ("json", "ndjson", "csv", "arrow", "parquet")
VECTORS = json.loads(
    (Path(__file__).parents[3] / "contracts/entries/vectors.json").read_text(encoding="utf-8")
)

names = st.text(
    st.characters(min_codepoint=0x21, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20
)
entries = st.fixed_dictionaries(
    {
        "entry_id": names,
        "platform_id": st.just("p1"),
        "merchant_id": names,
        "occurred_at": st.sampled_from(
            ["2026-01-31T13:05:06.789+08:00", "2026-01-31T05:05:06.789Z", "2025-06-01T00:00:00Z"]
        ),
        "kind": st.sampled_from(["sale", "refund", "sale_reversal", "refund_reversal"]),
        "amount_fen": st.integers(1, 10**13),
    },
    optional={
        "refers_to": names,
        "district_code": st.sampled_from(["500103", "500105", "500157"]),
        "mcc": st.sampled_from(["0742", "5812", "9999"]),
        "channel": st.sampled_from(["online", "offline"]),
        "scene_tags": st.lists(names, max_size=3),
        "program_id": names,
        "subsidy_fen": st.integers(0, 1000),
    },
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(entries, min_size=1, max_size=4))
def test_an_entry_has_one_id_and_one_content_in_every_format(judged, encoded, rows):
    seen = set()
    for name in FORMATS:
        result = judged(name, encoded(name, rows))
        assert result.errors == [], name
        seen.add(
            tuple(
                (r["id"], r["content"], r["merchant"], r["occurred_at"], r["amount_fen"], r["sector"],
                 r["district"], r["classified_by"])
                for r in result.rows
            )
        )  # fmt: skip
    assert len(seen) == 1
    (only,) = seen
    assert [row[0] for row in only] == [id_of("p1", row["entry_id"]) for row in rows]


CHANGES = [
    {"merchant_id": "m2"},
    {"occurred_at": "2026-01-31T13:05:06.790+08:00"},
    {"kind": "refund"},
    {"amount_fen": 1251},
    {"refers_to": "r"},
    {"district_code": "500103"},
    {"mcc": "5812"},
    {"channel": "online"},
    {"scene_tags": ["a"]},
    {"program_id": "r"},
    {"subsidy_fen": 0},
]


def test_content_differs_wherever_a_field_does(judged, encoded, entry):
    rows = [entry(), *(entry(**change) for change in CHANGES)]
    result = judged("ndjson", encoded("ndjson", rows))
    assert len({row["content"] for row in result.rows}) == len(rows)


def test_absent_null_and_empty_and_another_order_of_tags_are_the_same_content(
    judged, encoded, entry
):
    rows = [
        entry(),
        entry(refers_to=None, mcc=None, scene_tags=None, subsidy_fen=None, channel=None),
        entry(scene_tags=[]),
        entry(occurred_at="2026-01-31T05:05:06.7891Z"),
        entry(entry_id="another"),
    ]
    result = judged("ndjson", encoded("ndjson", rows))
    assert len({row["content"] for row in result.rows}) == 1
    tagged = [entry(scene_tags=["b", "a"]), entry(scene_tags=["a", "b"]), entry(scene_tags=["a"])]
    contents = [row["content"] for row in judged("ndjson", encoded("ndjson", tagged)).rows]
    assert contents[0] == contents[1] != contents[2]


def test_content_does_not_know_what_ingest_derived(judged, encoded, entry):
    """The text is the sender's 500105, also from the day on which it is booked as 500157."""
    rows = [entry(district_code="500105"), entry(district_code="500157")]
    result = judged("ndjson", encoded("ndjson", rows))
    assert [row["district"] for row in result.rows] == [500157, 500157]
    assert result.rows[0]["content"] != result.rows[1]["content"]


@pytest.mark.parametrize(
    ("slot_function", "said"),
    [("sha256-720", lambda v: v), ("murmur3-720", lambda v: v["version_1"])],
)
def test_a_partition_is_that_of_the_vectors_by_the_epochs_slot_function(slot_function, said, entry):
    for vector in VECTORS["ids"]:
        row = entry(entry_id=vector["entry_id"], platform_id=vector["platform_id"])
        body = json.dumps(row).encode()
        columns = formats.read("ndjson", body).columns
        request = Request(bytes(16), None, "ndjson", columns)
        chunk = judge([request], MerchantIndex(), 4, NOW_MS, slot_function)
        (record,) = chunk.entries
        assert record.partition == said(vector)["partition_of_4"]
        assert codec.decode(record.value).column("id")[0].as_py().hex() == vector["id"]
        headers = dict(messages(chunk, 1, [request], tracing.NOTHING)[0].headers)
        assert (headers["v"], headers["slots"].decode()) == (b"2", slot_function)


@pytest.mark.parametrize("number", range(len(VECTORS["contents"])))
def test_content_is_that_of_the_vectors(number, judged, encoded):
    vector = VECTORS["contents"][number]
    result = judged("ndjson", encoded("ndjson", [vector["entry"]]))
    assert result.rows[0]["content"] == int(vector["content"])


def test_field_numbers_are_the_contracts_order():
    schema = json.loads(
        (Path(__file__).parents[3] / "contracts/entries/entry.schema.json").read_text()
    )
    assert list(schema["properties"]) == list(FIELDS)
    assert schema["required"] == list(FIELDS[:6])
