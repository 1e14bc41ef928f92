"""Records of version 1 are read for ever, with the ids of today, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.entries import codec
from contracts.entries.ids import id_of
from contracts.entries.murmur import version_1_ids
from services.ingest import formats
from services.ingest.classify import MerchantIndex
from services.ingest.judging import Request, judge

EXAMPLES = Path(__file__).parents[3] / "contracts/entries/examples"
HELD: dict[str, list[dict[str, Any]]] = json.loads(
    (EXAMPLES / "version-1" / "entries.json").read_text(encoding="utf-8")
)
NOW_MS = 1_782_864_000_000


def numbers(rows: list[dict[str, Any]]) -> list[tuple[bytes, int]]:
    return [
        (
            id_of(row["platform_id"], row["entry_id"]),
            int.from_bytes(id_of(row["platform_id"], row["merchant_id"])[:8], "little"),
        )
        for row in rows
    ]


def numbers_of(batch: pa.RecordBatch) -> list[tuple[bytes, int]]:
    columns = (batch.column("id").to_pylist(), batch.column("merchant").to_pylist())
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize("name", HELD)
def test_stored_examples_of_each_format_are_read_with_the_ids_of_today(name: str) -> None:
    value = (EXAMPLES / "version-1" / f"{name}.arrows").read_bytes()
    assert numbers_of(codec.decode(value, "1")) == numbers(HELD[name])
    # as version 2 the same bytes would be something else
    assert numbers_of(codec.decode(value)) != numbers(HELD[name])


def test_a_stored_example_of_version_2_is_read_as_it_stands() -> None:
    rows = json.loads((EXAMPLES / "version-2" / "entries.json").read_text(encoding="utf-8"))
    for name, held in rows.items():
        value = (EXAMPLES / "version-2" / f"{name}.arrows").read_bytes()
        assert numbers_of(codec.decode(value)) == numbers(held)


def spoiled(value: bytes, **columns: pa.Array) -> bytes:
    """The record with other columns."""
    batch = pa.ipc.open_stream(value).read_next_batch()
    for name, column in columns.items():
        batch = batch.set_column(
            batch.schema.get_field_index(name), batch.schema.field(name), column
        )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("column", ["id", "merchant"])
def test_a_record_that_does_not_say_what_was_sent_is_not_read(name: str, column: str) -> None:
    value = (EXAMPLES / "version-1" / f"{name}.arrows").read_bytes()
    batch = codec.decode(value)
    other = batch.column(column).take(pa.array([1, 0, *range(2, len(batch))]))
    with pytest.raises(codec.UnreadableRecord, match="another id"):
        codec.decode(spoiled(value, **{column: other}), "1")


def test_what_was_sent_without_names_is_not_read() -> None:
    value = (EXAMPLES / "version-1" / "ndjson.arrows").read_bytes()
    rows = len(HELD["ndjson"])
    for sent in (b"", b"{}", b'{"entry_id": 1, "merchant_id": "m"}', b"\xff"):
        with pytest.raises(codec.UnreadableRecord):
            codec.decode(spoiled(value, sent=pa.array([sent] * rows, pa.binary())), "1")


# -- this reading against ingest's -----------------------------------------------------------------


def as_version_1(value: pa.Buffer, names: list[tuple[str, str, str]]) -> bytes:
    """A record with the ids and merchants that version 1 had; `names`: platform, entry, merchant."""

    def old(texts: list[tuple[str, str]]) -> np.ndarray:
        data = [text.encode() for _, text in texts]
        size = np.array([len(d) for d in data], np.int32)
        platforms = [platform for platform, _ in texts]
        return version_1_ids(
            platforms,
            np.arange(len(texts), dtype=np.int32),
            np.frombuffer(b"".join(data), np.uint8),
            np.cumsum([0, *size])[:-1].astype(np.int64),
            size,
            np.ones(len(texts), np.bool_),
        )

    ids = old([(platform, entry) for platform, entry, _ in names])
    merchants = old([(platform, merchant) for platform, _, merchant in names])
    return spoiled(
        value.to_pybytes(),
        id=pa.array([i.tobytes() for i in ids], pa.binary(16)),
        merchant=pa.array(merchants[:, 0].copy()),
    )


def logged(name: str, body: bytes) -> list[pa.Buffer]:
    """What ingest makes of a body, its good rows, as one record at most."""
    found = formats.read(name, body)
    if found.columns is None:
        return []
    request = Request(bytes(16), None, name, found.columns, found.header)
    return [r.value for r in judge([request], MerchantIndex(), 1, NOW_MS).entries]


def read_as_ingest_does(name: str, body: bytes, rows: list[tuple[str, str, str]]) -> int:
    """Asserts that the record of these names, written as version 1, is read with ingest's own ids."""
    values = logged(name, body)
    for value in values:
        today = numbers_of(codec.decode(value))
        by_number = {
            (id_of(p, e), int.from_bytes(id_of(p, m)[:8], "little")): (p, e, m) for p, e, m in rows
        }
        names = [by_number[number] for number in today]
        assert numbers_of(codec.decode(as_version_1(value, names), "1")) == today
    return sum(len(codec.decode(value)) for value in values)


texts = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\,\r\n\t;|{}[]:/ 渝😀'),
    min_size=1,
    max_size=24,
)
platforms = st.sampled_from(["unipay", "daojia"])
named_rows = st.lists(st.tuples(platforms, texts, texts), min_size=1, max_size=6)
REST = {"occurred_at": "2026-06-30T13:05:06.789+08:00", "kind": "sale", "amount_fen": 1}


def said(platform: str, entry: str, merchant: str) -> dict[str, Any]:
    return {"entry_id": entry, "platform_id": platform, "merchant_id": merchant} | REST


@given(named_rows, st.data())
def test_json_is_read_as_ingest_reads_it(rows, data) -> None:
    lines = []
    for platform, entry, merchant in rows:
        pairs = list(said(platform, entry, merchant).items())
        pairs = data.draw(st.permutations(pairs))
        if data.draw(st.booleans()):
            # the last of equal names counts, whatever the first was
            extra = data.draw(st.sampled_from([5, None, "other", [], {"entry_id": "x"}]))
            pairs.insert(0, (data.draw(st.sampled_from(["entry_id", "merchant_id"])), extra))
        escape = data.draw(st.booleans())
        member = [f"{json.dumps(k)} : {json.dumps(v, ensure_ascii=escape)}" for k, v in pairs]
        line = "{" + " , ".join(member) + "}"
        if data.draw(st.booleans()):
            line = line.replace('"entry_id"', '"\\u0065ntry_id"').replace("/", "\\/")
        lines.append(data.draw(st.sampled_from(["", " ", "\t"])) + line)
    bom = data.draw(st.sampled_from(["", "\ufeff"]))
    read_as_ingest_does("ndjson", (bom + "\r\n".join(lines)).encode(), rows)
    read_as_ingest_does("json", (bom + "[" + ",\n".join(lines) + "]").encode(), rows)


@given(named_rows, st.data())
def test_csv_is_read_as_ingest_reads_it(rows, data) -> None:
    columns = data.draw(st.permutations(["entry_id", "platform_id", "merchant_id", *REST]))

    def field(value: Any) -> str:
        text = str(value)
        quoted = any(c in text for c in '",\n\r') or data.draw(st.booleans())
        return '"' + text.replace('"', '""') + '"' if quoted else text

    lines = [",".join(f'"{c}"' if data.draw(st.booleans()) else c for c in columns)]
    lines += [",".join(field(v) for v in (said(*row)[c] for c in columns)) for row in rows]
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    bom = data.draw(st.sampled_from(["", "\ufeff"]))
    read_as_ingest_does("csv", (bom + end.join(lines)).encode(), rows)


KINDS = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int32(), pa.large_string()),
]


@given(named_rows, st.sampled_from(KINDS), st.sampled_from(KINDS), st.integers(1, 6))
def test_arrow_is_read_as_ingest_reads_it(rows, entry_kind, merchant_kind, chunk) -> None:
    columns = {
        "entry_id": pa.array([e for _, e, _ in rows], pa.string()).cast(entry_kind)
        if not pa.types.is_dictionary(entry_kind)
        else pa.array([e for _, e, _ in rows], entry_kind.value_type)
        .dictionary_encode()
        .cast(entry_kind),
        "platform_id": pa.array([p for p, _, _ in rows]),
        "merchant_id": pa.array([m for _, _, m in rows], pa.string()).cast(merchant_kind)
        if not pa.types.is_dictionary(merchant_kind)
        else pa.array([m for _, _, m in rows], merchant_kind.value_type)
        .dictionary_encode()
        .cast(merchant_kind),
        **{name: pa.array([value] * len(rows)) for name, value in REST.items()},
    }
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, chunk)
    count = read_as_ingest_does("arrow", sink.getvalue().to_pybytes(), rows)
    assert count == len(rows)


def test_a_row_that_was_cut_off_at_64_kib_is_read_as_far_as_it_goes() -> None:
    blanks = " " * 70_000
    entry = json.dumps(said("unipay", "e", "m"))
    body = f"{entry[:-1]}{blanks}}}".encode()
    assert read_as_ingest_does("ndjson", body, [("unipay", "e", "m")]) == 1
    body = f'{{{blanks}"entry_id"{entry[11:]}'.encode()
    (value,) = logged("ndjson", body)
    with pytest.raises(codec.UnreadableRecord):
        codec.decode(as_version_1(value, [("unipay", "e", "m")]), "1")
